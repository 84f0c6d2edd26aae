"""Deployments of one engine to hundreds, for tests of what is shown of many."""

from __future__ import annotations

from typing import Any

from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.layout import Layout
from tests.services.deployments import LAYOUT

SET = {
    "VLLM_ENGINE_READY_TIMEOUT_S": "3600",
    "HCCL_CONNECT_TIMEOUT": "1200",
    "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "3000",
}
"""Variables without which a rule warns."""


def copied(groups: int, *, nodes: int = 2, per_node: int = 8, **change: Any) -> Deployment:
    """Prefill on two nodes and so many decode groups, each with `per_node` engines on each of `nodes` nodes."""
    data = LAYOUT.model_dump(exclude_unset=True) | change
    sizes = {"size": nodes * per_node, "per_node": per_node, "balance": "external", "rpc_port": 12321}
    own = {"nodes": nodes, "count": groups, "tensor_parallel": 16 // per_node, "data_parallel": sizes}
    data["groups"] = {**data["groups"], "decode": {**data["groups"]["decode"], **own}}
    return placed(Layout.model_validate(data))


def single() -> Deployment:
    """One engine on one node."""
    data = LAYOUT.model_dump(exclude_unset=True)
    sizes = {"size": 1, "per_node": 1, "balance": "external", "rpc_port": 12321}
    mixed = {"role": "mixed", "nodes": 1, "tensor_parallel": 16, "data_parallel": sizes, "port": 7100}
    del data["proxy"]
    return placed(Layout.model_validate({**data, "groups": {"mixed": mixed}}))


def placed(layout: Layout) -> Deployment:
    """The layout on a cluster of as many nodes as it takes: n0, n1, …"""
    groups = Deployment(_cluster(1), layout, Assignment()).layout.groups
    names = iter(f"n{at}" for at in range(10_000))
    assignment = Assignment({name: tuple(next(names) for _ in range(group.nodes)) for name, group in groups.items()})
    return Deployment(_cluster(sum(group.nodes for group in groups.values())), layout, assignment)


def _cluster(count: int) -> Cluster:
    nodes = {f"n{at}": {"host": f"10.0.{at // 200}.{at % 200 + 1}"} for at in range(count)}
    defaults = {"user": "root", "hardware": "a3", "nic": "eth0"}
    return Cluster.model_validate({"name": "lab", "defaults": defaults, "nodes": nodes})
