"""Where a failed group stands with its restart policy, and how the policy is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import JsonValue, ValidationError

from console.files import layout_text
from console.model.durations import exact
from console.model.layout import Layout
from console.model.restart import GroupRestart, Restart, RestartState
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import EngineSnapshot, EngineState
from console.services.operations.restart_policy import FailureFacts, Member, judge_group
from tests.services.deployments import LAYOUT

NOW = 1_000_000.0
POLICY = Restart(policy="on-failure", budget=3, within=3600, backoff=30)
RUN = "20260101T000000Z-0000"


def _member(
    rank: int,
    state: EngineState = EngineState.READY,
    *,
    restarts: tuple[float, ...] = (),
    stopping: bool = False,
    ended_at: float | None = None,
    run: bool = True,
) -> Member:
    engine = EngineSnapshot(
        id=f"decode-{rank}", node=f"d{rank}", group="decode", role="decode", state=state, run=RUN if run else None
    )
    key = RunKey("pd", engine.id, RUN)
    spec: dict[str, JsonValue] = {"restarts": [*restarts]} if restarts else {}
    seen = RunState(key, RunVerdict.RUNNING, stopping=stopping, spec=spec)
    return Member(replace(engine, started_at=NOW - 900), seen if run else None, ended_at)


def _stand(
    *members: Member, policy: Restart = POLICY, at: float = NOW, launch_error: str = "", forbidden: str = ""
) -> GroupRestart:
    return judge_group(policy, "decode", members, FailureFacts(frozenset({RUN}), at, launch_error), forbidden)


FAILED = _member(1, EngineState.FAILED, ended_at=NOW - 5)


def test_a_group_that_serves_is_watched() -> None:
    assert _stand(_member(0), _member(1)).state is RestartState.WATCHING


def test_a_failure_waits_from_its_end_but_at_least_once_in_this_console() -> None:
    waiting = _stand(_member(0, EngineState.DEGRADED), FAILED)
    assert waiting.state is RestartState.WAITING
    assert waiting.due_at == NOW + 30, "an operator sees it coming for as long as the layout says"
    assert _stand(FAILED, at=NOW - 5).due_at == NOW + 25
    assert "decode-1 on d1 failed" in waiting.words(NOW)
    assert "restarts in 30 s" in waiting.words(NOW)


def test_each_restart_waits_twice_as_long_as_the_one_before() -> None:
    again = _member(1, EngineState.FAILED, ended_at=NOW, restarts=(NOW - 900, NOW - 400))
    assert _stand(again).due_at == NOW + 120
    assert _stand(again).used == 2


def test_a_spent_budget_is_final_until_an_operator_begins_a_run() -> None:
    spent = (NOW - 900, NOW - 600, NOW - 300)
    gave_up = _stand(_member(0, EngineState.FAILED, ended_at=NOW, restarts=spent))
    assert gave_up.state is RestartState.GAVE_UP
    assert gave_up.due_at is None
    assert "gave up after 3 restarts in 1 h: decode-0 on d0 failed" in gave_up.words(NOW)
    much_later = _stand(_member(0, EngineState.FAILED, ended_at=NOW, restarts=spent), at=NOW + 86400)
    assert much_later.state is RestartState.GAVE_UP, "the budget is counted back from the failure, not from now"
    fresh = _stand(_member(0, EngineState.FAILED, ended_at=NOW))
    assert fresh.state is RestartState.WAITING


def test_restarts_long_before_a_failure_do_not_count() -> None:
    old = _member(0, EngineState.FAILED, ended_at=NOW, restarts=(NOW - 9000, NOW - 8000, NOW - 7000))
    assert _stand(old).state is RestartState.WAITING
    assert _stand(old).used == 0


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (_member(0, EngineState.EXITED, stopping=True), "stopped on request"),
        (_member(0, EngineState.STOPPING, stopping=True), "stopped on request"),
        (_member(0, EngineState.STUCK, stopping=True), "stopped on request"),
        (_member(0, EngineState.IDLE, run=False), "not all of it was started"),
        (_member(0, EngineState.UNREACHABLE), "waits for the link to d0"),
    ],
)
def test_what_an_operator_did_or_nobody_knows_is_never_overruled(other: Member, words: str) -> None:
    held = _stand(other, FAILED)
    assert held.state is RestartState.HELD
    assert held.due_at is None
    assert words in held.reason


def test_a_stop_that_leaves_processes_is_no_failure() -> None:
    assert _stand(_member(0, EngineState.STUCK, stopping=True)).state is RestartState.WATCHING


def test_orphans_of_a_dead_engine_are_a_failure() -> None:
    assert _stand(_member(0, EngineState.STUCK)).state is RestartState.WAITING


def test_a_plan_that_did_not_get_through_is_not_tried_for_ever() -> None:
    held = _stand(FAILED, launch_error="d0: port 7100 already has a listener")
    assert held.state is RestartState.HELD
    assert "port 7100" in held.reason
    assert "restart decode yourself" in held.reason


def test_an_old_failure_is_left_to_whoever_opened_the_console() -> None:
    held = _stand(FAILED, at=NOW + 7200)
    assert held.state is RestartState.HELD
    assert "2 h old when this console saw it" in held.reason


def test_another_operator_goes_first() -> None:
    assert _stand(FAILED, forbidden="ann@jump: stop, 4 s is at work").reason.endswith("ann@jump: stop, 4 s is at work")


def test_the_policy_is_off_unless_written_and_survives_writing() -> None:
    assert LAYOUT.groups["decode"].restart.policy == "never"
    assert "restart" not in layout_text(LAYOUT)
    group = LAYOUT.model_dump(mode="json")["groups"]["decode"]
    written = {**group, "restart": {"policy": "on-failure", "budget": 2, "within": "90m", "backoff": "1m"}}
    layout = Layout.model_validate({**LAYOUT.model_dump(mode="json"), "groups": {"decode": written}})
    restart = layout.groups["decode"].restart
    assert (restart.within, restart.backoff, restart.budget) == (5400.0, 60.0, 2)
    assert "within: 5400" in layout_text(layout)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"policy": "always"}, "never"),
        ({"within": "1 fortnight"}, "is not a duration"),
        ({"backoff": "0s"}, "greater than or equal to 1"),
        ({"budget": 0}, "greater than or equal to 1"),
        ({"limit": 3}, "Extra inputs"),
        ({"budget": 3, "within": "10m", "backoff": "2m"}, "3 restarts do not fit into 10 min"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Restart.model_validate(given)


@pytest.mark.parametrize(
    ("seconds", "words"), [(45.0, "45 s"), (90.0, "90 s"), (900.0, "15 min"), (3600.0, "1 h"), (172800.0, "2 d")]
)
def test_spans_are_said_in_their_own_unit(seconds: float, words: str) -> None:
    assert exact(seconds) == words
