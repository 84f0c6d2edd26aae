"""A small prefill/decode deployment and pictures of it, for tests of the joints."""

from __future__ import annotations

from collections.abc import Mapping

from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.layout import Layout
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState

CLUSTER = Cluster.model_validate(
    {
        "name": "lab",
        "defaults": {"user": "root", "hardware": "a3", "nic": "eth0"},
        "nodes": {name: {"host": f"10.0.0.{number}"} for number, name in enumerate(("p0", "p1", "d0", "d1"), 1)},
    }
)

_KV = {"connector": "MooncakeHybridConnector", "port": 30200, "engine_id": "1"}

LAYOUT = Layout.model_validate(
    {
        "name": "pd",
        "hardware": "a3",
        "version": "v0.21.0rc1",
        "model": {"path": "/models/v4", "served_name": "dsv4"},
        "args": {"block-size": 128, "enable-expert-parallel": True, "disable-hybrid-kv-cache-manager": False},
        "groups": {
            "prefill": {
                "role": "prefill",
                "nodes": 2,
                "tensor_parallel": 16,
                "data_parallel": {"size": 2, "per_node": 1, "balance": "external", "rpc_port": 12321},
                "port": 7100,
                "kv_transfer": _KV,
            },
            "decode": {
                "role": "decode",
                "nodes": 2,
                "tensor_parallel": 8,
                "data_parallel": {"size": 4, "per_node": 2, "balance": "external", "rpc_port": 12321},
                "port": 7100,
                "kv_transfer": {**_KV, "port": 30800, "engine_id": "8"},
            },
        },
        "proxy": {"kind": "load-balance", "node": "prefill/0", "port": 8000},
    }
)

ASSIGNMENT = Assignment({"prefill": ("p0", "p1"), "decode": ("d0", "d1")})


def deployment(assignment: Assignment = ASSIGNMENT, *, tags: tuple[str, ...] = ()) -> Deployment:
    """The deployment, on a cluster with these tags."""
    return Deployment(CLUSTER.model_copy(update={"tags": tags}), LAYOUT, assignment)


def picture(states: Mapping[str, EngineState], made_of: Deployment | None = None) -> ClusterSnapshot:
    """A picture in which these engines are in these states and all others idle."""
    source = made_of or deployment()
    engines = {}
    for rank in source.processes():
        state = states.get(rank.id, EngineState.IDLE)
        engines[rank.id] = EngineSnapshot(
            id=rank.id,
            node=rank.node,
            group=rank.group,
            role=rank.role,
            state=state,
            dp_rank=rank.dp_rank,
            port=rank.port,
            run=None if state is EngineState.IDLE else "20260101T000000Z-0000",
            pid=None if state is EngineState.IDLE else 4711,
        )
    return ClusterSnapshot(at=0.0, cluster="lab", deployment="pd", engines=engines)
