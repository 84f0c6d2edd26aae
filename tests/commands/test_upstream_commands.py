"""Each command that upstream prints for DeepSeek-V4 is what a shipped layout starts, but for a declared list of corrections.

The 19 commands of vllm-ascend's main branch of August 2026 are data in the reference folder, those of the DeepSeek-V4.1 tutorial
and of the CI's deployment with 1M tokens lie beside this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from console.commands.serve import serve_command
from console.diagnosis.signatures import load_signatures
from console.files import load_layout, shipped_layouts
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment, Rank
from console.rules import RULES
from tests.commands.test_tutorial import Correction
from tests.files.words import flags
from tests.shared import SHARED, needs_shared

TUTORIALS = SHARED / "fixtures" / "tutorials" / "deepseek-v4-2026-08-22.json"
FURTHER = Path(__file__).with_name("upstream_commands.json")
NIC = "eth9"
ANY = object()
JEMALLOC = "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2"
MULTI = {"enable_multithread_load": True, "num_threads": 128}
MULTI_TEXT = {"enable_multithread_load": "true", "num_threads": 128}
CACHE = "/root/.cache/modelscope/hub/models"

STARTED = (
    ("a2-mixed", "mixed", (0,)),
    ("a2-mixed", "mixed", (1, 2, 3)),
    ("a3-mixed", "mixed", (0,)),
    ("a3-mixed", "mixed", (1,)),
    ("a3-pd", "prefill", (0,)),
    ("a3-pd", "prefill", (1,)),
    ("a3-pd", "decode", range(16)),
    ("a2-pd", "prefill", range(4)),
    ("a2-pd", "decode", range(8)),
    ("a2-flash", "mixed", (0,)),
    ("a2-flash-dspark", "mixed", (0,)),
    ("a3-flash", "mixed", (0,)),
    ("a3-flash-dspark", "mixed", (0,)),
    ("a3-pd-flash", "prefill", range(4)),
    ("a3-pd-flash", "decode", range(16)),
    ("a3-pd-flash-dspark", "prefill", range(4)),
    ("a3-pd-flash-dspark", "decode", range(16)),
    ("a2-pd-flash", "prefill prefill2 prefill3 prefill4", range(8)),
    ("a2-pd-flash", "decode", range(32)),
)
"""For each command of the tutorials in their order: the layout that starts it, its groups there, and which of their ranks."""

SIZES = {
    ("a3-pd", "prefill"): (2, 1, 16),
    ("a3-pd", "decode"): (16, 8, 2),
    ("a2-pd", "prefill"): (4, 1, 8),
    ("a2-pd", "decode"): (8, 2, 4),
    ("a3-pd-flash", "prefill"): (4, 4, 4),
    ("a3-pd-flash", "decode"): (16, 16, 1),
    ("a3-pd-flash-dspark", "prefill"): (4, 4, 4),
    ("a3-pd-flash-dspark", "decode"): (16, 16, 1),
    ("a2-pd-flash", "prefill"): (8, 8, 1),
    ("a2-pd-flash", "decode"): (32, 8, 1),
}
"""What the tutorials' launch_online_dp.py lines say: --dp-size, --dp-size-local, --tp-size."""


ALONE = "a2-flash a2-flash-dspark a3-flash a3-flash-dspark"
PRO = "a2-mixed a3-mixed a3-pd a2-pd"
PRO_MIXED = "a2-mixed a3-mixed"
V41 = "a3-v41-flash a2-v41-flash a3-v41-flash-offload"
DSPARK = "a2-flash-dspark a3-flash-dspark a3-pd-flash-dspark"

CORRECTIONS = (
    # what every engine is told, because the next reader or another network should not have to guess it
    Correction("*", "*", "env VLLM_HOST_IP", None, ANY, "R25", "each node advertises its own address"),
    Correction(
        "*", "*", "env LD_PRELOAD", f"{JEMALLOC}:", JEMALLOC, "D1", "the script appends what is preloaded already"
    ),
    Correction(
        "*", "*", "env VLLM_ENGINE_READY_TIMEOUT_S", None, "3600", "E1", "600 s are too short for these weights"
    ),
    Correction(
        "*", "*", "disable-access-log-for-endpoints", None, ANY, "E9", "the console's polling would fill an idle log"
    ),
    Correction("*", "*", "env VLLM_RPC_TIMEOUT", ANY, None, "E3", "no vLLM reads it"),
    *(
        Correction(f"{ALONE} a3-mixed", "*", key, None, ANY, "R2", "computed for each node; upstream leaves it open")
        for key in ("env ASCEND_RT_VISIBLE_DEVICES",)
    ),
    *(
        Correction(
            f"{ALONE} a3-v41-flash-offload", "*", key, None, ANY, "R8", "computed for each node; one node needs none"
        )
        for key in (
            "env HCCL_IF_IP",
            "env HCCL_SOCKET_IFNAME",
            "env GLOO_SOCKET_IFNAME",
            "env TP_SOCKET_IFNAME",
        )
    ),
    Correction(ALONE, "*", "host", None, "0.0.0.0", "R8", "said; vLLM listens on all addresses without it too"),
    Correction(
        "a3-flash a3-flash-dspark", "*", "data-parallel-size-local", None, "4", "R1", "what its absence means, said"
    ),
    Correction("a2-flash a2-flash-dspark", "*", "data-parallel-size", "1", None, "R1", "vLLM's default"),
    Correction(
        f"{ALONE} {PRO_MIXED} {V41}",
        "*",
        "env VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS",
        None,
        "3000",
        "R23",
        "longer than HCCL's",
    ),
    # the engine that serves a group over several nodes
    Correction(PRO_MIXED, "*", "data-parallel-start-rank", "0", None, "R5", "from 0.28 on it makes node 0 serve alone"),
    Correction(PRO_MIXED, "*", "api-server-count", None, "1", "R5", "what start rank 0 made of its default, said"),
    Correction(
        "a3-v41-flash a2-v41-flash",
        "*",
        "api-server-count",
        None,
        "1",
        "R5",
        "without it there are as many as the group has ranks",
    ),
    Correction("a2-mixed", "*", "data-parallel-start-rank", "1", ANY, "R1", "nodes 1 to 3 share one script"),
    Correction("a2-mixed", "*", "data-parallel-rpc-port", None, "29550", "R3", "vLLM's default, said"),
    Correction(f"{PRO_MIXED} {V41}", "*", "host", "0.0.0.0", None, "R4", "a headless engine serves nothing"),
    Correction(f"{PRO_MIXED} {V41}", "*", "port", ANY, None, "R4", "a headless engine serves nothing"),
    # waiting for each other
    Correction(
        "a3-mixed a3-v41-flash a2-v41-flash", "*", "env HCCL_CONNECT_TIMEOUT", None, "1200", "R9", "120 s are too short"
    ),
    Correction("a3-pd", "prefill", "env HCCL_CONNECT_TIMEOUT", "120", "1200", "R9", "as on every other group"),
    Correction("a3-pd", "decode", "env HCCL_EXEC_TIMEOUT", "2000", "1972", "E2", "what HCCL makes of 2000"),
    Correction("a2-mixed", "*", "env ASCEND_CONNECT_TIMEOUT", "10000", None, "E3", "there is no KV transfer"),
    Correction("a2-mixed", "*", "env ASCEND_TRANSFER_TIMEOUT", "10000", None, "E3", "there is no KV transfer"),
    # DeepSeek-V4-Pro is shipped for 0.21.0rc1, as that release's tutorial has it
    Correction(
        "a2-mixed a3-mixed a2-pd a3-pd",
        "*",
        "env VLLM_ASCEND_ENABLE_FLASHCOMM1",
        None,
        "1",
        "R22",
        "0.21.0rc1 needs it; main does not",
    ),
    Correction(
        "a2-mixed a3-mixed a2-pd a3-pd",
        "*",
        "async-scheduling",
        None,
        True,
        "V2",
        "as the tutorial of 0.21.0rc1 has it",
    ),
    Correction(
        "a2-mixed a3-pd a2-pd", "*", "model-loader-extra-config", MULTI_TEXT, MULTI, "E4", "a boolean, not the text"
    ),
    Correction(
        "a2-mixed a3-pd a2-pd", "*", "safetensors-load-strategy", "prefetch", None, "E4", "no effect beside threads"
    ),
    Correction("a3-pd", "*", "served-model-name", "auto", "dsv4", "E8", "the tutorial's own requests ask for dsv4"),
    Correction("a2-pd", "prefill", "block-size", None, "128", "R26", "absent means 32, decode has 128"),
    # DSpark
    Correction(
        "a2-flash-dspark",
        "*",
        "",
        f"{CACHE}/UploadWeight/DeepSeek-V4-Flash-DSpark-w4a8-test",
        f"{CACHE}/vllm-ascend/DeepSeek-V4-Flash-0731-w8a8",
        "D4",
        "a test upload; section 3.1 names the weights that are published",
    ),
    Correction(
        "a3-flash-dspark a3-pd-flash-dspark",
        "*",
        "",
        "/path/to/DeepSeek-V4-Flash-0731-w8a8",
        f"{CACHE}/vllm-ascend/DeepSeek-V4-Flash-0731-w8a8",
        "D4",
        "a path to fill in",
    ),
    Correction("a3-pd-flash-dspark", "prefill", "served-model-name", "dsv4-spark", "dsv4", "E8", "decode has dsv4"),
    Correction(V41, "*", "", "<YOUR_MODEL_PATH>", "/data/weights/DeepSeek-V4.1-Flash-w8a8", "D4", "a path to fill in"),
    # the CI's configuration with 1M tokens
    Correction(
        "a3-pd-1m", "*", "", "Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp", ANY, "D4", "from a path of the node, not from the hub"
    ),
    Correction(
        "a3-pd-1m", "*", "env VLLM_USE_MODELSCOPE", "true", None, "D4", "from a path of the node, not from the hub"
    ),
    Correction("a3-pd-1m", "*", "env SERVER_PORT", ANY, None, "E3", "a word of the CI's own template"),
    Correction("a3-pd-1m", "*", "env LD_PRELOAD", None, JEMALLOC, "D1", "as in every command of the tutorial"),
    Correction("a3-pd-1m", "*", "served-model-name", None, "dsv4", "E8", "as in every command of the tutorial"),
    Correction("a3-pd-1m", "decode", "max-num-batched-tokens", "60", "120", "R20", "a batch must hold all sequences"),
)


@dataclass(frozen=True)
class Printed:
    """A command as upstream prints it, placeholders and all."""

    env: Mapping[str, str]
    argv: tuple[str, ...]


@cache
def _deployment(name: str) -> Deployment:
    layout = load_layout(name)
    groups = layout.shaped().groups
    count = sum(group.nodes for group in groups.values())
    nodes = {f"n{at}": {"host": f"10.0.0.{at}", "nic": NIC} for at in range(1, count + 1)}
    cluster = Cluster.model_validate({"name": "lab", "defaults": {"hardware": layout.hardware.name}, "nodes": nodes})
    free = iter(nodes)
    members = {group: tuple(next(free) for _ in range(written.nodes)) for group, written in groups.items()}
    return Deployment(cluster, layout, Assignment(members))


def _filled(printed: Printed, layout: str, rank: Rank) -> dict[str, object]:
    """Flags and variables with the placeholders that the tutorial tells its reader to fill in."""
    like = _deployment(layout).like(rank.group)
    size, local, tensor = SIZES.get((layout, like), (0, 1, 0))
    known = {
        "local_ip": rank.address,
        "node0_ip": rank.dp_address,
        "nic_name": NIC,
        "IFNAME": NIC,
        "LD_PRELOAD": "",
        "1": ",".join(str(each) for each in range(rank.local_rank * tensor, (rank.local_rank + 1) * tensor)),
        "2": str(7100 + rank.dp_rank % local),
        "3": str(size),
        "4": str(rank.dp_rank),
        "5": rank.dp_address,
        "6": "12321",
        "7": str(tensor),
    }

    def fill(text: str) -> str:
        return re.sub(r"\$(\w+)", lambda found: known[found[1]], text)

    env = {f"env {name}": fill(value) for name, value in printed.env.items() if name != "IFNAME"}
    found = {**flags([fill(word) for word in printed.argv]), **env}
    if (
        layout == "a2-pd-flash" and like == "prefill"
    ):  # "For each P instance, only these two values need to be modified"
        place = ("prefill", "prefill2", "prefill3", "prefill4").index(rank.group)
        transfer = found["kv-transfer-config"]
        assert isinstance(transfer, dict)
        transfer |= {"kv_port": str(30000 + 100 * place), "engine_id": str(place)}
    return found


def _commands() -> Iterator[tuple[str, str, tuple[int, ...], Printed]]:
    """(layout, its groups, which of their ranks, command)."""
    if TUTORIALS.exists():
        for (layout, groups, ranks), each in zip(STARTED, json.loads(TUTORIALS.read_text()), strict=True):
            yield layout, groups, tuple(ranks), Printed(each["env"], tuple(each["argv"]))
    further: list[dict[str, Any]] = json.loads(FURTHER.read_text())
    for each in further:
        yield each["layout"], each["group"], tuple(each["ranks"]), Printed(each["env"], tuple(each["argv"]))


Difference = tuple[str, str, str, object, object]


@pytest.fixture(scope="module")
def differences() -> list[Difference]:
    """(layout, group, key, upstream's, ours) wherever a rank differs."""
    found: list[Difference] = []
    for layout, groups, wanted, printed in _commands():
        deployment = _deployment(layout)
        for group in groups.split():
            ranks = [rank for rank in deployment.ranks() if rank.group == group]
            for at in wanted:
                command = serve_command(deployment, ranks[at])
                ours = {**flags(command.argv), **{f"env {name}": value for name, value in command.env.items()}}
                theirs = _filled(printed, layout, ranks[at])
                keys = sorted({*ours, *theirs}, key=str)
                like = deployment.like(group)
                found += [
                    (layout, like, key, theirs.get(key), ours.get(key))
                    for key in keys
                    if not _same(theirs.get(key), ours.get(key))
                ]
    return found


def _same(one: object, other: object) -> bool:
    """Whether vLLM's parser reads the same, `0.90` as 0.9."""
    numbers = [each for each in (one, other) if isinstance(each, str) and re.fullmatch(r"0\.\d+", each)]
    return one == other or (len(numbers) == 2 and float(numbers[0]) == float(numbers[1]))


def _fits(correction: Correction, difference: Difference) -> bool:
    layout, group, key, theirs, ours = difference
    return (
        (correction.layouts == "*" or layout in correction.layouts.split())
        and correction.group in ("*", group)
        and correction.key == key
        and (correction.theirs is ANY or correction.theirs == theirs)
        and (correction.ours is ANY or correction.ours == ours)
    )


@needs_shared
@pytest.mark.shared
def test_every_difference_from_upstream_is_declared(differences: list[Difference]) -> None:
    undeclared = [each for each in differences if not any(_fits(correction, each) for correction in CORRECTIONS)]
    assert undeclared == []


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda each: f"{each.layouts}:{each.key}")
def test_every_declared_correction_is_still_needed(correction: Correction, differences: list[Difference]) -> None:
    assert correction.rule in RULES or correction.rule in {each.id for each in load_signatures()}
    assert any(_fits(correction, each) for each in differences)


@needs_shared
@pytest.mark.shared
def test_every_rank_of_every_shipped_layout_is_printed_upstream() -> None:
    printed: dict[tuple[str, str], set[int]] = {}
    for layout, groups, ranks, _ in _commands():
        for group in groups.split():
            printed.setdefault((layout, group), set()).update(ranks)
    for name in shipped_layouts():
        deployment = _deployment(name)
        for group in deployment.layout.groups:
            count = sum(rank.group == group for rank in deployment.ranks())
            assert printed.get((name, group)) == set(range(count)), (name, group)
    assert len(STARTED) == 19
