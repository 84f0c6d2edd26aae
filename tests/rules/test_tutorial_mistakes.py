"""Each mistake of the tutorial is either impossible in a layout, because it is computed, or found by a rule."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from console.commands.serve import proxy_command, serve_command
from console.files import load_layout
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.layout import Layout
from console.rules import check
from console.services.placement.edits import example
from tests.files.words import flags

Data = dict[str, Any]


class Mistake(NamedTuple):
    """A mistake as a layout can express it, and the rule that finds it."""

    what: str
    layout: str
    change: Callable[[Data], object]
    rule: str


def _args(group: str, **flag: object) -> Callable[[Data], object]:
    return lambda data: data["groups"][group]["args"].update(
        {key.replace("_", "-"): value for key, value in flag.items()}
    )


def _env(group: str, **variables: str) -> Callable[[Data], object]:
    return lambda data: data["groups"][group]["env"].update(variables)


def _pop(*path: str) -> Callable[[Data], object]:
    def change(data: Data) -> None:
        place = data
        for step in path[:-1]:
            place = place[step]
        place.pop(path[-1])

    return change


MISTAKES = (
    Mistake("one start rank on several nodes", "a2-mixed", _args("mixed", data_parallel_start_rank=1), "R5"),
    Mistake("no --headless on a further node", "a3-mixed", _args("mixed", headless=False), "R4"),
    Mistake("the other group's address", "a2-pd", _args("decode", data_parallel_address="10.0.0.2"), "R3"),
    Mistake("served as `auto`", "a3-pd", lambda data: data["model"].update(served_name="auto"), "E8"),
    Mistake(
        "one engine id on both sides",
        "a3-pd",
        lambda data: data["groups"]["decode"]["kv_transfer"].update(engine_id="1"),
        "R12",
    ),
    Mistake(
        "KV ports in Mooncake's zone",
        "a3-pd",
        lambda data: data["groups"]["prefill"]["kv_transfer"].update(port=20000),
        "R16",
    ),
    Mistake(
        "KV ports where an older Mooncake binds", "a3-pd", lambda data: data.update(version="v0.13.0", image=""), "R17"
    ),
    Mistake(
        "DSA context parallelism without its variable",
        "a3-pd",
        _pop("groups", "prefill", "env", "VLLM_ASCEND_ENABLE_FLASHCOMM1"),
        "R22",
    ),
    Mistake("its variable on the main branch", "a3-pd", lambda data: data.update(version="main", image=""), "R22"),
    Mistake(
        "fused MC2 beyond 32 ranks",
        "a3-pd",
        lambda data: data["groups"]["prefill"].update(
            nodes=4, data_parallel={"size": 4, "per_node": 1, "balance": "external"}
        ),
        "E5",
    ),
    Mistake("HCCL gives up after 120 s", "a3-pd", _env("prefill", HCCL_CONNECT_TIMEOUT="120"), "R9"),
    Mistake("HCCL_CONNECT_TIMEOUT left out", "a3-mixed", _pop("env", "HCCL_CONNECT_TIMEOUT"), "R9"),
    Mistake("HCCL_EXEC_TIMEOUT of 2000", "a3-pd", _env("decode", HCCL_EXEC_TIMEOUT="2000"), "E2"),
    Mistake("VLLM_ENGINE_READY_TIMEOUT_S left out", "a3-pd", _pop("env", "VLLM_ENGINE_READY_TIMEOUT_S"), "E1"),
    Mistake(
        "a text for a boolean",
        "a3-pd",
        _args("decode", model_loader_extra_config={"enable_multithread_load": "true"}),
        "E4",
    ),
    Mistake("two ways of loading", "a3-pd", _args("decode", safetensors_load_strategy="prefetch"), "E4"),
    Mistake("VLLM_RPC_TIMEOUT, read nowhere", "a3-pd", _env("decode", VLLM_RPC_TIMEOUT="3600000"), "E3"),
    Mistake("KV variables without KV transfer", "a2-mixed", _env("mixed", ASCEND_CONNECT_TIMEOUT="10000"), "E3"),
    Mistake(
        "no block size on prefill",
        "a2-pd",
        lambda data: (data["args"].pop("block-size"), _args("decode", block_size=128)(data)),
        "R26",
    ),
    Mistake(
        "recompute scheduling on prefill",
        "a3-pd",
        _args("prefill", additional_config={"recompute_scheduler_enable": True}),
        "R21",
    ),
    Mistake(
        "recompute scheduling without PD",
        "a3-mixed",
        _args("mixed", additional_config={"recompute_scheduler_enable": True}),
        "R21",
    ),
    Mistake("more sequences, the same batch", "a3-pd", _args("decode", max_num_seqs=64), "R20"),
    Mistake("no step timeout on mixed groups", "a3-mixed", _pop("env", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"), "R23"),
    Mistake("hybrid cache left off", "a3-pd", _pop("args", "disable-hybrid-kv-cache-manager"), "R18"),
    Mistake(
        "the A2 image on A3", "a3-pd", lambda data: data.update(image="quay.io/ascend/vllm-ascend:v0.21.0rc1"), "K1"
    ),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.what)
def test_a_mistake_that_can_still_be_written_is_found(mistake: Mistake) -> None:
    data: Data = copy.deepcopy(load_layout(mistake.layout).model_dump(mode="json"))
    mistake.change(data)
    found = {finding.rule for finding in check(example(Layout.model_validate(data)))}
    assert mistake.rule in found


def test_ranks_addresses_and_headless_follow_from_places() -> None:
    for name in ("a2-mixed", "a3-mixed", "a2-pd", "a3-pd"):
        deployment = example(load_layout(name))
        for group, written in deployment.layout.groups.items():
            ranks = [rank for rank in deployment.ranks() if rank.group == group]
            for index, rank in enumerate(ranks):
                given = flags(serve_command(deployment, rank).argv)
                external = written.data_parallel.balance == "external"
                headless = not external and index > 0
                assert given.get("data-parallel-rank") == (str(index) if external else None)
                assert given.get("data-parallel-start-rank") == (str(index) if headless else None)
                assert given.get("api-server-count") == (None if external or headless else "1")
                assert given["data-parallel-address"] == ranks[0].address
                assert ("headless" in given) == headless
                assert given["block-size"] == "128"


def test_the_proxy_and_its_ports_follow_from_the_groups() -> None:
    for name, prefill, decode in (("a3-pd", 2, 16), ("a2-pd", 4, 8)):
        command = proxy_command(example(load_layout(name)))
        assert command is not None
        words = list(command.argv)
        places = [
            words.index(flag)
            for flag in ("--prefiller-hosts", "--prefiller-ports", "--decoder-hosts", "--decoder-ports")
        ]
        counts = [after - before - 1 for before, after in zip(places, [*places[1:], len(words)], strict=True)]
        assert counts == [prefill, prefill, decode, decode]


def test_a_container_tied_to_a_terminal_is_found() -> None:
    runtime = {"kind": "docker", "image": "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3", "run_flags": "--rm -it"}
    nodes = {name: {"host": f"10.0.0.{i}", "runtime": runtime} for i, name in enumerate(("n0", "n1"), 1)}
    cluster = Cluster.model_validate({"name": "lab", "nodes": nodes})
    deployment = Deployment(cluster, load_layout("a3-mixed"), Assignment({"mixed": ("n0", "n1")}))
    assert {finding.rule for finding in check(deployment)} == {"K4"}
