"""What an operator may insist on: both ways want the right words typed by hand, and anything else leaves all as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.model.errors import Busy
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
BUSY = Busy("p0: ann@jump is at work on a3-pd (start, for 40 s)", hint="ask them", holder="ann@jump")


async def _stop_one(seen: Seen) -> None:
    assert seen.app.main.grid.show_engine("decode-3")
    await seen.press("x")
    await seen.sees("STOP 1 engine")
    await seen.press("y")


@SIZES
async def test_a_plan_that_is_held_is_taken_over_by_typing_the_holder(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.operator.busy = BUSY
    async with running(session, size) as seen:
        await _stop_one(seen)
        await seen.sees("TAKE OVER from ann@jump")
        await seen.sees("for 40 s")
        await seen.sees("type ann@jump")
        await seen.press("enter")
        await seen.sees("REFUSED")
        assert session.operator.ran == []
        await _stop_one(seen)
        await seen.sees("TAKE OVER from ann@jump")
        await seen.press("a", "b", "enter")
        assert "that is not ann@jump" in seen.toasts()
        await seen.press("backspace", *"nn", "at", *"jump", "enter")
        await seen.sees(lambda: session.operator.ran)
        assert session.operator.insisted[-1] == (True, frozenset())


async def test_a_holder_nobody_knows_cannot_be_taken_over_from(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.busy = Busy("somebody is at work")
    async with running(session) as seen:
        await _stop_one(seen)
        await seen.sees("That was not done")
        assert session.operator.insisted == [(False, frozenset())]


@SIZES
async def test_failed_checks_are_passed_over_by_typing_their_ids(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.operator.checks = frozenset({"14", "37"})
    async with running(session, size) as seen:
        await _stop_one(seen)
        await seen.sees("IGNORE FAILED checks 14 37")
        await seen.sees("check 14, 37 fails")
        await seen.press("tab", *"14", "enter")
        assert "that is not 14 37" in seen.toasts()
        assert session.operator.ran == []
        await seen.press("space", *"37", "enter")
        await seen.sees(lambda: session.operator.ran)
        assert session.operator.insisted == [(False, frozenset()), (False, frozenset({"14", "37"}))]


async def test_a_check_that_is_not_passed_over_stays_a_failure(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.checks = frozenset({"14"})
    async with running(session) as seen:
        await _stop_one(seen)
        await seen.sees("IGNORE FAILED check 14")
        await seen.press("escape")
        await seen.sees("FAILED")
        assert session.operator.ran == []
