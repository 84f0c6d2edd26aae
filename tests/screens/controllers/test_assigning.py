"""Changing which node runs which group on the board: by key, by command, in sight of what it becomes, and back again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.model.errors import Refused
from console.model.snapshot import EngineState
from console.rules import check
from console.services.placement.edits import resize
from screens.actions import actions_of
from screens.dialogs.confirm import ConfirmDialog
from screens.panes.roles import RolePane, board
from screens.styled_lines import Pen, plain
from tests.screens.fakes import FULL, FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])


def held(session: FakeSession) -> dict[str, tuple[str, ...]]:
    """Which node runs which group now."""
    groups = session.deployment.layout.groups
    return {name: session.deployment.assignment.of(name) for name in groups}


async def to_place(seen: Seen, key: str) -> None:
    """Open the roles pane with the keys in it and the cursor on a row."""
    if not isinstance(seen.app.focused, RolePane):
        await seen.press("7")
        pane = seen.app.main.panes["roles"]
        pane.focus()
        await seen.pilot.pause()
    pane = seen.app.main.panes["roles"]
    assert isinstance(pane, RolePane)
    assert pane.go(key)
    await seen.pilot.pause()


async def command(seen: Seen, text: str) -> None:
    """A line of the command line."""
    await seen.press("colon")
    await seen.type(text)
    await seen.press("enter")


@SIZES
async def test_two_places_swap_across_groups_and_one_undo_takes_it_back(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    async with running(session, size) as seen:
        await to_place(seen, "place/prefill/1")
        await seen.press("space")
        await seen.sees("* 1  p1")
        await to_place(seen, "place/decode/0")
        await seen.press("S")
        await seen.sees(lambda: held(session) == {"prefill": ("p0", "d0"), "decode": ("p1", "d1")})
        assert "* 1" not in seen.text()
        await seen.sees(lambda: "p1 and d0 swapped; u undoes it" in seen.toasts())
        await seen.press("u")
        await seen.sees(lambda: held(session) == FULL)
        await seen.sees(lambda: "undone: p1 and d0 swapped; ctrl-y does it again" in seen.toasts())
        await seen.press("ctrl+y")
        await seen.sees(lambda: held(session)["decode"] == ("p1", "d1"))
        await seen.sees(lambda: "p1 and d0 swapped; u undoes it" in seen.toasts())


@pytest.mark.parametrize("marks", [(), ("space",), ("space", "space")], ids=["no mark", "itself", "mark taken away"])
async def test_a_swap_without_two_places_says_how(tmp_path: Path, marks: tuple[str, ...]) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await to_place(seen, "place/prefill/1")
        await seen.press(*marks, "S")
        await seen.sees(lambda: "first press space (mark) on one place" in seen.toasts())
        assert held(session) == FULL


async def test_a_place_moves_in_one_step_and_stops_at_the_ends(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await to_place(seen, "place/decode/0")
        await seen.press("greater_than_sign")
        await seen.sees(lambda: held(session)["decode"] == ("d1", "d0"))
        await seen.press("greater_than_sign")
        assert held(session)["decode"] == ("d1", "d0")
        await seen.press("less_than_sign")
        await seen.sees(lambda: held(session)["decode"] == ("d0", "d1"))
        await seen.press("u", "u")
        await seen.sees(lambda: held(session) == FULL)
        await seen.press("u")
        await seen.sees(lambda: "nothing to undo" in seen.toasts())


@SIZES
async def test_take_away_then_fill_gives_the_place_back(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    async with running(session, size) as seen:
        await to_place(seen, "place/decode/1")
        await seen.press("t")
        await seen.sees(lambda: held(session)["decode"] == ("d0",))
        await seen.sees("empty, Enter chooses a node")
        await seen.press("A")
        await seen.sees(lambda: held(session) == FULL)
        await seen.press("A")
        await seen.sees(lambda: "nothing to fill: every group is complete" in seen.toasts())


@SIZES
async def test_a_size_is_shown_before_it_is_taken(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    async with running(session, size) as seen:
        await to_place(seen, "place/decode/0")
        await seen.press("z")
        await seen.sees("size decode 2 8 2")
        await seen.press("backspace", "backspace", "backspace")
        await seen.type("4 4")
        await seen.press("enter")
        await seen.sees("then: 2 nodes, DP 8 x TP 4, 4 ranks and 16 devices per node")
        await seen.sees("d1: ranks 4-7, devices 0-15, ports 7100-7103")
        await seen.press("enter")
        assert session.deployment.layout.groups["decode"].tensor_parallel == 2
        await command(seen, "size decode 1")
        await seen.sees("taken away: d1")
        await seen.press("y")
        await seen.sees(lambda: held(session)["decode"] == ("d0",))
        assert session.deployment.layout.groups["decode"].data_parallel.size == 8
        await seen.press("u")
        await seen.sees(lambda: session.deployment.layout.groups["decode"].data_parallel.size == 16)
        assert held(session) == FULL


async def test_a_group_gets_the_size_of_its_layout_back(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await command(seen, "size decode 3")
        await seen.sees("1 of its nodes still to be given")
        await seen.press("y")
        await seen.sees(lambda: session.deployment.layout.groups["decode"].nodes == 3)
        await to_place(seen, "group/decode")
        await seen.press("equals_sign")
        await seen.sees(lambda: session.deployment.layout.groups["decode"].nodes == 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("swap p0 d1", {"prefill": ("d1", "p1"), "decode": ("d0", "p0")}),
        ("take p0, d0", {"prefill": ("p1",), "decode": ("d1",)}),
        ("fill", FULL),
    ],
)
async def test_commands_change_the_board_from_anywhere(
    tmp_path: Path, text: str, expected: dict[str, tuple[str, ...]]
) -> None:
    session = FakeSession(tmp_path, assigned=text != "fill")
    async with running(session) as seen:
        await command(seen, text)
        await seen.sees(lambda: held(session) == expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("swap p0", "swap takes two nodes"),
        ("swap p0 p9", "no node 'p9'"),
        ("take p9", "no node 'p9'"),
        ("size decode", "size GROUP NODES"),
        ("size decode two", "whole numbers"),
        ("size decode 0", "0 is not a valid size"),
        ("size nothing 2", "no group 'nothing'"),
        ("size decode 2", "has that size already"),
        ("reset nothing", "no group 'nothing'"),
        ("reset decode", "changes nothing"),
        ("fill p0", "fill takes no names"),
    ],
)
async def test_wrong_use_says_why_and_changes_nothing(tmp_path: Path, text: str, why: str) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await command(seen, text)
        await seen.sees(lambda: why in seen.toasts() or why in seen.text())
        assert held(session) == FULL
        assert not isinstance(seen.app.screen, ConfirmDialog)


async def test_a_refusal_because_an_engine_runs_is_shown_with_its_hint(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.refusal = Refused("decode-0 runs on d0", hint="stop it before you change its place")
    async with running(session) as seen:
        await command(seen, "take d0")
        await seen.sees("decode-0 runs on d0")
        await seen.sees("stop it before you change its place")
        assert held(session) == FULL


async def test_every_change_of_the_board_is_in_the_help(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), LARGE) as seen:
        for action in actions_of("roles"):
            if action.group == "Roles":
                await seen.press("question_mark")
                await seen.type(action.help.split("`")[0].rstrip(" ;:"))
                await seen.sees(action.help[:30])
                await seen.press("escape")


async def test_a_read_only_session_may_still_plan_its_board(tmp_path: Path) -> None:
    session = FakeSession(tmp_path, read_only=True)
    async with running(session) as seen:
        await command(seen, "swap p0 p1")
        await seen.sees(lambda: held(session)["prefill"] == ("p1", "p0"))


@pytest.mark.parametrize("node", ["d0", "p1"], ids=["another place", "a free node"])
def test_an_engine_that_the_board_does_not_name_is_marked_under_its_node(tmp_path: Path, node: str) -> None:
    session = FakeSession(tmp_path)
    session.assign(None, ("p1",))
    left = replace(session.snapshot.engines["decode-3"], id=f"prefill-1@{node}", node=node)
    snapshot = replace(session.snapshot, engines={**session.snapshot.engines, left.id: left})
    words = f"runs prefill-1@{node}, which is not in this assignment"
    before = [plain(row.line) for row in board(session.deployment, session.snapshot, Pen(), 80)]
    after = [plain(row.line) for row in board(session.deployment, snapshot, Pen(), 80)]
    assert not any("not in this assignment" in line for line in before)
    at = next(index for index, line in enumerate(after) if words in line)
    assert node in after[at - 1]
    assert sum("not in this assignment" in line for line in after) == 1


async def test_a_pasted_change_of_the_board_is_not_taken_for_a_meant_one(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("colon")
        seen.clock.step = 0.001
        await seen.type("take p0")
        await seen.press("enter")
        await seen.sees(lambda: "too fast" in seen.toasts())
        assert held(session) == FULL


async def test_a_beginning_of_two_commands_names_both(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await command(seen, "rese x")
        await seen.sees(lambda: "reset takes" in seen.toasts() or "no group" in seen.toasts())
        await command(seen, "res")
        await seen.sees(lambda: "res is not clear: restart, reset" in seen.toasts())


async def test_a_size_says_which_rules_it_breaks(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    before = {each.message for each in check(session.deployment)}
    after = resize(session.deployment, "decode", nodes=2, per_node=8, tensor_parallel=4)
    new = [each for each in check(after) if each.message not in before]
    assert new
    async with running(session, LARGE) as seen:
        await command(seen, "size decode 2 8 4")
        await seen.sees(f"{new[0].severity} {new[0].rule}")


async def test_the_board_says_where_a_running_engine_differs(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, LARGE) as seen:
        await seen.press("7")
        session.set_state("decode-3", EngineState.READY, drift=("port 7200, planned 7103",))
        await seen.sees("decode-3 runs with port 7200, planned 7103; r restarts it with this layout")


async def test_where_it_differs_is_broken_to_the_width_told_once_for_equal_engines_and_not_of_ended_ones(
    tmp_path: Path,
) -> None:
    session = FakeSession(tmp_path)
    lines = ("--gpu-memory-utilization 0.92, planned 0.85", "HCCL_BUFFSIZE 1024, planned 2048")
    async with running(session) as seen:
        await seen.press("7")
        for rank in range(8, 16):
            state = EngineState.FAILED if rank == 11 else EngineState.READY
            session.set_state(f"decode-{rank}", state, drift=lines)
        await seen.sees("decode-8 +6 more run with --gpu-memory-utilization 0.92, planned")
        told = " ".join(seen.text().split())
        assert "planned 0.85; HCCL_BUFFSIZE 1024, planned 2048; r restarts them with this layout" in told
        assert "decode-11" not in told


async def test_enter_on_a_group_fills_its_empty_place_or_says_that_there_is_none(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await to_place(seen, "group/decode")
        await seen.press("enter")
        await seen.sees(lambda: "decode has all its nodes" in seen.toasts())
        await command(seen, "take d1")
        await to_place(seen, "group/decode")
        await seen.press("enter")
        await seen.sees("Which node for decode?")
        rows = seen.lines()
        choice = next(at for at, row in enumerate(rows) if "16 devices" in row)
        preview = next(at for at, row in enumerate(rows) if "ranks 8-15" in row)
        assert choice < preview, "what would follow stands below what is chosen from"
        await seen.press("escape")
        await to_place(seen, "proxy")
        await seen.press("enter")
        await seen.sees(lambda: "no place here" in seen.toasts())
