"""Several clusters in one grid: whose row it is, whose plan it becomes, and that nothing ever spans two."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from console.cli.screen import add_options, one_by_one
from console.model.errors import UsageError
from console.model.snapshot import EngineState
from screens.app import ConsoleApp
from screens.fleet import uniquely_named
from screens.options import Options
from screens.startup import Startup
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, Clock, Seen
from tests.waiting import until


@asynccontextmanager
async def both(
    tmp_path: Path, size: tuple[int, int] = LARGE, *, second_read_only: bool = False
) -> AsyncIterator[tuple[Seen, FakeSession]]:
    """The app on two clusters whose nodes have the same names; gives what is seen and the second of them."""
    one = FakeSession(tmp_path)
    other = FakeSession(tmp_path / "other", name="east", read_only=second_read_only)
    clock = Clock(1.0)
    app = ConsoleApp(Startup("", lambda: (one, other)), Options(), clock=clock)
    async with app.run_test(size=size) as pilot:
        await until(lambda: one.opened and other.opened)
        yield Seen(app, pilot, one, clock), other


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_rows_stand_below_their_cluster_and_the_header_follows(tmp_path: Path, size: tuple[int, int]) -> None:
    async with both(tmp_path, size) as (seen, _):
        await seen.sees("= lab a3-pd")
        await seen.sees("= east a3-pd")
        assert seen.header().startswith(" lab a3-pd")
        await seen.command("cluster east")
        await seen.press("j")
        assert seen.header().startswith(" east a3-pd")
        assert seen.app.main.grid.target.node == "p0"


async def test_an_act_is_of_the_cluster_the_cursor_is_in(tmp_path: Path) -> None:
    async with both(tmp_path) as (seen, other):
        await seen.command("cluster east")
        await seen.press("j", "x")
        await seen.sees("STOP 2 engines")
        await seen.sees("east")
        assert [verb for verb, _ in other.operator.asked] == ["stop"]
        assert seen.session.operator.asked == []


async def test_the_line_of_a_cluster_stands_for_nothing(tmp_path: Path) -> None:
    async with both(tmp_path) as (seen, other):
        await seen.press("g", "x", "space")
        assert seen.session.operator.asked == other.operator.asked == []
        assert not seen.app.main.grid.view.marks


async def test_marks_are_of_one_cluster_and_acts_wait_for_it(tmp_path: Path) -> None:
    async with both(tmp_path) as (seen, other):
        await seen.press("g", "j", "space")
        await seen.command("cluster east")
        await seen.press("j", "space")
        await seen.sees(lambda: "marks are in lab; - removes them" in seen.toasts())
        await seen.press("asterisk", "x")
        await seen.sees(lambda: "marks are in lab, the cursor is not" in seen.toasts())
        assert seen.session.operator.asked == other.operator.asked == []
        await seen.press("minus", "asterisk")
        assert len(seen.app.main.grid.view.marks) == 4
        assert seen.app.main.grid.chosen_nodes() == ("p0", "p1", "d0", "d1")


async def test_read_only_is_of_each_cluster(tmp_path: Path) -> None:
    async with both(tmp_path, second_read_only=True) as (seen, other):
        await seen.sees("RO")
        await seen.command("cluster east")
        await seen.press("j", "x")
        await seen.sees(lambda: "read-only" in seen.toasts())
        assert other.operator.asked == []


async def test_problems_of_both_are_seen_from_either(tmp_path: Path) -> None:
    async with both(tmp_path) as (seen, other):
        other.set_state("decode-9", EngineState.FAILED, cause="out of memory")
        await seen.sees("1 bad elsewhere")
        await seen.press("exclamation_mark")
        await seen.sees(lambda: "= east" in seen.text() and len(seen.app.main.grid.rows) == 3)


async def test_an_assignment_changes_only_its_own_cluster(tmp_path: Path) -> None:
    async with both(tmp_path) as (seen, other):
        await seen.command("cluster east")
        await seen.press("j")
        await seen.command("take p0")
        await until(lambda: other.deployment.assignment.of("prefill") == ("p1",))
        assert seen.session.deployment.assignment.of("prefill") == ("p0", "p1")


async def test_engines_and_nodes_are_found_near_first(tmp_path: Path) -> None:
    async with both(tmp_path) as (seen, _):
        await seen.command("cluster east")
        await seen.command("log decode-9")
        assert seen.app.main.grid.cluster == "east"
        await seen.command("cluster lab")
        await seen.command("node d1")
        assert seen.app.main.grid.cluster == "lab"


def test_two_clusters_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two clusters are named 'lab'"):
        uniquely_named([FakeSession(tmp_path), FakeSession(tmp_path)])


def test_options_of_several_clusters_are_given_once_for_all_or_once_for_each() -> None:
    parser = ArgumentParser()
    add_options(parser)
    one, other = one_by_one(parser.parse_args(["-c", "a.yaml", "-c", "b.yaml", "--layout", "a3-pd"]))
    assert (str(one.cluster), str(other.cluster), one.layout, other.layout) == ("a.yaml", "b.yaml", "a3-pd", "a3-pd")
    (only,) = one_by_one(parser.parse_args([]))
    assert (only.cluster, only.layout) == (None, None)
    for words, why in (
        (["--layout", "x", "--layout", "y", "--layout", "z"], "3 layouts for 2 clusters"),
        (["--assign", "decode=d0"], "--assign works with one cluster"),
        (["--write"], "--write works with one cluster"),
    ):
        with pytest.raises(UsageError, match=why):
            list(one_by_one(parser.parse_args(["-c", "a.yaml", "-c", "b.yaml", *words])))
