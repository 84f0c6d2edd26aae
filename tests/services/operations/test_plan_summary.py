"""The rows that tell what a plan does, before it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.model.deployment import Deployment
from console.model.findings import Finding, Severity
from console.model.plan import Plan, Verb
from console.model.snapshot import EngineState, Serving
from console.model.start_timing import UsualDuration
from console.services.operations.live_plans import rolling_restart_plan, scale_plan
from console.services.operations.plan_maker import PlanMaker, without_waiting
from console.services.operations.plan_summary import SummaryRow, plan_summary
from tests.services.deployments import ASSIGNMENT, CLUSTER, deployment, picture
from tests.services.many_engines import copied, single

ALL = ("prefill-0", "prefill-1", "decode-0", "decode-1", "decode-2", "decode-3", "proxy")
READY = dict.fromkeys(ALL, EngineState.READY)


def _plan(verb: Verb, engines: tuple[str, ...] = (), states: dict[str, EngineState] | None = None) -> Plan:
    return PlanMaker(deployment(), picture(states or {})).make(verb, engines)


def _text(plan: Plan, label: str, asked: tuple[str, ...] = ()) -> str:
    """What the rows of a label say."""
    return " | ".join(row.text for row in plan_summary(plan, asked) if row.label == label)


def test_a_start_of_idle_nodes_is_told_in_five_rows() -> None:
    plan = replace(
        _plan("start"), findings=(), usual={"decode": UsualDuration(480.0, 4), "prefill": UsualDuration(60.0, 2)}
    )
    assert [(row.label, row.text) for row in plan_summary(plan)] == [
        ("Engines", "prefill-0, prefill-1, decode-0..3, proxy"),
        ("Nodes", "p0, p1, d0, d1"),
        ("Time", "about 8 min until ready, as in 2 earlier starts"),
        ("Changed", "these engines have not run before"),
        ("Lost", "nothing: none of these engines is running"),
    ]


@pytest.mark.parametrize(
    ("plan", "time"),
    [
        (_plan("start"), "time until ready unknown: no earlier start recorded"),
        (
            replace(_plan("start"), usual={"decode": UsualDuration(480.0, 1)}),
            "about 8 min until ready, as in 1 earlier start; unknown for prefill",
        ),
        (
            without_waiting(_plan("start")),
            "the plan ends when the engines are started; it does not wait until they are ready",
        ),
        (_plan("stop", (), READY), "engines have up to 20 s to exit after TERM, then KILL"),
        (
            _plan("stop", ("decode",), READY),
            "running requests have up to 120 s; then engines have up to 20 s to exit after TERM, then KILL",
        ),
    ],
)
def test_the_time_goes_by_earlier_starts_and_by_the_limits_of_a_stop(plan: Plan, time: str) -> None:
    assert _text(plan, "Time") == time


def test_kill_gives_no_time() -> None:
    assert _text(_plan("kill", ("decode-0",), READY), "Time") == ""


def test_turns_of_a_rolling_restart_add_up() -> None:
    made = copied(3)
    seen = picture({rank.id: EngineState.READY for rank in made.processes()}, made)
    usual = {name: UsualDuration(600.0, 3) for name in ("decode", "decode2", "decode3")}
    plan = rolling_restart_plan(PlanMaker(made, replace(seen, usual=usual)), ["decode", "decode2", "decode3"])
    assert _text(plan, "Time").endswith("about 30 min until ready, as in 3 earlier starts")


def test_a_copy_takes_as_long_as_its_original() -> None:
    nodes = {**CLUSTER.nodes, **dict.fromkeys(("x0", "x1"), CLUSTER.nodes["d0"])}
    made = replace(deployment(ASSIGNMENT), cluster=CLUSTER.model_copy(update={"nodes": nodes}))
    seen = replace(picture(READY, made), usual={"decode": UsualDuration(600.0, 3)})
    plan = scale_plan(made, seen, "decode", 2, nodes=("x0", "x1"), drain_s=120.0)
    assert _text(plan, "Time").startswith("about 10 min until ready")
    assert _text(plan, "Groups") == "add decode2 on x0, x1"
    assert _text(plan, "Nodes") == "x0, x1", "not the proxy's node, which only hears of it"


def test_what_differs_and_what_failed_before_is_told_once_for_groups_that_have_it_alike() -> None:
    changed = [
        Finding("CHANGED", Severity.NOTE, "changed since the last run: TP 8, planned 16", name)
        for name in ("prefill", "decode")
    ]
    before = Finding(
        "BEFORE",
        Severity.WARNING,
        "decode-2 failed with C1 HBM is full, and it starts with the same settings",
        "decode-2",
        fix="lower it",
    )
    plan = replace(_plan("start"), findings=(*changed, before))
    assert _text(plan, "Changed") == "prefill, decode changed since the last run: TP 8, planned 16"
    (row,) = [row for row in plan_summary(plan) if row.label == "Last run"]
    assert row == SummaryRow("Last run", before.message, "warning", ("lower it",))


def test_engines_that_ran_before_are_not_called_new() -> None:
    ended = dict.fromkeys(ALL, EngineState.EXITED)
    assert _text(_plan("start", (), ended), "Changed") == "no known change since the last run"


def test_requests_in_flight_are_counted() -> None:
    seen = picture(READY)
    busy = {
        name: replace(seen.engines[name], serving=Serving(0.0, running=running, waiting=waiting))
        for name, running, waiting in (("decode-0", 7, 0), ("decode-1", 5, 3), ("prefill-0", 1, None))
    }
    plan = PlanMaker(deployment(), replace(seen, engines={**seen.engines, **busy})).make("stop", ())
    lost = _text(plan, "Lost")
    assert "decode-0..3: serving; 12 requests run, 3 wait; running requests are aborted" in lost
    assert "prefill-0, prefill-1: serving; 1 request runs; running requests are aborted" in lost
    assert "proxy: serving; running requests are aborted" in lost


def test_what_ends_without_a_loss_says_so() -> None:
    assert _text(_plan("stop", ("decode-0",), {"decode-0": EngineState.STUCK}), "Lost").startswith("no known loss")


def test_the_errors_come_first_and_the_notes_are_one_row() -> None:
    notes = [Finding(rule, Severity.NOTE, f"says {rule}", "pd", fix="do it") for rule in ("N1", "N2", "N3")]
    plan = replace(
        _plan("start"),
        findings=(
            *notes,
            Finding("W1", Severity.WARNING, "look", "d0"),
            Finding("E9", Severity.ERROR, "no", "d1", fix="mend"),
        ),
    )
    rows = plan_summary(plan)
    assert rows[0] == SummaryRow("Error", "E9: no (d1)", "error", ("mend",))
    assert rows[-2] == SummaryRow("Warning", "W1: look (d0)", "warning")
    more = tuple(text for rule in ("N1", "N2", "N3") for text in (f"{rule}: says {rule} (pd)", "do it"))
    assert rows[-1] == SummaryRow("Notes", "3: N1, N2, N3", "note", more)


def test_the_same_finding_of_many_groups_is_one_row() -> None:
    made = copied(16)
    plan = PlanMaker(made, picture({}, made)).make("start", ())
    rows = [row for row in plan_summary(plan) if row.label == "Warning"]
    assert [row.text.partition(":")[0] for row in rows] == ["E1", "R9", "R23"]
    assert all(row.text.endswith("(prefill, decode, decode2..16)") for row in rows)


def test_more_engines_than_were_chosen_are_explained() -> None:
    plan = _plan("stop", ("decode-2",), READY)
    assert (
        _text(plan, "You chose", ("decode-2",))
        == "decode-2; 3 more engines included: ranks of a group start and stop together"
    )
    assert _text(plan, "You chose", plan.engines) == _text(plan, "You chose") == ""


@pytest.mark.parametrize("made", [single(), copied(1), copied(16), copied(4, nodes=16)])
def test_the_summary_of_a_start_of_any_size_has_few_rows(made: Deployment) -> None:
    rows = plan_summary(PlanMaker(made, picture({}, made)).make("start", ()))
    assert len(rows) <= 9


def test_a_name_within_another_name_is_left_alone() -> None:
    found = [
        Finding("X", Severity.WARNING, f"{name} is away, {name}0 and a-{name} are not", name) for name in ("d1", "d2")
    ]
    rows = [row.text for row in plan_summary(replace(_plan("start"), findings=tuple(found))) if row.label == "Warning"]
    assert rows == ["X: d1 is away, d10 and a-d1 are not", "X: d2 is away, d20 and a-d2 are not"]
