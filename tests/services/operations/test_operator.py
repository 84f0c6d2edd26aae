"""The guards in front of every operation, and what the failure of one step does to the others: no node, a runner that obeys."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from console.journal import Journal
from console.model.deployment import Deployment
from console.model.errors import ConsoleError, LinkLost, NothingToDo, Refused
from console.model.findings import Finding, Severity
from console.model.plan import Confirm, Outcome, Plan, PlanResult, Stage, Step, StepEvent
from console.model.snapshot import EngineState
from console.services.audit_log import audit_entries
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor
from console.services.operations.operator import Operator
from console.services.operations.plan_maker import PlanMaker, without_waiting
from console.services.operations.step_context import Report
from tests.services.deployments import deployment, picture


def _stage(act: str, *nodes: str) -> Stage:
    return Stage(act, tuple(Step(f"{act}:{node}", act, act, node, (f"x-{node}",)) for node in nodes))  # type: ignore[arg-type]


PLAN = Plan(
    "start", "lab", "pd", ("x-p0", "x-d0"),
    (_stage("prepare", "p0", "d0"), _stage("launch", "p0", "d0"), _stage("wait-ready", "p0", "d0")),
    Confirm("name", "lab"),
)  # fmt: skip


class Obedient:
    """Does every step but those it has been told to fail; notes what it was asked for."""

    def __init__(self, **fails: Exception) -> None:
        self.fails = {name.replace("_", ":", 1): error for name, error in fails.items()}
        self.ran: list[str] = []
        self.discarded: list[str] = []

    async def run(self, step: Step, report: Report) -> str:
        self.ran.append(step.id)
        await asyncio.sleep(0)
        if step.id in self.fails:
            raise self.fails[step.id]
        return "well"

    async def discard(self, stage: Stage) -> None:
        self.discarded.append(stage.title)

    async def settle(self, step: Step, lost: LinkLost) -> tuple[Outcome, str]:
        return Outcome.UNKNOWN, f"outcome unknown: {lost}"


def _operator(folder: Path, now: Deployment | None = None, *, read_only: bool = False) -> Operator:
    monitor = Monitor(now or deployment(), LogBook(folder / "logs", lambda _: None), {}, read_only=read_only)
    return Operator(monitor, {}, Journal(folder / "journal.jsonl"), who="me@here")


def _written(folder: Path) -> list[object]:
    return [entry["what"] for entry in Journal(folder / "journal.jsonl").tail(10)]


async def _run(folder: Path, runner: Obedient, plan: Plan = PLAN) -> PlanResult:
    return await _operator(folder).run(plan, lambda _: None, confirmed=plan.confirm.expected, runner=runner)


def _outcomes(result: PlanResult) -> Mapping[str, str]:
    return {step: str(outcome) for step, outcome in result.outcomes.items()}


ERROR = Finding("R1", Severity.ERROR, "two engines on one device", "p0", fix="move one")


@pytest.mark.parametrize(
    ("plan", "confirmed", "read_only", "why"),
    [
        (PLAN, "lab", True, "read-only"),
        (replace(PLAN, cluster="other"), "lab", False, "the plan is for other, this is lab"),
        (PLAN, "", False, "not confirmed"),
        (PLAN, "y", False, "not confirmed"),
        (PLAN, "LAB", False, "not confirmed"),
        (replace(PLAN, findings=(ERROR,)), "lab", False, "R1: two engines on one device"),
    ],
)
async def test_a_plan_that_must_not_run_does_nothing_at_all(
    tmp_path: Path, plan: Plan, confirmed: str, read_only: bool, why: str
) -> None:
    runner = Obedient()
    with pytest.raises(Refused, match=why):
        await _operator(tmp_path, read_only=read_only).run(plan, print, confirmed=confirmed, runner=runner)
    assert runner.ran == []
    assert _written(tmp_path) == []


async def test_a_warning_forbids_nothing(tmp_path: Path) -> None:
    warned = replace(PLAN, findings=(replace(ERROR, severity=Severity.WARNING),))
    assert (await _run(tmp_path, Obedient(), warned)).ok


async def test_read_only_makes_no_plan_of_any_kind(tmp_path: Path) -> None:
    operator = _operator(tmp_path, read_only=True)
    for asked in (
        operator.prepare("stop", []),
        operator.prepare_scale("decode", 2),
        operator.prepare_proxy_sync(),
        operator.prepare_end("stop", "p0", 4711),
    ):
        with pytest.raises(Refused, match="read-only"):
            await asked


async def test_a_layout_without_a_proxy_leaves_nothing_to_mend(tmp_path: Path) -> None:
    bare = replace(deployment(), layout=deployment().layout.model_copy(update={"proxy": None}))
    with pytest.raises(NothingToDo, match="nothing to do: the layout has no proxy"):
        await _operator(tmp_path, bare).prepare_proxy_sync()


async def test_one_plan_at_a_time_and_the_next_may_run_when_it_is_over(tmp_path: Path) -> None:
    operator, first = _operator(tmp_path), Obedient()
    running = asyncio.create_task(operator.run(PLAN, lambda _: None, confirmed="lab", runner=first))
    await asyncio.sleep(0)
    second = Obedient()
    with pytest.raises(Refused, match="a plan to start is still running"):
        await operator.run(PLAN, lambda _: None, confirmed="lab", runner=second)
    assert second.ran == []
    assert (await running).ok
    assert operator.running is None
    assert (await operator.run(PLAN, lambda _: None, confirmed="lab", runner=second)).ok
    assert _written(tmp_path) == ["begin", "end"] * 2


async def test_what_a_preparation_that_failed_has_left_is_taken_back_and_nothing_is_launched(tmp_path: Path) -> None:
    runner = Obedient(prepare_d0=ConsoleError("disk full", hint="free space"))
    result = await _run(tmp_path, runner)
    assert runner.ran == ["prepare:p0", "prepare:d0"]
    assert runner.discarded == ["prepare"]
    assert not result.ok
    assert _outcomes(result) == {
        "prepare:p0": "done", "prepare:d0": "failed", "launch:p0": "skipped", "launch:d0": "skipped",
        "wait-ready:p0": "skipped", "wait-ready:d0": "skipped",
    }  # fmt: skip
    assert result.messages["prepare:d0"] == "disk full — free space"


async def test_a_launch_that_failed_is_followed_by_nothing_and_takes_back_nothing(tmp_path: Path) -> None:
    runner = Obedient(launch_d0=ConsoleError("busy"))
    result = await _run(tmp_path, runner)
    assert runner.discarded == []
    assert runner.ran == ["prepare:p0", "prepare:d0", "launch:p0", "launch:d0"]
    assert _outcomes(result)["wait-ready:p0"] == "skipped"


async def test_where_nodes_stand_alone_the_others_go_on(tmp_path: Path) -> None:
    runner = Obedient(launch_d0=ConsoleError("busy"))
    result = await _run(tmp_path, runner, replace(PLAN, by_node=True))
    assert runner.ran[-1] == "wait-ready:p0"
    assert _outcomes(result)["wait-ready:d0"] == "skipped"


async def test_a_link_lost_under_a_step_is_unknown_and_never_tried_again(tmp_path: Path) -> None:
    runner = Obedient(launch_d0=LinkLost("cut"))
    result = await _run(tmp_path, runner)
    assert _outcomes(result)["launch:d0"] == "unknown"
    assert runner.ran.count("launch:d0") == 1
    assert "wait-ready:p0" not in runner.ran


async def test_a_plan_that_is_called_off_begins_no_further_step(tmp_path: Path) -> None:
    operator, runner = _operator(tmp_path), Obedient()

    def notice(event: StepEvent) -> None:
        if event.step == "prepare:p0" and event.outcome is Outcome.DONE:
            operator.cancel()

    result = await operator.run(PLAN, notice, confirmed="lab", runner=runner)
    assert runner.ran == ["prepare:p0", "prepare:d0"]
    assert runner.discarded == []
    assert (result.cancelled, result.ok) == (True, False)
    assert (await operator.run(PLAN, lambda _: None, confirmed="lab", runner=Obedient())).ok, "the next is another"


async def test_a_plan_called_off_once_it_holds_the_lease_has_not_begun(tmp_path: Path) -> None:
    async def off() -> None:
        raise Refused("the group recovered by itself")

    operator, runner = _operator(tmp_path), Obedient()
    with pytest.raises(Refused, match="recovered"):
        await operator.run(PLAN, print, confirmed="lab", runner=runner, recheck=off)
    assert (runner.ran, _written(tmp_path), operator.running) == ([], [], None)


STOP = replace(
    PLAN, verb="stop", stages=(_stage("drain", "p0"), _stage("stop", "p0", "d0"), _stage("verify", "p0", "d0"))
)


async def test_what_ends_engines_is_done_without_a_journal_and_the_missing_record_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    runner = Obedient()
    result = await _run(tmp_path, runner, STOP)
    assert result.ok
    assert runner.ran == ["drain:p0", "stop:p0", "stop:d0", "verify:p0", "verify:d0"]
    (why,) = result.unrecorded
    assert "journal.jsonl cannot be written" in why


async def test_what_starts_engines_is_refused_without_a_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    runner = Obedient()
    with pytest.raises(ConsoleError, match="cannot be written"):
        await _run(tmp_path, runner)
    assert runner.ran == []


async def test_a_start_whose_end_cannot_be_recorded_gives_its_result_all_the_same(tmp_path: Path) -> None:
    class Filling(Obedient):
        async def run(self, step: Step, report: Report) -> str:
            journal = tmp_path / "journal.jsonl"
            if journal.is_file():
                journal.unlink()
                journal.mkdir()
            return await super().run(step, report)

    result = await _run(tmp_path, Filling())
    assert result.ok
    assert len(result.unrecorded) == 1


async def test_two_consoles_of_one_person_that_do_the_same_leave_two_records(tmp_path: Path) -> None:
    class Nested(Obedient):
        async def run(self, step: Step, report: Report) -> str:
            if step.id == "launch:p0":
                await _run(tmp_path, Obedient(launch_d0=ConsoleError("busy")))
            return await super().run(step, report)

    assert (await _run(tmp_path, Nested())).ok
    assert _written(tmp_path) == ["begin", "begin", "end", "end"]
    newest, oldest = audit_entries(Journal(tmp_path / "journal.jsonl").tail(10))
    assert (oldest.outcome, newest.outcome) == ("done", "1 failed")


def test_a_plan_that_does_not_wait_says_what_it_leaves_out() -> None:
    made = deployment()
    whole = PlanMaker(made, picture({}, made)).make("start", ())
    plan = without_waiting(whole)
    assert [stage.steps[0].act for stage in plan.stages] == ["check", "prepare", "launch"]
    assert "proxy" not in plan.engines
    assert (plan.confirm.kind, plan.confirm.expected) == ("key", "y")
    (note,) = [each for each in plan.findings if each.rule == "NOWAIT"]
    assert note.message == "does not wait until the engines are ready; does not start proxy"
    assert note.fix == "once they are ready: start proxy"
    stop = PlanMaker(made, picture({"decode-0": EngineState.READY}, made)).make("stop", ())
    assert without_waiting(stop) is stop
    behind = dict.fromkeys(("proxy", "prefill-0", "prefill-1"), EngineState.READY)
    joined = without_waiting(PlanMaker(made, picture(behind, made)).make("start", ("decode",)))
    assert joined.findings[-1].fix == "see their progress: status; then sync-proxy, to add them to the proxy"
