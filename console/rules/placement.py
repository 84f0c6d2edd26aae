"""Rules about ranks, devices and nodes: R1–R9, and the assignment itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from console.model.deployment import Rank, is_address
from console.model.findings import Severity
from console.model.layout import flag_name
from console.rules.rule import Hit, Rule, RuleContext, whole

_SAME_IN_GROUP = ("data-parallel-size", "tensor-parallel-size", "data-parallel-address", "data-parallel-rpc-port")
_SAME_BESIDES = ("pipeline-parallel-size", "prefill-context-parallel-size")
_SAME_ON_BOTH_SIDES = ("quantization", "tokenizer-mode", "kv-cache-dtype", "dtype")
"""Flags that decide what tokens and cached bytes mean; prefill and decode must agree on them."""
_BACKENDS = ("distributed-executor-backend", "data-parallel-backend")
_PLACES = (
    "nnodes",
    "node-rank",
    "master-addr",
    "master-port",
    "data-parallel-rank",
    "data-parallel-start-rank",
    "data-parallel-size-local",
    "data-parallel-external-lb",
    "data-parallel-hybrid-lb",
)
_OF_A_NODE = ("host", "port", "headless", "kv-transfer-config", "api-server-count")
"""Flags that may differ from node to node, or have a rule of their own."""
_SERVES_ALONE_FROM = (0, 28, 0)
"""Until then a start rank of 0 counts as none (vLLM 0.27.1 and 0.28.0, engine/arg_utils.py)."""
MIN_CONNECT_S = 300
"""Ranks of a group wait five minutes for each other (vLLM 0.21 v1/engine/core.py); HCCL should not give up before."""


def _tiles(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        size, held = group.data_parallel.size, group.ranks
        if held != size and not group.nodes % group.nodes_per_engine:
            each = f" / {group.nodes_per_engine} nodes an engine" if group.nodes_per_engine > 1 else ""
            places = f"{group.nodes} nodes{each} × {group.data_parallel.per_node} ranks"
            message = f"{name}: {places} are {held} ranks, the group has {size}"
            yield Hit(message, scene.at(name, "data_parallel", "size"))


def _devices(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        last = group.first_device + group.devices_on_node
        if last > scene.layout.hardware.devices > 0:
            message = f"{name}: devices {group.first_device}-{last - 1} are wanted, {scene.layout.hardware.name} has "
            yield Hit(f"{message}{scene.layout.hardware.devices}", scene.at(name, "tensor_parallel"))
            continue
        for node in scene.deployment.assignment.of(name):
            known = scene.deployment.cluster.nodes.get(node)
            if known is not None and 0 < known.hardware.devices < last:
                message = f"{name} wants {last} devices of {node}, which has {known.hardware.devices}"
                yield Hit(message, scene.at_node(node, "hardware"))
        if "ASCEND_RT_VISIBLE_DEVICES" in scene.env(name):
            message = f"{name}: ASCEND_RT_VISIBLE_DEVICES is computed for each rank; written by hand it is ignored"
            yield Hit(message, scene.at(name, "env", "ASCEND_RT_VISIBLE_DEVICES"), Severity.WARNING)


def _shared_devices(scene: RuleContext) -> Iterator[Hit]:
    owners: dict[tuple[str, int], Rank] = {}
    told: set[tuple[str, str, str]] = set()
    for rank in scene.ranks:
        for device in rank.devices:
            other = owners.setdefault((rank.node, device), rank)
            if other is not rank and (key := (rank.node, other.group, rank.group)) not in told:
                told.add(key)
                message = f"{other.id} and {rank.id} both use device {device} of {rank.node}"
                yield Hit(message, scene.at(rank.group, "first_device"))


def _equal(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        sizes = {
            "data-parallel-size": group.data_parallel.size,
            "tensor-parallel-size": group.tensor_parallel,
            "pipeline-parallel-size": group.pipeline_parallel,
            "prefill-context-parallel-size": group.prefill_context_parallel,
        }
        for flag, value, path in scene.written(name):
            if flag in (*_SAME_IN_GROUP, *_SAME_BESIDES) and whole(value) != sizes.get(flag, -1):
                yield Hit(f"{name}: --{flag} follows from the layout; take it out of args", scene.at_path(name, path))
        for flag, _, path in scene.written_by_node(name):
            if flag not in (*_SAME_IN_GROUP, *_SAME_BESIDES, *_PLACES, *_OF_A_NODE):
                yield Hit(f"{name}: --{flag} differs from node to node", scene.at_path(name, path), Severity.WARNING)


def _equal_sides(scene: RuleContext) -> Iterator[Hit]:
    for prefill, decode in scene.pairs():
        one, other = scene.args(prefill), scene.args(decode)
        for flag in _SAME_ON_BOTH_SIDES:
            if one.get(flag) != other.get(flag):
                message = f"--{flag} of {prefill} is {one.get(flag)}, of {decode} {other.get(flag)}"
                yield Hit(message, scene.at_flag(decode, flag), Severity.WARNING)
        before, after = scene.number(prefill, "max-model-len"), scene.number(decode, "max-model-len")
        if before is not None and after is not None and after < before:
            message = f"{decode} takes {after} tokens (max-model-len), {prefill} hands over up to {before}"
            yield Hit(message, scene.at_flag(decode, "max-model-len"), Severity.WARNING)


def _spanning(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        span = group.nodes_per_engine
        if span == 1:
            continue
        here = scene.at(name, "nodes_per_engine")
        if group.nodes % span:
            yield Hit(f"{name}: engines of {span} nodes do not fill {group.nodes} nodes", here)
        if group.devices_per_rank % span:
            yield Hit(
                f"{name}: {group.devices_per_rank} devices of an engine are not spread evenly over {span} nodes", here
            )
        if group.data_parallel.per_node > 1:
            message = f"{name}: {group.data_parallel.per_node} ranks a node, and each engine takes {span} nodes"
            yield Hit(message, scene.at(name, "data_parallel", "per_node"))
        if group.data_parallel.size > 1 and scene.layout.hardware.devices:
            message = (
                f"{name}: of {group.data_parallel.size} engines over {span} nodes each, vllm-ascend lets only the first start: "
                "all bind the address of the group's first node (its patched executor, read on main 182b75ea)"
            )
            yield Hit(message, here, Severity.WARNING)
        if group.data_parallel.balance == "hybrid":
            yield Hit(f"{name}: hybrid balance serves on every node", scene.at(name, "data_parallel", "balance"))


def _ray(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        for flag, value, path in scene.written(name):
            if flag in _BACKENDS and value == "ray":
                yield Hit(f"{name}: --{flag} ray", scene.at_path(name, path))


def _headless(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        args = scene.args(name)
        if args.get("headless") is not None:
            yield Hit(
                f"{name}: --headless follows from a node's place; take it out of args", scene.at_flag(name, "headless")
            )


def _balance_flags(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        first = group.by_node.get(0)
        alone = {
            scene.at(name, "by_node", "0", "args", key)
            for key, value in (first.args if first else {}).items()
            if flag_name(key) == "data-parallel-start-rank" and whole(value) == 0
        }
        for flag, _, path in scene.written(name):
            where = scene.at_path(name, path)
            if flag in _PLACES and where in alone and group.data_parallel.balance == "internal" and group.nodes > 1:
                severity = Severity.ERROR if (scene.version or (0, 0, 0)) >= _SERVES_ALONE_FROM else Severity.WARNING
                message = f"{name}: with --data-parallel-start-rank 0 its first node serves alone from vLLM 0.28 on"
                yield Hit(f"{message}; take it out of by_node", where, severity)
            elif flag in _PLACES:
                yield Hit(f"{name}: --{flag} follows from a rank's place; take it out of args", where)


def _hybrid(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        parallel = group.data_parallel
        if parallel.balance == "hybrid" and parallel.per_node == 1 and group.nodes > 1:
            message = f"{name}: hybrid balance with one rank per node becomes external; say external"
            yield Hit(message, scene.at(name, "data_parallel", "balance"))


def _servers(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        servers = scene.number(name, "api-server-count")
        if servers is not None and servers > 1 and group.data_parallel.balance == "external":
            message = f"{name}: every rank starts {servers} API servers; external balance needs one"
            yield Hit(message, scene.at_flag(name, "api-server-count"))


def _meeting_point(scene: RuleContext) -> Iterator[Hit]:
    for name, ranks in scene.ranks_of.items():
        members = dict.fromkeys(rank.node for rank in ranks)
        for node in members:
            address = scene.deployment.address(node)
            if node in scene.deployment.cluster.nodes and not is_address(address):
                message = (
                    f"{name}: the service address of {node} is the name {address!r}; its IP is known only on the node"
                )
                yield Hit(message, scene.at_node(node, "host"), Severity.WARNING)
        if ranks and len(members) > 1 and _loopback(ranks[0].dp_address):
            away = next((rank for rank in ranks if is_address(rank.address) and not _loopback(rank.address)), None)
            if away is not None:
                message = f"{name}: ranks meet at {ranks[0].dp_address}, which {away.node} cannot reach"
                yield Hit(message, scene.at_node(ranks[0].node, "ip"))
        if "HCCL_IF_IP" in scene.env(name):
            message = f"{name}: HCCL_IF_IP is computed for each node; written by hand it is ignored"
            yield Hit(message, scene.at(name, "env", "HCCL_IF_IP"), Severity.WARNING)


def _loopback(address: str) -> bool:
    return is_address(address) and ipaddress.ip_address(address).is_loopback


def _start_skew(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        if group.nodes == 1:
            continue
        seconds = whole(scene.env(name).get("HCCL_CONNECT_TIMEOUT"))
        if seconds is None or seconds < MIN_CONNECT_S:
            now = "is not set, so 120 s hold" if seconds is None else f"is {seconds} s"
            message = f"{name}: HCCL_CONNECT_TIMEOUT {now}; ranks that start later than that end in EI0006"
            yield Hit(message, scene.at(name, "env", "HCCL_CONNECT_TIMEOUT"))
        for place, change in group.by_node.items():
            own = change.env.get("HCCL_CONNECT_TIMEOUT", scene.env(name).get("HCCL_CONNECT_TIMEOUT"))
            if own != scene.env(name).get("HCCL_CONNECT_TIMEOUT"):
                message = f"{name}: HCCL_CONNECT_TIMEOUT of its node {place} is {own}, not what the others have"
                yield Hit(message, scene.at(name, "by_node", str(place), "env", "HCCL_CONNECT_TIMEOUT"))


def _complete(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        given = scene.deployment.assignment.of(name)
        if len(given) != group.nodes:
            yield Hit(f"{name} has {len(given)} of {group.nodes} nodes", f"group {name}")
        for node in dict.fromkeys(given):
            if node not in scene.deployment.cluster.nodes:
                yield Hit(f"{name}: the cluster has no node {node!r}", f"group {name}")
            if given.count(node) > 1:
                yield Hit(f"{name}: {node} is assigned {given.count(node)} times", f"group {name}")


def _addresses(scene: RuleContext) -> Iterator[Hit]:
    seen: dict[str, str] = {}
    for node in dict.fromkeys(rank.node for rank in scene.ranks):
        address = scene.deployment.address(node)
        if address and seen.setdefault(address, node) != node:
            message = f"{seen[address]} and {node} have the same service address {address}"
            yield Hit(message, scene.at_node(node, "ip"))


def _hardware(scene: RuleContext) -> Iterator[Hit]:
    wanted = scene.layout.hardware
    for node in dict.fromkeys(rank.node for rank in scene.ranks):
        known = scene.deployment.cluster.nodes.get(node)
        if known is not None and known.hardware.name != wanted.name:
            message = f"{node} is {known.hardware.name}, the layout is made for {wanted.name}"
            yield Hit(message, scene.at_node(node, "hardware"))


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
RULES = (
    Rule(
        "A1",
        "Every group has its nodes",
        _E,
        "A group starts only when all its ranks are there; with one missing, rank 0 waits without end.",
        "Assign the missing nodes (`A` on the Roles pane, `assign --auto`), or make the group smaller (`z` there, "
        "`assign --size`).",
        "vLLM 0.21 v1/engine/utils.py",
        _complete,
    ),
    Rule(
        "A2",
        "One address per node",
        _E,
        "Two nodes of one address are one machine: their engines would meet on the same devices and ports.",
        "Give each node its own `ip`.",
        "the port map",
        _addresses,
    ),
    Rule(
        "A3",
        "Nodes are of the layout's hardware",
        _W,
        "Device numbers, tensor parallel sizes and images differ between A2 (8 devices) and A3 (16).",
        "Use a layout made for this hardware, or correct `hardware` of the node.",
        "the tutorial, section 3.1",
        _hardware,
    ),
    Rule(
        "R1",
        "Ranks tile the group",
        _E,
        "The data-parallel ranks of all nodes must be 0 to size-1 without gap or overlap; otherwise the start fails or hangs.",
        "Make nodes / nodes_per_engine × per_node equal to size.",
        "vLLM 0.21 v1/engine/utils.py",
        _tiles,
    ),
    Rule(
        "R2",
        "Devices suffice and are not shared",
        _E,
        "A rank takes tensor × pipeline × prefill-context parallel devices of its node, or an equal share of them on each of "
        "its nodes; a device serves one engine.",
        "Lower per_node or tensor_parallel, or move a group with first_device or to other nodes.",
        "the tutorial, launch_online_dp.py",
        lambda scene: (hit for check in (_devices, _shared_devices) for hit in check(scene)),
    ),
    Rule(
        "R3",
        "Sizes and meeting point are equal in a group",
        _E,
        'A rank whose configuration differs is refused: "Configuration mismatch detected for engine N".',
        "Set them as tensor_parallel, data_parallel and so on, where every rank gets the same.",
        "vLLM 0.21 v1/engine/utils.py",
        lambda scene: (hit for check in (_equal, _equal_sides) for hit in check(scene)),
    ),
    Rule(
        "R4",
        "Internal balance: only the first node serves",
        _E,
        'A second node that serves makes rank 0 fail with "Remote engine N must use --headless".',
        "Leave --headless to the console.",
        "vLLM 0.21 v1/engine/utils.py, entrypoints/cli/serve.py",
        _headless,
    ),
    Rule(
        "R5",
        "A rank's place is computed",
        _E,
        "External and internal flags exclude each other, and one wrong start rank or node rank stops the whole group.",
        "Choose data_parallel.balance, set nodes_per_engine where an engine spans nodes, and leave the flags out of args.",
        "vLLM 0.21 and 0.28, entrypoints/cli/serve.py and engine/arg_utils.py",
        _balance_flags,
    ),
    Rule(
        "R6",
        "Hybrid balance has several ranks per node",
        _W,
        "With one rank per node vLLM switches to external balance by itself and says so only in a log line.",
        "Set data_parallel.balance to external.",
        "vLLM 0.21 engine/arg_utils.py",
        _hybrid,
    ),
    Rule(
        "R7",
        "One API server per external rank",
        _N,
        "Every further API server is a process of its own on the node's cores.",
        "Leave --api-server-count out.",
        "vLLM 0.21 entrypoints/cli/serve.py",
        _servers,
    ),
    Rule(
        "R8",
        "Ranks can reach the meeting point",
        _E,
        "The data-parallel address must be an IP held by rank 0's node and reachable by the others.",
        "Write the service address as `ip` of the node in the cluster file.",
        "vLLM 0.21 v1/engine/core.py; the tutorial gives a prefill node's address to its decode group",
        _meeting_point,
    ),
    Rule(
        "R9",
        "HCCL waits as long as the ranks do",
        _W,
        "Engines wait five minutes for each other; HCCL gives up after HCCL_CONNECT_TIMEOUT seconds, 120 by default.",
        f"Set HCCL_CONNECT_TIMEOUT to {MIN_CONNECT_S} or more; vllm-ascend's own CI uses 1200 to 6000.",
        "vLLM 0.21 v1/engine/core.py; CANN error EI0006",
        _start_skew,
        npus=True,
    ),
    Rule(
        "R27",
        "An engine fills the nodes that it spans",
        _E,
        "vLLM spreads the devices of an engine evenly over --nnodes, and each data-parallel rank over whole nodes.",
        "Make nodes a multiple of nodes_per_engine, the devices of a rank too, and per_node 1.",
        "vLLM 0.21 engine/arg_utils.py, config/parallel.py",
        _spanning,
    ),
    Rule(
        "R28",
        "No engine is run by Ray",
        _E,
        "Ray starts the workers itself, outside the runs that this console starts, watches and stops: it could not name the "
        "node that failed, and a stop would leave workers and their HBM behind.",
        "Set nodes_per_engine: vLLM spans nodes without Ray (--nnodes). Leave the backend out of args.",
        "vLLM 0.21 v1/executor/multiproc_executor.py",
        _ray,
    ),
)
