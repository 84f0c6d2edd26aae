"""How a plan stands, in a line, and its steps folded by what became of them."""

from __future__ import annotations

import pytest

from console.model.ongoing_work import ObservedOperation
from console.model.plan import Confirm, Outcome, Plan, PlanResult, Stage, Step, StepEvent
from console.services.operations.plan_maker import PlanMaker
from console.services.operations.plan_progress import PlanProgress
from tests.services.deployments import picture
from tests.services.many_engines import copied

NODES = ("d0", "d1", "d2", "d3")
STAGES = (
    Stage("check", tuple(Step(f"check:{node}", "check", f"{node}: idle", node) for node in NODES)),
    Stage("launch", tuple(Step(f"launch:{node}", "launch", f"{node}: start", node) for node in NODES)),
)
PLAN = Plan("start", "lab", "pd", ("decode-0", "decode-1"), STAGES, Confirm("key", "y"))


def _rows(progress: PlanProgress) -> list[tuple[str, str]]:
    return [(row.folded.title, str(row.outcome)) for row in progress.rows()]


def test_steps_are_folded_by_what_became_of_them() -> None:
    progress = PlanProgress(PLAN)
    assert _rows(progress) == [("check d0..3: idle", "pending"), ("d0..3: start", "pending")]
    assert progress.verdict() == "start: stage 1 of 2 is next"
    for node in NODES:
        progress.note(StepEvent(f"check:{node}", Outcome.DONE, f"{node} has room"))
    progress.note(StepEvent("launch:d0", Outcome.RUNNING))
    assert _rows(progress) == [("check d0..3: idle", "done"), ("d0: start", "running"), ("d1..3: start", "pending")]
    assert progress.verdict() == "start: stage 2 of 2 runs"


def test_what_went_wrong_comes_first_and_different_failures_stay_apart() -> None:
    progress = PlanProgress(PLAN)
    progress.end(
        PlanResult(
            {
                **{f"check:{node}": Outcome.DONE for node in NODES},
                **{f"launch:{node}": Outcome.FAILED for node in NODES},
            },
            {"launch:d0": "no address", "launch:d1": "no address", "launch:d2": "full", "launch:d3": "no address"},
        )
    )
    assert _rows(progress) == [
        ("d0, d1, d3: start", "failed"),
        ("d2: start", "failed"),
        ("check d0..3: idle", "done"),
    ]
    assert progress.verdict() == "start failed at stage 2 of 2: d0, d1, d3: start"
    assert progress.rows()[1].messages == ("full",)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (PlanResult({step.id: Outcome.DONE for step in PLAN.steps}, {}), "start of 2 engines is done"),
        (
            PlanResult({step.id: Outcome.SKIPPED for step in PLAN.steps}, {}, cancelled=True),
            "start was cancelled: 8 steps not started",
        ),
        (
            PlanResult({step.id: Outcome.SKIPPED for step in PLAN.steps}, {}, cancelled=True, taken_over="bob@jump"),
            "start was cancelled, taken over by bob@jump: 8 steps not started",
        ),
        (
            PlanResult({step.id: Outcome.UNKNOWN for step in PLAN.steps}, {}),
            "start: the outcome of a step is unknown at stage 1 of 2: check d0..3: idle; check the engines, then make a new plan",
        ),
    ],
)
def test_the_end_of_a_plan_is_a_line(result: PlanResult, words: str) -> None:
    progress = PlanProgress(PLAN)
    progress.end(result)
    assert progress.verdict() == words


def test_a_plan_of_hundreds_of_engines_has_few_rows() -> None:
    made = copied(16)
    progress = PlanProgress(PlanMaker(made, picture({}, made)).make("start", ()))
    assert len(progress.rows()) == 9


def test_an_operation_of_others_is_told_in_a_line() -> None:
    engines = ("prefill-0", *(f"decode-{rank}" for rank in range(16)))
    words = "start of 17 engines by ann@jump, about 3 min ago: prefill-0, decode-0..15"
    assert ObservedOperation(0.0, "ann@jump", "start", engines).words(180.0) == words
