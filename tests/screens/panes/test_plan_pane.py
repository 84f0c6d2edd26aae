"""The plan pane while a plan runs: how much of its time each step has used, and what comes when it is up."""

from __future__ import annotations

from pathlib import Path

from console.model.plan import Confirm, Outcome, Plan, PlanResult, Stage, Step, StepEvent
from console.services.operations.plan_maker import PlanMaker
from screens.panes.plan import PlanPane
from tests.screens.fakes import FakeSession
from tests.screens.seen import running
from tests.services.deployments import picture
from tests.services.many_engines import copied

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
        await seen.sees("drain 0/120 s, then remaining requests are aborted")
        pane.note(StepEvent("drain", Outcome.RUNNING, "4 requests still run"))
        now += 34.7
        await seen.sees("drain 34/120 s, then remaining requests are aborted")
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
        assert "start failed at stage 1 of 1: d12: start something" in rows[0]
        assert "FAILED  d12: start something" in rows[1], "what failed comes first"
        assert "done    d0..11, d13..29: start something" in rows[2], "what went well is one row"
        assert len(rows) == 3
        await seen.sees("no address")
        session.diagnosed("decode-3")
        pane.redraw()
        await seen.sees("FAILED  6: causes")


async def test_a_row_unfolds_to_each_of_its_steps_with_what_it_reported(tmp_path: Path) -> None:
    steps = tuple(Step(f"s{at}", "check", f"d{at}: idle", f"d{at}") for at in range(3))
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("8")
        pane = seen.app.main.pane
        assert isinstance(pane, PlanPane)
        pane.begin(Plan("start", "lab", "a3-pd", (), (Stage("check", steps),), Confirm("key", "y")))
        await seen.sees("start: stage 1 of 1 is next")
        for step in steps:
            pane.note(StepEvent(step.id, Outcome.DONE, f"{step.node} has free ports"))
        await seen.sees("done    check d0..2: idle")
        assert "free ports" not in seen.text()
        await seen.press("down", "enter")
        await seen.sees("d1: idle: d1 has free ports")
        await seen.press("enter")
        await seen.sees(lambda: "free ports" not in seen.text())


async def test_a_plan_of_hundreds_of_engines_is_a_page_while_it_runs(tmp_path: Path) -> None:
    made = copied(16)
    plan = PlanMaker(made, picture({}, made)).make("start", ())
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("8", "f")
        pane = seen.app.main.pane
        assert isinstance(pane, PlanPane)
        pane.begin(plan)
        for step in plan.stages[0].steps:
            pane.note(StepEvent(step.id, Outcome.DONE, "idle"))
        pane.note(StepEvent(plan.stages[1].steps[5].id, Outcome.UNKNOWN, "the link was lost"))
        await seen.sees("start: the outcome of a step is unknown at stage 2 of 8")
        await seen.sees("the link was lost")
        assert len(pane.rows) < 16
