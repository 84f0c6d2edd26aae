"""What preflight asks of a node follows from the deployment, and leaves out what already runs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from console.commands.container import run_container, wanted_mounts
from console.model.cluster import Runtime
from console.model.deployment import Assignment, Deployment
from console.model.snapshot import EngineState
from console.probes.check_types import Answer, Verdict
from console.probes.preflight_checks import CHECKS, answered, asked
from console.services.readiness.node_requirements import requirements_of, used_nodes
from tests.services.deployments import CLUSTER, deployment, picture


def test_every_node_that_carries_something_is_checked_once() -> None:
    assert used_nodes(deployment()) == ("p0", "p1", "d0", "d1")
    assert used_nodes(deployment(Assignment({"prefill": ("p1",)}))) == ("p1",)


def test_the_first_node_of_a_group_has_its_address_and_rank_port() -> None:
    head, other = (requirements_of(deployment(), node, picture({})) for node in ("d0", "d1"))
    assert (head.dp_addresses, other.dp_addresses) == (("10.0.0.3",), ())
    assert 12321 in dict(head.ports)
    assert 12321 not in dict(other.ports)
    assert head.peers == ("10.0.0.1", "10.0.0.2", "10.0.0.4")
    assert (head.engines, head.devices, head.model, head.connector) == (2, 16, "/models/v4", True)
    assert {"data-parallel-rank", "kv-transfer-config", "block-size"} <= set(head.flags)


def test_ports_of_what_runs_are_not_asked_to_be_free() -> None:
    running = {"prefill-0": EngineState.READY, "prefill-1": EngineState.READY}
    wanted = requirements_of(deployment(), "p0", picture(running))
    assert {what for _, what in wanted.ports} == {"the proxy"}


@pytest.mark.parametrize(
    ("version", "packages"), [("v0.21.0rc1", {"vllm-ascend": "v0.21.0rc1"}), ("main", {}), ("", {})]
)
def test_a_branch_is_no_version_to_compare(version: str, packages: dict[str, str]) -> None:
    made = deployment()
    layout = made.layout.model_copy(update={"version": version})
    wanted = requirements_of(Deployment(CLUSTER, layout, made.assignment), "p0", picture({}))
    assert wanted.packages == packages


def test_the_mounts_asked_for_are_those_a_new_container_gets() -> None:
    made = deployment()
    node = made.node("p0").model_copy(update={"runtime": Runtime(kind="podman", image="q/vllm-ascend:v0.21.0rc1-a3")})
    words = run_container(made, node)
    given = {word.partition(":")[0] for flag, word in pairwise(words) if flag == "-v"}
    assert set(wanted_mounts(made, node)) == given
    assert wanted_mounts(made, made.node("p0")) == ()


def test_blocking_asks_less_and_leaves_tuning_out() -> None:
    wanted = requirements_of(deployment(), "p0", picture({}))
    advice = {check.id for check in CHECKS if not check.blocks}
    assert not advice & {result.check for result in answered(wanted, {}, blocking=True)}
    assert advice & {result.check for result in answered(wanted, {})}
    assert len(asked(wanted, blocking=True)) < len(asked(wanted))


@pytest.mark.parametrize(
    ("args", "verdict"),
    [
        ("timeout -k 1 90 vllm serve --help=all", Verdict.PASS),
        ("sh -c timeout -k 1 90 vllm serve --help=all 2>/dev/null || vllm serve --help preflight", Verdict.PASS),
        ("/usr/bin/python3 /usr/local/bin/vllm serve /models/v4 --port 7100", Verdict.FAIL),
        ("VLLM::Worker_DP0", Verdict.FAIL),
    ],
)
def test_preflight_does_not_take_its_own_question_for_an_engine(args: str, verdict: Verdict) -> None:
    text = f"    PID    PPID USER     ELAPSED COMMAND\n    1 0 root 9 init\n  417 1 root 60 {args}\n"
    results = answered(requirements_of(deployment(), "p0", picture({})), {"processes": Answer(text.encode())})
    assert next(each.verdict for each in results if each.check == "13") is verdict


@pytest.mark.parametrize(
    ("stderr", "verdict"),
    [
        (b"Error response from daemon: No such container: box\n", Verdict.FAIL),
        (b"Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n", Verdict.UNKNOWN),
    ],
)
def test_a_missing_container_is_a_failure_and_a_missing_daemon_is_not_known(stderr: bytes, verdict: Verdict) -> None:
    wanted = replace(requirements_of(deployment(), "p0", picture({})), container="box")
    results = answered(
        wanted, {"inspect": Answer(b"[]\n", 1, stderr=stderr), "packages": Answer(b"", 1, stderr=stderr)}
    )
    verdicts = {each.check: each.verdict for each in results}
    assert (verdicts["23"], verdicts["24"], verdicts["18"]) == (verdict, verdict, Verdict.UNKNOWN)
