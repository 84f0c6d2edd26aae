"""Random valid layouts for hypothesis: any split of a node's devices, any balance, one or two groups, a V4 model or another."""

from __future__ import annotations

from hypothesis import strategies as st

from console.model.deployment import Deployment
from console.model.layout import Layout
from console.services.placement.edits import example

ENV = {
    "HCCL_CONNECT_TIMEOUT": "1200",
    "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "30000",
    "VLLM_ENGINE_READY_TIMEOUT_S": "3600",
}


@st.composite
def _parallel(draw: st.DrawFn, devices: int, balance: str, tp_most: int) -> tuple[int, int, int]:
    """(tensor_parallel, per_node, nodes) that fit a node of `devices`."""
    tensor = draw(st.sampled_from([size for size in (1, 2, 4, 8, 16) if size <= tp_most]))
    per_node = draw(st.integers(1, devices // tensor))
    nodes = draw(st.integers(1, 4))
    if balance == "hybrid" and per_node == 1:
        per_node = 2 if tensor * 2 <= devices else 1
        nodes = nodes if per_node == 2 else 1
    return tensor, per_node, nodes


def _group(
    role: str, sizes: tuple[int, int, int], balance: str, port: int, rpc: int, **more: object
) -> dict[str, object]:
    tensor, per_node, nodes = sizes
    parallel = {"size": per_node * nodes, "per_node": per_node, "balance": balance, "rpc_port": rpc}
    return {"role": role, "nodes": nodes, "tensor_parallel": tensor, "data_parallel": parallel, "port": port, **more}


@st.composite
def layouts(draw: st.DrawFn, *, separated: bool | None = None) -> Layout:
    """A layout that no rule has anything to say against."""
    hardware, devices = draw(st.sampled_from([("a2", 8), ("a3", 16)]))
    block = draw(st.sampled_from([32, 64, 128]))
    split = draw(st.booleans()) if separated is None else separated
    groups: dict[str, object] = {}
    if split:
        before = draw(_parallel(devices, "external", devices))
        after = draw(_parallel(devices, "external", before[0]))
        transfer = {"connector": "MooncakeHybridConnector", "port": 30000}
        prefill = {"kv_transfer": {**transfer, "engine_id": "0"}, "args": {"max-num-seqs": 16}}
        seqs = draw(st.integers(1, 100))
        args = {"max-num-seqs": seqs, "max-num-batched-tokens": seqs * 2}
        groups["prefill"] = _group("prefill", before, "external", 7100, 12321, **prefill)
        groups["decode"] = _group(
            "decode", after, "external", 7300, 12322, kv_transfer={**transfer, "engine_id": "1"}, args=args
        )
    else:
        balance = draw(st.sampled_from(["internal", "external", "hybrid"]))
        groups["mixed"] = _group("mixed", draw(_parallel(devices, balance, devices)), balance, 8900, 13399)
    return Layout.model_validate(
        {
            "name": "random",
            "hardware": hardware,
            "version": "v0.21.0rc1",
            "model": {"path": "/m/DeepSeek-V4-Pro", "served_name": "dsv4"},
            "env": ENV,
            "args": {
                "enable-expert-parallel": True,
                "block-size": block,
                "disable-hybrid-kv-cache-manager": False,
                "speculative-config": {"num_speculative_tokens": 1, "method": "mtp"},
            },
            "groups": groups,
            "proxy": {"kind": "load-balance", "port": 8000} if split else None,
        }
    )


def deployments(*, separated: bool | None = None) -> st.SearchStrategy[Deployment]:
    """A valid layout on nodes of its own."""
    return layouts(separated=separated).map(example)
