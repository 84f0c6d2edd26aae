"""What a start says of the attempt before it: how it failed, what is different now, and what stays down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from console.model.findings import Finding, Severity
from console.model.plan import Verb
from console.model.snapshot import Diagnosis, EngineState, Link, LinkState, NodeSnapshot
from console.services.operations.plan_findings import unreached
from console.services.operations.plan_maker import PlanMaker
from tests.services.deployments import deployment, picture

DECODE = ("decode-0", "decode-1", "decode-2", "decode-3")
DOWN = {**dict.fromkeys(DECODE, EngineState.DEGRADED), "decode-2": EngineState.FAILED}
FULL = Diagnosis(
    "C1", "fatal", "HBM is full", "", "Lower gpu-memory-utilization.", "", "decode-2", "d0", "", 100.0, True,
    first=True, where="decode in own.yaml: gpu-memory-utilization 0.9 (line 7)",
)  # fmt: skip
ECHO = Diagnosis("A23", "fatal", "an engine core did not start", "", "See above.", "", "decode-1", "d0", "", 90.0, True)
LOWER = "--gpu-memory-utilization 0.9, planned 0.85"


def _findings(
    diagnoses: tuple[Diagnosis, ...],
    drift: Mapping[str, tuple[str, ...]],
    *,
    verb: Verb = "restart",
    states: Mapping[str, EngineState] = DOWN,
) -> list[Finding]:
    source = deployment()
    seen = picture(dict(states), source)
    engines = {name: replace(each, drift=drift.get(name, ())) for name, each in seen.engines.items()}
    plan = PlanMaker(source, replace(seen, engines=engines, diagnoses=diagnoses)).make(verb, ("decode-0",))
    return [each for each in plan.findings if each.rule in ("BEFORE", "CHANGED", "PART")]


def test_a_restart_with_the_same_settings_names_the_first_cause_its_remedy_and_where_it_is_written() -> None:
    (found,) = _findings((ECHO, FULL), {})
    assert (found.severity, found.where) == (Severity.WARNING, "decode-2")
    assert found.message == "decode-2 failed with C1 HBM is full, and its settings have not changed"
    assert found.fix == "Lower gpu-memory-utilization. See decode in own.yaml: gpu-memory-utilization 0.9 (line 7)"


def test_where_the_settings_were_changed_that_is_told_and_nothing_is_warned_of() -> None:
    changed, before = _findings((FULL,), dict.fromkeys(DECODE, (LOWER,)))
    assert changed.message == f"changed since the last run: {LOWER}"
    assert (before.message, before.severity) == ("decode-2 failed with C1 HBM is full", Severity.NOTE)
    assert "(1 of 4 engines)" in _findings((), {"decode-1": (LOWER,)})[0].message
    many = _findings((), dict.fromkeys(DECODE, tuple(f"--flag-{at} 1, planned 2" for at in range(9))))
    assert many[0].message.endswith("--flag-5 1, planned 2 +3 more")


@pytest.mark.parametrize(
    ("diagnosis", "states"),
    [
        (replace(FULL, remedy="Restart the group."), DOWN),
        (replace(FULL, severity="running"), DOWN),
        (replace(FULL, engine="prefill-0"), DOWN),
        (FULL, dict.fromkeys(DECODE, EngineState.READY)),
    ],
)
def test_nothing_is_said_of_what_a_restart_mends_of_others_and_of_what_runs(
    diagnosis: Diagnosis, states: dict[str, EngineState]
) -> None:
    assert _findings((diagnosis,), {}, states=states) == []


def test_a_start_of_a_part_says_what_stays_down_and_how_to_take_all() -> None:
    (found,) = _findings((), {}, verb="start", states={})
    assert found.message == "3 more of pd stay down (prefill, proxy)"
    assert "* in the grid" in found.fix
    rest = dict.fromkeys(("prefill-0", "prefill-1", "proxy"), EngineState.READY)
    assert _findings((), {}, verb="start", states=rest) == []


def test_a_node_that_has_listed_its_runs_is_reached_while_the_rest_of_its_first_sample_is_awaited() -> None:
    seen = picture(dict.fromkeys(DECODE, EngineState.UNREACHABLE), deployment())
    engines = {name: replace(each, connecting=name in DECODE, pid=None) for name, each in seen.engines.items()}
    node = engines["decode-0"].node
    mine = [name for name in DECODE if engines[name].node == node]
    for listed, expected in ((False, mine), (True, [])):
        nodes = {node: NodeSnapshot(node, "10.0.0.3", "a3", 16, Link(LinkState.CONNECTING), listed=listed)}
        found = unreached(replace(seen, engines=engines, nodes=nodes), DECODE)
        assert found.get(node, []) == expected
    gone = {name: replace(each, connecting=False) for name, each in engines.items()}
    assert unreached(replace(seen, engines=gone, nodes=nodes), DECODE)[node] == mine, "its link was lost since"
