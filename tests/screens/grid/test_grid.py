"""The grid's columns, what unfolds by itself, and the main screen at every width with long names and large numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.model.service import Service, ServiceState
from console.model.snapshot import EngineSnapshot, EngineState, Serving
from screens.grid.columns import COLUMNS, EDGE, GRANTS, columns_for
from screens.grid.row_order import column_needs, unfold_level
from screens.grid.rows import GridView, Unfold
from screens.options import Options
from screens.styled_lines import plain, width
from screens.too_small import LEAST_CELLS
from tests.screens.fakes import NOW, FakeSession
from tests.screens.seen import LARGE, SMALL, running

NEEDS = st.fixed_dictionaries({"NODE": st.integers(1, 16), "STATE": st.just(0)}).flatmap(
    lambda least: st.dictionaries(st.sampled_from([each.title for each in COLUMNS]), st.integers(0, 32)).map(
        lambda more: {**more, **least}
    )
)


@given(cells=st.integers(40, 250), needs=NEEDS)
def test_columns_fit_and_none_is_narrower_than_its_values(cells: int, needs: dict[str, int]) -> None:
    columns = columns_for(cells, needs)
    assert EDGE + sum(room + 1 for _, room in columns) <= cells
    granted = {column.title: room for column, room in columns}
    assert {"NODE", "STATE"} <= set(granted) <= set(needs)
    least = dict(reversed(GRANTS))
    for title, room in granted.items():
        assert room >= max(least[title], needs[title]), title


@given(cells=st.integers(0, 40), needs=NEEDS)
def test_name_and_state_share_the_room_where_both_do_not_fit(cells: int, needs: dict[str, int]) -> None:
    granted = {column.title: room for column, room in columns_for(cells, needs)}
    least = dict(reversed(GRANTS))
    assert {"NODE", "STATE"} <= set(granted) <= set(needs)
    assert all(room >= 0 for room in granted.values())
    if cells >= EDGE + 2:
        assert EDGE + sum(room + 1 for room in granted.values()) <= cells
    if set(granted) > {"NODE", "STATE"}:
        assert granted["NODE"] >= max(least["NODE"], needs["NODE"])
        assert granted["STATE"] >= least["STATE"]


def serving(number: int, *, generates: bool = True) -> Serving:
    """Metrics with large figures."""
    speed = 12_345.6 + number
    return Serving(
        at=NOW,
        running=number % 300,
        waiting=number % 7 * 111,
        kv_usage=0.999,
        prompt_tokens_s=0.0 if generates else speed * 10,
        generation_tokens_s=speed if generates else 0.0,
        history=(1.0, None, speed),
        prompt_history=(speed,),
    )


class LargeSession(FakeSession):
    """256 nodes of 16 groups with names as long as they get, in two alphabets; `state` is that of one engine of each node."""

    def __init__(self, directory: Path, state: EngineState) -> None:
        names = [f"{'机房节点' if number % 3 else 'ascend-a3-rack'}-{number:03d}" for number in range(256)]
        super().__init__(directory, names=names, assigned=False)
        groups = [f"{'预填充组' if number % 2 else 'prefill-long-name'}-{number}" for number in range(16)]
        engines: dict[str, EngineSnapshot] = {}
        for at, node in enumerate(names):
            for local in range(4):
                group = groups[at % 16]
                name = f"{group}-{at // 16 * 4 + local}"
                engines[name] = EngineSnapshot(
                    name, node, group, "prefill" if at % 2 else "decode", EngineState.READY if local else state,
                    dp_rank=at // 16 * 4 + local, devices=tuple(range(4 * local, 4 * local + 4)), port=65_000 + local,
                    started_at=NOW - 999_999, phase="load", progress=0.41, progress_text="shard 26/64",
                    cause="NPU out of memory: 12345 MiB wanted" if state.bad and not local else "",
                    serving=serving(at) if local else None,
                )  # fmt: skip
        nodes = {
            name: replace(node, group=groups[at % 16], role="decode", ranks=tuple(engines)[at * 4 : at * 4 + 4])
            for at, (name, node) in enumerate(self.snapshot.nodes.items())
        }
        self.more |= {"nodes": nodes, "engines": engines, "serving": {"": serving(256)}}
        self.more["service"] = Service(
            ServiceState.PART, "http://10.100.100.100:18000", "deepseek-v4", "64 of 256 decode"
        )
        self.publish()


def cells_of(line: str) -> list[str]:
    """The line by cells; the second one of a wide character is empty."""
    return [cell for char in line for cell in (char, *[""] * (width(char) - 1))]


def misplaced(line: str, edges: Sequence[int]) -> list[int]:
    """Ends of columns at which the line has no blank."""
    drawn = cells_of(line)
    return [edge for edge in edges if edge < len(drawn) and drawn[edge] != " "]


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 160, 200])
@pytest.mark.parametrize("state", [EngineState.READY, EngineState.FAILED, EngineState.STARTING], ids=str)
async def test_no_number_is_cut_and_nothing_overlaps_at_any_width(
    tmp_path: Path, columns: int, state: EngineState
) -> None:
    session = LargeSession(tmp_path, state)
    for options in (Options(), Options(ascii=True)):
        async with running(session, (columns, 40), options=options) as seen:
            for keys in ((), ("l", "enter"), ("j", "enter"), ("V",), ("j", "enter")):
                await seen.press(*keys)
                grid = seen.app.main.grid
                for line in seen.lines():
                    assert width(line) <= columns
                    assert not re.search(r"\d~", line), "a number is whole or not there"
                edges, at = list[int](), EDGE
                for _, room in columns_for(grid.size.width - 1, column_needs(grid.snapshots, grid.view)):
                    edges.append(at := at + room)
                    at += 1
                assert misplaced(plain(grid.heading), edges) == []
                for row in grid.rows:
                    assert width(plain(row.line)) <= grid.size.width
                    if row.key.startswith(("node/", "group/")) and state is EngineState.READY:
                        assert misplaced(plain(row.line), edges) == [], plain(row.line)


@pytest.mark.parametrize("by_group", [False, True], ids=["nodes", "groups"])
async def test_neither_half_gets_narrower_than_the_narrowest_terminal(tmp_path: Path, by_group: bool) -> None:
    session = LargeSession(tmp_path, EngineState.FAILED)
    async with running(session, (200, 40)) as seen:
        await seen.press(*(["V"] if by_group else []), *["underscore"] * 9)
        main = seen.app.main
        for columns in (200, 160):
            await seen.pilot.resize_terminal(columns, 40)
            assert main.grid.size.width == LEAST_CELLS
            assert "STATE" in plain(main.grid.heading)
            needs = column_needs(main.grid.snapshots, main.grid.view)
            granted = {column.title: room for column, room in columns_for(main.grid.size.width - 1, needs)}
            assert granted["NODE"] == needs["NODE"], "names are not cut more than elsewhere"
        await seen.press(*["plus"] * 9)
        assert main.pane.size.width == LEAST_CELLS


def _level(session: FakeSession, rows: int) -> Unfold:
    return unfold_level([(session.snapshot, GridView())], rows)


def test_as_much_unfolds_as_has_room(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    whole = len(session.snapshot.nodes) + len(session.snapshot.engines)
    assert _level(session, whole) is Unfold.ALL
    assert _level(session, whole - 1) is Unfold.FOLDED
    session.set_state("decode-15", EngineState.FAILED)
    assert _level(session, whole) is Unfold.ALL, "states change nothing while all have room"
    assert _level(session, 6) is Unfold.FOLDED
    assert _level(session, 5) is Unfold.NOTHING


async def test_a_node_in_trouble_shows_who_is_and_folds_the_rest(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    for number in range(8, 15):
        session.set_state(f"decode-{number}", EngineState.DEGRADED, cause="decode-15 failed first")
    session.set_state("decode-15", EngineState.FAILED, cause="NPU out of memory")
    async with running(session, SMALL) as seen:
        await seen.sees("decode-8..14")
        assert "decode-0" not in seen.text(), "a node whose engines are equal says so in its own row"
        await seen.press("j", "j", "j", "j")
        grid = seen.app.main.grid
        assert grid.chosen_engines() == tuple(f"decode-{number}" for number in range(8, 15))
        await seen.press("space")
        assert grid.view.marks == {f"engine/decode-{number}" for number in range(8, 15)}
        await seen.press("k", "space")
        assert not grid.view.marks
        await seen.press("k", "enter")
        await seen.sees("decode-11")
        await seen.press("left")
        assert "decode-11" not in seen.text()
        assert grid.target.node == "d1"


async def test_the_cursor_stays_on_an_engine_that_folds(tmp_path: Path) -> None:
    session = FakeSession(tmp_path, state=EngineState.EXITED)
    session.set_state("decode-15", EngineState.FAILED, cause="NPU out of memory")
    async with running(session, SMALL) as seen:
        grid = seen.app.main.grid
        await seen.press("j", "j", "j", "j", "j")
        assert grid.target.engine == "decode-15"
        session.set_state("decode-15", EngineState.EXITED)
        assert grid.target.node == "d1", "all of its engines are equal now"


async def test_a_tall_screen_shows_every_engine_with_its_figures(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.set_state("decode-3", EngineState.READY, serving=serving(5), started_at=NOW - 8_100)
    async with running(session, (200, 50)) as seen:
        row = next(line for line in seen.lines() if " decode-3 " in line)
        for figure in ("5+555", "12.4k out", "100%", "31%", "46C"):
            assert figure in row
    async with running(session, LARGE) as seen:
        assert "decode-3" not in seen.text(), "half of the rows are too few for all engines"
        await seen.press("j", "j", "enter")
        row = next(line for line in seen.lines() if " decode-3 " in line)
        assert "12.4k out" in row
