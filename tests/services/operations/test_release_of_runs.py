"""A start with another release than the runs before had says what that release makes of the layout: in plan, data and drift."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from console.files import load_layout
from console.model.deployment import Deployment
from console.model.findings import Finding, Severity
from console.model.plan import Plan
from console.model.snapshot import EngineState
from console.services.monitoring.drift import drift
from console.services.operations.payloads import engine_launch
from console.services.operations.plan_maker import PlanMaker
from console.services.operations.step_text import plan_data, run_data
from console.services.placement.edits import example
from tests.services.deployments import picture


def made(**change: Any) -> Deployment:
    return example(load_layout("a3-pd").model_copy(update=change))


def planned(deployment: Deployment, ran: str, verb: Any = "restart") -> Plan:
    engines = [rank.id for rank in deployment.ranks()]
    seen = picture(dict.fromkeys(engines, EngineState.READY), deployment)
    engines_now = {name: replace(each, release=ran) for name, each in seen.engines.items()}
    return PlanMaker(deployment, replace(seen, engines=engines_now)).make(verb, ())


def told(deployment: Deployment, ran: str) -> list[Finding]:
    return [each for each in planned(deployment, ran).findings if each.rule == "RELEASE"]


@pytest.mark.parametrize(
    ("ran", "change", "severity", "text"),
    [
        (
            *("v0.21.0rc1", {"version": "v0.30.0rc2"}, Severity.WARNING),
            "ran with v0.21.0rc1, starts with v0.30.0rc2: renamed: VLLM_ASCEND_ENABLE_FUSED_MC2; deprecated: "
            "VLLM_ASCEND_ENABLE_FLASHCOMM1, enable_dsa_cp of --additional-config, "
            "recompute_scheduler_enable of --additional-config; meaning: enable_dsa_cp of --additional-config; 6 other defaults",
        ),
        (
            *("v0.21.0rc1", {"version": "v0.28.0rc1", "args": {"calculate-kv-scales": True}}, Severity.WARNING),
            "ran with v0.21.0rc1, starts with v0.28.0rc1: gone: --calculate-kv-scales; renamed:",
        ),
        (
            *("0.23.0rc1", {"version": "v0.23.0"}, Severity.NOTE),
            "starts with v0.23.0: deprecated: VLLM_ASCEND_ENABLE_FUSED_MC2",
        ),
        ("v0.21.0rc1", {"version": "main"}, Severity.NOTE, "starts with main: no facts about main"),
        (
            "nightly-a3",
            {},
            Severity.NOTE,
            "ran with nightly-a3, starts with v0.21.0rc1: no facts about nightly-a3",
        ),
        ("v0.21.0rc1", {}, None, ""),
        ("0.21.0rc1-a3", {}, None, ""),
        ("", {"version": "v0.30.0rc2"}, None, ""),
        ("v0.21.0rc1", {"version": "", "image": ""}, None, ""),
    ],
)
def test_a_restart_with_another_release_says_what_it_means(
    ran: str, change: dict[str, Any], severity: Severity | None, text: str
) -> None:
    found = told(made(**change), ran)
    assert len(found) == (severity is not None)
    for finding in found:
        assert finding.severity == severity
        assert text in finding.message
        assert finding.where == "prefill, decode"


def test_the_finding_says_where_all_of_it_is_shown_and_programs_get_it() -> None:
    plan = planned(made(version="v0.30.0rc2"), "v0.21.0rc1", "start")
    assert not [each for each in plan.findings if each.rule == "RELEASE"]
    plan = planned(made(version="v0.30.0rc2"), "v0.21.0rc1")
    (finding,) = [each for each in plan_data(plan)["findings"] if each.rule == "RELEASE"]
    assert finding.fix == "details: dsv4-console upgrade --from v0.21.0rc1 --to v0.30.0rc2 a3-pd"


def test_a_launch_records_the_release_and_a_run_of_another_one_differs() -> None:
    deployment = made()
    rank = deployment.ranks()[0]
    spec = run_data(engine_launch(deployment, rank, None))
    assert spec["release"] == "v0.21.0rc1"
    assert drift(spec, rank, None, "v0.21.0rc1") == ()
    assert drift(spec, rank, None, "v0.25.1rc1") == ("release v0.21.0rc1, planned v0.25.1rc1",)
    assert drift({}, rank, None, "v0.25.1rc1") == ()
    by_image = made(version="")
    assert run_data(engine_launch(by_image, rank, None))["release"] == "v0.21.0rc1-a3"
    assert "release" not in run_data(engine_launch(made(version="", image=""), rank, None))
