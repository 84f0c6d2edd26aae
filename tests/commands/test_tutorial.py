"""Each shipped layout starts what the tutorial starts, rank by rank, but for a declared list of corrections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from console.commands.serve import serve_command
from console.diagnosis.signatures import load_signatures
from console.files import load_layout
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.rules import RULES
from tests.commands import tutorial
from tests.files.words import flags
from tests.shared import needs_shared

pytestmark = [needs_shared, pytest.mark.shared]

ADDRESSES = [f"10.0.0.{index}" for index in range(1, 9)]


@dataclass(frozen=True)
class Correction:
    """A difference we stand for: which layouts and groups, which key, what the tutorial has and what we have, and why."""

    layouts: str
    group: str
    key: str
    theirs: object
    ours: object
    rule: str
    why: str


ANY = object()
MULTI = {"enable_multithread_load": True, "num_threads": 128}
MULTI_TEXT = {"enable_multithread_load": "true", "num_threads": 128}
JEMALLOC = "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2"

CORRECTIONS = (
    Correction("*", "*", "env VLLM_HOST_IP", None, ANY, "R25", "each node advertises its own address"),
    Correction(
        "*",
        "*",
        "env LD_PRELOAD",
        f"{JEMALLOC}:",
        JEMALLOC,
        "D1",
        "the script appends what is preloaded already, if it is there",
    ),
    Correction(
        "*", "*", "env VLLM_ENGINE_READY_TIMEOUT_S", None, "3600", "E1", "600 s are too short to load these weights"
    ),
    Correction(
        "*", "*", "disable-access-log-for-endpoints", None, ANY, "E9", "the console's polling would fill an idle log"
    ),
    Correction("*", "*", "env VLLM_RPC_TIMEOUT", ANY, None, "E3", "read nowhere in vLLM 0.21"),
    Correction("a2-mixed", "*", "env ASCEND_CONNECT_TIMEOUT", "10000", None, "E3", "there is no KV transfer"),
    Correction("a2-mixed", "*", "env ASCEND_TRANSFER_TIMEOUT", "10000", None, "E3", "there is no KV transfer"),
    Correction(
        "a2-mixed a3-mixed", "*", "env VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", None, "3000", "R23", "longer than HCCL's"
    ),
    Correction(
        "a3-mixed", "*", "env HCCL_CONNECT_TIMEOUT", None, "1200", "R9", "120 s do not span the start of two nodes"
    ),
    Correction("a3-pd", "prefill", "env HCCL_CONNECT_TIMEOUT", "120", "1200", "R9", "as on every other group"),
    Correction("a3-pd", "decode", "env HCCL_EXEC_TIMEOUT", "2000", "1972", "E2", "what HCCL makes of 2000"),
    Correction("a3-mixed", "*", "env ASCEND_RT_VISIBLE_DEVICES", None, ANY, "R2", "which devices is said, not assumed"),
    Correction(
        "a2-mixed a3-mixed",
        "*",
        "data-parallel-start-rank",
        "0",
        None,
        "R5",
        "from 0.28 on it makes node 0 serve alone",
    ),
    Correction(
        "a2-mixed a3-mixed", "*", "api-server-count", None, "1", "R5", "what start rank 0 made of its default, said"
    ),
    Correction(
        "a2-mixed", "*", "data-parallel-start-rank", "1", ANY, "R1", "nodes 1 to 3 share one script with start rank 1"
    ),
    Correction("a2-mixed", "*", "data-parallel-rpc-port", None, "29550", "R3", "vLLM's default, said"),
    Correction("a3-mixed", "*", "headless", None, True, "R4", "only the first node serves"),
    Correction("a2-mixed a3-mixed", "*", "host", "0.0.0.0", None, "R4", "a headless engine serves nothing"),
    Correction("a2-mixed a3-mixed", "*", "port", ANY, None, "R4", "a headless engine serves nothing"),
    Correction(
        "a2-mixed a3-pd a2-pd", "*", "model-loader-extra-config", MULTI_TEXT, MULTI, "E4", "a boolean, not the text"
    ),
    Correction(
        "a2-mixed a3-pd a2-pd", "*", "safetensors-load-strategy", "prefetch", None, "E4", "no effect beside threads"
    ),
    Correction("a3-pd", "*", "served-model-name", "auto", "dsv4", "E8", "the tutorial's own requests ask for dsv4"),
    Correction("a2-pd", "prefill", "block-size", None, "128", "R26", "absent means 32, decode has 128"),
    Correction("a2-pd", "decode", "data-parallel-address", "10.0.0.2", "10.0.0.5", "R8", ".2 is a prefill node"),
)


def _fits(correction: Correction, layout: str, group: str, key: str, theirs: object, ours: object) -> bool:
    return (
        (correction.layouts == "*" or layout in correction.layouts.split())
        and correction.group in ("*", group)
        and correction.key == key
        and (correction.theirs is ANY or correction.theirs == theirs)
        and (correction.ours is ANY or correction.ours == ours)
    )


def _deployment(name: str) -> Deployment:
    layout = load_layout(name)
    nodes = {f"n{index}": {"host": address, "nic": "eth9"} for index, address in enumerate(ADDRESSES, 1)}
    cluster = Cluster.model_validate({"name": "lab", "defaults": {"hardware": layout.hardware.name}, "nodes": nodes})
    free = iter(nodes)
    members = {group: tuple(next(free) for _ in range(written.nodes)) for group, written in layout.groups.items()}
    return Deployment(cluster, layout, Assignment(members))


def _said(name: str, tmp: Path) -> dict[str, list[tutorial.Said]]:
    hardware, _, kind = name.partition("-")
    if kind == "mixed":
        return {"mixed": tutorial.mixed(hardware, ADDRESSES[: 4 if hardware == "a2" else 2], tmp)}
    half = 4 if hardware == "a2" else 2
    return tutorial.separated(hardware, ADDRESSES[:half], ADDRESSES[half : 2 * half], tmp)


def _plain(env: dict[str, str], argv: tuple[str, ...]) -> dict[str, object]:
    return {**flags(argv), **{f"env {key}": value for key, value in env.items()}}


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str, object, object]]:
    """(layout, rank, key, tutorial's, ours) wherever a rank differs."""
    found: list[tuple[str, str, str, object, object]] = []
    for name in ("a2-mixed", "a3-mixed", "a3-pd", "a2-pd"):
        deployment = _deployment(name)
        said = _said(name, tmp_path_factory.mktemp(name))
        for group, ranks in said.items():
            ours = [rank for rank in deployment.ranks() if rank.group == group]
            assert len(ours) == len(ranks), f"{name} {group}"
            for rank, theirs in zip(ours, ranks, strict=True):
                command = serve_command(deployment, rank)
                one = _plain(theirs.env, theirs.argv)
                other = _plain(dict(command.env), command.argv)
                keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
                found += [(name, rank.id, key, one.get(key), other.get(key)) for key in keys]
    return found


def test_every_difference_from_the_tutorial_is_declared(
    differences: list[tuple[str, str, str, object, object]],
) -> None:
    undeclared = [
        difference
        for difference in differences
        if not any(
            _fits(each, difference[0], difference[1].rpartition("-")[0], *difference[2:]) for each in CORRECTIONS
        )
    ]
    assert undeclared == []


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda each: f"{each.layouts}:{each.key}")
def test_every_declared_correction_is_still_needed(
    correction: Correction, differences: list[tuple[str, str, str, object, object]]
) -> None:
    assert correction.rule in RULES or correction.rule in {each.id for each in load_signatures()}
    assert any(_fits(correction, d[0], d[1].rpartition("-")[0], *d[2:]) for d in differences)


def test_the_tutorial_has_as_many_ranks_as_we_start(tmp_path: Path) -> None:
    assert [len(_said(name, tmp_path / name).get("decode", ())) for name in ("a3-pd", "a2-pd")] == [16, 8]
