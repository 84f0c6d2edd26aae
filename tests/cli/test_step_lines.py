"""What a script sees of a plan that runs: equal events of many engines are one line."""

from __future__ import annotations

from console.cli.step_lines import StepLines
from console.model.plan import Confirm, Outcome, Plan, Stage, Step, StepEvent

NODES = tuple(f"d{at}" for at in range(16))
PLAN = Plan(
    "start",
    "lab",
    "pd",
    (),
    (
        Stage("check", tuple(Step(f"check:{node}", "check", f"{node}: idle", node) for node in NODES)),
        Stage("stop", tuple(Step(f"stop:{node}", "stop", f"{node}: end it", node) for node in NODES)),
    ),
    Confirm("key", "y"),
)


def _told(*events: StepEvent) -> list[str]:
    """The lines without their clock."""
    lines = StepLines(PLAN)
    return [" ".join(line.split()[1:]) for event in events for line in lines.lines(event)]


def test_what_all_nodes_do_is_two_lines() -> None:
    begun = [StepEvent(f"check:{node}", Outcome.RUNNING) for node in NODES]
    done = [StepEvent(f"check:{node}", Outcome.DONE) for node in NODES]
    assert _told(*begun, *done) == ["running check d0..15: idle", "done check d0..15: idle"]
    assert _told(*begun, *done[:-1]) == ["running check d0..15: idle"], "it is not done before the last one is"


def test_a_failure_is_told_at_once_and_what_became_of_all_at_the_end() -> None:
    failed = [StepEvent(f"check:{node}", Outcome.FAILED, "HBM is held") for node in NODES[:3]]
    done = [StepEvent(f"check:{node}", Outcome.DONE) for node in NODES[3:]]
    assert _told(failed[0]) == ["failed check d0: idle HBM is held"]
    assert _told(*failed, *done) == [
        "failed check d0: idle HBM is held",
        "failed check d0..2: idle HBM is held",
        "done check d3..15: idle",
    ]


def test_what_running_steps_report_alike_is_told_once() -> None:
    events = [StepEvent(f"stop:{node}", Outcome.RUNNING, "TERM sent") for node in NODES]
    assert _told(*events, StepEvent("stop:d7", Outcome.RUNNING, "KILL sent")) == [
        "running d0: end it TERM sent",
        "running d7: end it KILL sent",
    ]


def test_different_failures_stay_apart() -> None:
    events = [StepEvent(f"check:{node}", Outcome.FAILED, f"{node} is full") for node in NODES]
    assert len(_told(*events)) == len(NODES)
