"""Restart policies as an operator meets them: a countdown that cannot be overlooked, the reason in full, a way to hold them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.model.plan import Plan
from console.model.restart import GroupRestart, Restart, RestartState
from console.model.snapshot import EngineState
from tests.screens.fakes import NOW, FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running

WAITING = GroupRestart("decode", RestartState.WAITING, 1, 3, 3600.0, "decode-5 on d0 failed", NOW + 28)


def _with_policy(session: FakeSession) -> None:
    layout = session.deployment.layout
    decode = layout.groups["decode"].model_copy(update={"restart": Restart(policy="on-failure")})
    layout = layout.model_copy(update={"groups": {**layout.groups, "decode": decode}})
    session._deployment = replace(session.deployment, layout=layout)


def _stands(seen: Seen, restart: GroupRestart) -> None:
    seen.session.snapshot = replace(seen.session.snapshot, restarts={"decode": restart})
    seen.app.main.take(seen.session.snapshot)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_a_restart_that_comes_and_one_that_does_not_are_said(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.set_state("decode-5", EngineState.FAILED)
    async with running(session, size) as seen:
        assert seen.app.main.grid.show_engine("decode-5")
        await seen.press("4")
        _stands(seen, WAITING)
        await seen.sees(lambda: "decode restarts in 28 s" in seen.header())
        await seen.sees("1 of 3 restarts in 1 h used")
        gave_up = replace(WAITING, state=RestartState.GAVE_UP, used=3, due_at=None)
        _stands(seen, gave_up)
        await seen.sees(lambda: "decode given up" in seen.header())
        await seen.sees("gave up after 3 restarts in 1 h: decode-5")


async def test_they_can_be_held_and_let_go(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("R")
        assert "no group of this layout has a restart policy" in seen.toasts()
        _with_policy(session)
        await seen.press("R")
        assert seen.session.restarts.paused
        assert "this console restarts nothing" in seen.toasts()
        await seen.press("R")
        assert "resumed" in seen.toasts()


async def test_a_plan_of_a_policy_is_shown_like_any_other(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("8")
        assert session.restarts.observer is not None
        plan: Plan = await session.operator.prepare("restart", ["decode-5"])
        session.restarts.observer.begin(plan)
        await seen.sees("0/1 steps")
        session.restarts.observer.refuse("by the restart policy: ann@jump is at work")
        await seen.sees("ann@jump is at work")
