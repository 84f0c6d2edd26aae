"""What a run was launched with against the current plan: each difference by name, and silence about what is unknown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from console.commands.launch_scripts import rank_command
from console.commands.masking import masked_argv, masked_env
from console.files import load_layout, shipped_layouts
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Command, Deployment, Rank
from console.model.run import RunKey
from console.services.monitoring.drift import DriftCache, drift

RANK = Rank("d-1", "d0", "d", "decode", 1, 1, 1, 2, (2, 3), 7101, False, "10.0.0.3", "10.0.0.3", 12321)
ARGV = ("vllm", "serve", "/m", "--port", "7101", "--tensor-parallel-size", "2", "--gpu-memory-utilization", "0.9")
JSON = '{"a": 1, "b": {"c": true}}'
PLANNED = Command({"HCCL_BUFFSIZE": "1024", "ASCEND_RT_VISIBLE_DEVICES": "2,3"}, (*ARGV, "--additional-config", JSON))
SPEC: dict[str, object] = {
    "devices": [2, 3],
    "port": 7101,
    "dp_rank": 1,
    "argv": [*PLANNED.argv],
    "env": dict(PLANNED.env),
}


def _argv(*changes: tuple[str, str]) -> dict[str, object]:
    words = list(PLANNED.argv)
    for old, new in changes:
        words[words.index(old)] = new
    return {"argv": words}


def _recorded(deployment: Deployment, rank: Rank) -> dict[str, object]:
    """What a launch records of a rank, as far as it is compared."""
    command = rank_command(deployment, rank)
    return {
        "devices": list(rank.devices),
        "port": rank.port,
        "dp_rank": rank.dp_rank,
        "argv": list(masked_argv(command.argv)),
        "env": masked_env(command.env),
    }


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, ()),
        ({"devices": [4, 5, 6, 7]}, ("devices 4-7, planned 2,3",)),
        ({"port": 7200, **_argv(("7101", "7200"))}, ("port 7200, planned 7101",)),
        ({"port": None}, ("port none, planned 7101",)),
        ({"dp_rank": 0}, ("rank 0, planned 1",)),
        (_argv(("2", "4")), ("TP 4, planned 2",)),
        (_argv(("0.9", "0.92")), ("--gpu-memory-utilization 0.92, planned 0.9",)),
        (_argv(("/m", "/other")), ("model /other, planned /m",)),
        ({"argv": [*PLANNED.argv, "--enforce-eager"]}, ("--enforce-eager set, planned without",)),
        ({"argv": [*PLANNED.argv[:-2]]}, (f"no --additional-config, planned {JSON}",)),
        (_argv((JSON, '{"a": 2, "b": {"c": true}, "d": 1}')), (
            "--additional-config a 2, planned 1", "--additional-config d 1, planned without",
        )),
        (_argv((JSON, '{"b":{"c":true},"a":1}')), ()),
        ({"env": {**PLANNED.env, "HCCL_BUFFSIZE": "512", "OMP": ""}}, (
            "HCCL_BUFFSIZE 512, planned 1024", "OMP set, planned without",
        )),
        ({"env": {}}, ("no HCCL_BUFFSIZE, planned 1024",)),
        ({"argv": ["vllm", "--tensor-parallel-size"], "env": 3}, None),
        ({"devices": "all", "argv": 3, "env": None}, ()),
    ],
)  # fmt: skip
def test_each_difference_is_named(changed: dict[str, object], found: tuple[str, ...] | None) -> None:
    told = drift({**SPEC, **changed}, RANK, PLANNED)
    if found is not None:
        assert told == found


def test_a_run_of_which_nothing_is_recorded_differs_in_nothing() -> None:
    assert drift({}, RANK, PLANNED) == ()
    assert drift(SPEC, RANK, None) == ()


def test_what_was_launched_as_planned_differs_in_nothing_until_the_layout_does() -> None:
    layout = load_layout("a3-pd")
    nodes = {name: {"host": f"10.0.0.{at}", "hardware": "a3"} for at, name in enumerate(("p0", "p1", "d0", "d1"), 1)}
    cluster = Cluster.model_validate({"name": "lab", "nodes": nodes, "defaults": {"nic": "eth0"}})
    deployment = Deployment(cluster, layout, Assignment({"prefill": ("p0", "p1"), "decode": ("d0", "d1")}))
    group = layout.groups["decode"]
    lower = group.model_copy(update={"args": {**group.args, "gpu-memory-utilization": 0.85}})
    changed = replace(deployment, layout=layout.model_copy(update={"groups": {**layout.groups, "decode": lower}}))
    drifts = DriftCache()
    for rank in deployment.ranks():
        key, spec = RunKey("a3-pd", rank.id, "1"), _recorded(deployment, rank)
        assert drifts.of(deployment, rank, key, spec) == ()
        assert drifts.of(deployment, rank, key, {**spec, "port": 1}) != ()
        wanted = ("--gpu-memory-utilization 0.9, planned 0.85",) if rank.group == "decode" else ()
        assert drifts.of(changed, rank, key, spec) == wanted


@pytest.mark.parametrize("name", shipped_layouts())
def test_no_shipped_layout_differs_from_itself_once_its_record_went_through_a_file(name: str) -> None:
    layout = load_layout(name)
    count = iter(range(1, 200))
    assign = {group: tuple(f"n{next(count)}" for _ in range(each.nodes)) for group, each in layout.groups.items()}
    names = [node for members in assign.values() for node in members]
    nodes = {node: {"host": f"10.0.0.{at}"} for at, node in enumerate(names, 1)}
    defaults = {"nic": "eth0", "hardware": layout.hardware.model_dump()}
    cluster = Cluster.model_validate({"name": "lab", "nodes": nodes, "defaults": defaults})
    deployment, drifts = Deployment(cluster, layout, Assignment(assign)), DriftCache()
    assert deployment.ranks()
    for rank in deployment.ranks():
        spec = _recorded(deployment, rank)
        assert drifts.of(deployment, rank, RunKey(name, rank.id, "1"), json.loads(json.dumps(spec))) == ()
