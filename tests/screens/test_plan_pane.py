"""The plan pane while a plan runs: how much of its time each step has used, and what comes when it is up."""

from __future__ import annotations

from pathlib import Path

from console.model.plan import Confirm, Outcome, Plan, PlanResult, Stage, Step, StepEvent
from screens.panes.plan import PlanPane
from tests.screens.fakes import FakeSession
from tests.screens.seen import running

DRAIN = Step("drain", "drain", "take decode-0 out of the proxy", "p0", ("decode-0",))
STOP = Step("stop", "stop", "stop decode-0", "d0", ("decode-0",))
CHECK = Step("verify", "verify", "look whether it is gone", "d0", ("decode-0",))
STAGES = tuple(Stage(step.title, (step,)) for step in (DRAIN, STOP, CHECK))
PLAN = Plan("stop", "lab", "a3-pd", ("decode-0",), STAGES, Confirm("key", "y"), drain_s=120.0)


async def test_a_running_stop_counts_towards_what_follows(tmp_path: Path) -> None:
    now = 1000.0
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("8")
        pane = seen.app.main.pane
        assert isinstance(pane, PlanPane)
        pane.clock = lambda: now
        pane.begin(PLAN)
        pane.note(StepEvent("drain", Outcome.RUNNING))
        await seen.sees("drain 0/120 s, then what still runs is cut")
        pane.note(StepEvent("drain", Outcome.RUNNING, "4 requests still run"))
        now += 34.7
        await seen.sees("drain 34/120 s, then what still runs is cut")
        await seen.sees("4 requests still run")
        pane.note(StepEvent("drain", Outcome.DONE))
        pane.note(StepEvent("stop", Outcome.RUNNING))
        now += 12.0
        await seen.sees("TERM 12/20 s, then KILL")
        assert "drain 34" not in seen.text()
        now += 11.0
        await seen.sees("KILL 3/20 s, then STUCK")
        pane.note(StepEvent("stop", Outcome.DONE))
        pane.note(StepEvent("verify", Outcome.RUNNING))
        await seen.sees(lambda: "KILL 3" not in seen.text())


async def test_between_two_seconds_nothing_is_drawn(tmp_path: Path) -> None:
    now = 1000.0
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("8")
        pane = seen.app.main.pane
        assert isinstance(pane, PlanPane)
        pane.clock = lambda: now
        pane.begin(PLAN)
        pane.note(StepEvent("stop", Outcome.RUNNING))
        drawn: list[int] = []
        paint = pane.paint
        pane.paint = lambda lines: drawn.append(changed := paint(lines)) or changed  # type: ignore[method-assign,func-returns-value]
        now += 0.4
        pane.tick()
        assert drawn == []
        now += 0.8
        pane.tick()
        assert drawn == [1], "one row"


async def test_a_plan_that_failed_points_to_the_causes_and_shows_the_failed_step_first(tmp_path: Path) -> None:
    steps = [Step(f"s{at}", "launch", f"d{at}: start something", f"d{at}") for at in range(30)]
    many = Plan("start", "lab", "a3-pd", ("decode-0",), (Stage("launch", tuple(steps)),), Confirm("key", "y"))
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("8")
        pane = seen.app.main.pane
        assert isinstance(pane, PlanPane)
        pane.begin(many)
        outcomes = {step.id: Outcome.DONE for step in steps} | {"s12": Outcome.FAILED}
        pane.end(PlanResult(outcomes, {"s12": "no address"}))
        await seen.sees("FAILED")
        assert ": causes" not in seen.text()
        rows = [line for line in seen.lines() if ": start something" in line]
        assert "d12: start something" in rows[1]
        assert not any(row.split("something")[1].strip() for row in rows), "the node stands in the title already"
        session.diagnosed("decode-3")
        pane.redraw()
        await seen.sees("FAILED  6: causes")
