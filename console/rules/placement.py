"""Rules about the assignment (A1–A3) and about ranks, devices and nodes (R1–R9, R27, R28)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from console.model.deployment import Rank, is_address
from console.model.findings import Severity
from console.model.layout import flag_name
from console.rules.rule import Rule, RuleContext, Violation, whole

_SAME_IN_GROUP = ("data-parallel-size", "tensor-parallel-size", "data-parallel-address", "data-parallel-rpc-port")
_SAME_BESIDES = ("pipeline-parallel-size", "prefill-context-parallel-size")
_SAME_ON_BOTH_SIDES = ("quantization", "tokenizer-mode", "kv-cache-dtype", "dtype")
"""Flags that define the meaning of tokens and cached bytes; prefill and decode must have equal values."""
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
"""Flags that may differ between nodes, or that have a rule of their own."""
_SERVES_ALONE_FROM = (0, 28, 0)
"""From this release on a start rank of 0 counts as given (vLLM 0.27.1 and 0.28.0, engine/arg_utils.py)."""
MIN_CONNECT_S = 300
"""Ranks of a group wait five minutes for each other (vLLM 0.21 v1/engine/core.py); HCCL should wait as long."""


def _tiles(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        size, held = group.data_parallel.size, group.ranks
        if held != size and not group.nodes % group.nodes_per_engine:
            each = f" / {group.nodes_per_engine} nodes an engine" if group.nodes_per_engine > 1 else ""
            places = f"{group.nodes} nodes{each} × {group.data_parallel.per_node} ranks"
            message = f"{name}: {places} give {held} ranks, but the group has {size}"
            yield Violation(message, context.at(name, "data_parallel", "size"))


def _devices(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        last = group.first_device + group.devices_on_node
        if last > context.layout.hardware.devices > 0:
            needs = f"{name} needs devices {group.first_device}-{last - 1}"
            message = f"{needs}, but {context.layout.hardware.name} has {context.layout.hardware.devices}"
            yield Violation(message, context.at(name, "tensor_parallel"))
            continue
        for node in context.deployment.assignment.of(name):
            known = context.deployment.cluster.nodes.get(node)
            if known is not None and 0 < known.hardware.devices < last:
                message = f"{name} needs {last} devices of {node}, but it has {known.hardware.devices}"
                yield Violation(message, context.at_node(node, "hardware"))
        if "ASCEND_RT_VISIBLE_DEVICES" in context.env(name):
            message = f"{name}: ASCEND_RT_VISIBLE_DEVICES is computed for each rank; this value is ignored"
            yield Violation(message, context.at(name, "env", "ASCEND_RT_VISIBLE_DEVICES"), Severity.WARNING)


def _shared_devices(context: RuleContext) -> Iterator[Violation]:
    owners: dict[tuple[str, int], Rank] = {}
    reported: set[tuple[str, str, str]] = set()
    for rank in context.ranks:
        for device in rank.devices:
            other = owners.setdefault((rank.node, device), rank)
            if other is not rank and (key := (rank.node, other.group, rank.group)) not in reported:
                reported.add(key)
                message = f"{other.id} and {rank.id} both use device {device} of {rank.node}"
                yield Violation(message, context.at(rank.group, "first_device"))


def _equal(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        sizes = {
            "data-parallel-size": group.data_parallel.size,
            "tensor-parallel-size": group.tensor_parallel,
            "pipeline-parallel-size": group.pipeline_parallel,
            "prefill-context-parallel-size": group.prefill_context_parallel,
        }
        for flag, value, path in context.written(name):
            if flag in (*_SAME_IN_GROUP, *_SAME_BESIDES) and whole(value) != sizes.get(flag, -1):
                yield Violation(
                    f"{name}: --{flag} is computed from the layout; remove it from args", context.at_path(name, path)
                )
        for flag, _, path in context.written_by_node(name):
            if flag not in (*_SAME_IN_GROUP, *_SAME_BESIDES, *_PLACES, *_OF_A_NODE):
                yield Violation(
                    f"{name}: --{flag} differs between nodes", context.at_path(name, path), Severity.WARNING
                )


def _equal_sides(context: RuleContext) -> Iterator[Violation]:
    for prefill, decode in context.pairs():
        one, other = context.args(prefill), context.args(decode)
        for flag in _SAME_ON_BOTH_SIDES:
            if one.get(flag) != other.get(flag):
                message = f"--{flag} of {prefill} is {one.get(flag)}, but of {decode} {other.get(flag)}"
                yield Violation(message, context.at_flag(decode, flag), Severity.WARNING)
        before, after = context.number(prefill, "max-model-len"), context.number(decode, "max-model-len")
        if before is not None and after is not None and after < before:
            message = f"{decode} accepts {after} tokens (max-model-len), but {prefill} sends up to {before}"
            yield Violation(message, context.at_flag(decode, "max-model-len"), Severity.WARNING)


def _spanning(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        span = group.nodes_per_engine
        if span == 1:
            continue
        here = context.at(name, "nodes_per_engine")
        if group.nodes % span:
            yield Violation(f"{name}: {group.nodes} nodes are not a multiple of the {span} nodes of an engine", here)
        if group.devices_per_rank % span:
            yield Violation(
                f"{name}: {group.devices_per_rank} devices of an engine cannot be divided evenly between {span} nodes",
                here,
            )
        if group.data_parallel.per_node > 1:
            message = f"{name}: {group.data_parallel.per_node} ranks per node, but each engine needs {span} nodes"
            yield Violation(message, context.at(name, "data_parallel", "per_node"))
        if group.data_parallel.size > 1 and context.layout.hardware.devices:
            message = (
                f"{name}: vllm-ascend starts only the first of {group.data_parallel.size} engines over {span} nodes "
                "each: all of them "
                "bind the address of the group's first node (its patched executor, read on main 182b75ea)"
            )
            yield Violation(message, here, Severity.WARNING)
        if group.data_parallel.balance == "hybrid":
            yield Violation(
                f"{name}: hybrid balance needs engines that fit on one node",
                context.at(name, "data_parallel", "balance"),
            )


def _ray(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        for flag, value, path in context.written(name):
            if flag in _BACKENDS and value == "ray":
                yield Violation(f"{name}: --{flag} ray", context.at_path(name, path))


def _headless(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        args = context.args(name)
        if args.get("headless") is not None:
            yield Violation(
                f"{name}: --headless is computed from the place of a node; remove it from args",
                context.at_flag(name, "headless"),
            )


def _balance_flags(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        first = group.by_node.get(0)
        alone = {
            context.at(name, "by_node", "0", "args", key)
            for key, value in (first.args if first else {}).items()
            if flag_name(key) == "data-parallel-start-rank" and whole(value) == 0
        }
        for flag, _, path in context.written(name):
            where = context.at_path(name, path)
            if flag in _PLACES and where in alone and group.data_parallel.balance == "internal" and group.nodes > 1:
                severity = Severity.ERROR if (context.version or (0, 0, 0)) >= _SERVES_ALONE_FROM else Severity.WARNING
                message = f"{name}: with --data-parallel-start-rank 0 only its first node serves from vLLM 0.28 on"
                yield Violation(f"{message}; remove it from by_node", where, severity)
            elif flag in _PLACES:
                yield Violation(f"{name}: --{flag} is computed from the place of a rank; remove it from args", where)


def _hybrid(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        parallel = group.data_parallel
        if parallel.balance == "hybrid" and parallel.per_node == 1 and group.nodes > 1:
            message = f"{name}: vLLM changes hybrid balance with one rank per node to external"
            yield Violation(message, context.at(name, "data_parallel", "balance"))


def _servers(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        servers = context.number(name, "api-server-count")
        if servers is not None and servers > 1 and group.data_parallel.balance == "external":
            message = f"{name}: every rank starts {servers} API servers; with external balance one is enough"
            yield Violation(message, context.at_flag(name, "api-server-count"))


def _meeting_point(context: RuleContext) -> Iterator[Violation]:
    for name, ranks in context.ranks_of.items():
        members = dict.fromkeys(rank.node for rank in ranks)
        for node in members:
            address = context.deployment.address(node)
            if node in context.deployment.cluster.nodes and not is_address(address):
                message = (
                    f"{name}: the service address of {node} is the name {address!r}, whose IP is known on the node only"
                )
                yield Violation(message, context.at_node(node, "host"), Severity.WARNING)
        if ranks and len(members) > 1 and _loopback(ranks[0].dp_address):
            away = next((rank for rank in ranks if is_address(rank.address) and not _loopback(rank.address)), None)
            if away is not None:
                message = f"{name}: the data-parallel address is {ranks[0].dp_address}, which {away.node} cannot reach"
                yield Violation(message, context.at_node(ranks[0].node, "ip"))
        if "HCCL_IF_IP" in context.env(name):
            message = f"{name}: HCCL_IF_IP is computed for each node; this value is ignored"
            yield Violation(message, context.at(name, "env", "HCCL_IF_IP"), Severity.WARNING)


def _loopback(address: str) -> bool:
    return is_address(address) and ipaddress.ip_address(address).is_loopback


def _start_skew(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        if group.nodes == 1:
            continue
        seconds = whole(context.env(name).get("HCCL_CONNECT_TIMEOUT"))
        if seconds is None or seconds < MIN_CONNECT_S:
            now = "is not set (default 120 s)" if seconds is None else f"is {seconds} s"
            message = f"{name}: HCCL_CONNECT_TIMEOUT {now}; ranks that start later than that fail with EI0006"
            yield Violation(message, context.at(name, "env", "HCCL_CONNECT_TIMEOUT"))
        for place, change in group.by_node.items():
            own = change.env.get("HCCL_CONNECT_TIMEOUT", context.env(name).get("HCCL_CONNECT_TIMEOUT"))
            if own != context.env(name).get("HCCL_CONNECT_TIMEOUT"):
                message = f"{name}: HCCL_CONNECT_TIMEOUT of its node {place} is {own}, different from the other nodes"
                yield Violation(message, context.at(name, "by_node", str(place), "env", "HCCL_CONNECT_TIMEOUT"))


def _complete(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        given = context.deployment.assignment.of(name)
        if len(given) != group.nodes:
            yield Violation(f"{name} has {len(given)} of {group.nodes} nodes", f"group {name}")
        for node in dict.fromkeys(given):
            if node not in context.deployment.cluster.nodes:
                yield Violation(f"{name}: the cluster has no node {node!r}", f"group {name}")
            if given.count(node) > 1:
                yield Violation(f"{name}: {node} is assigned {given.count(node)} times", f"group {name}")


def _addresses(context: RuleContext) -> Iterator[Violation]:
    seen: dict[str, str] = {}
    for node in dict.fromkeys(rank.node for rank in context.ranks):
        address = context.deployment.address(node)
        if address and seen.setdefault(address, node) != node:
            message = f"{seen[address]} and {node} have the same service address {address}"
            yield Violation(message, context.at_node(node, "ip"))


def _hardware(context: RuleContext) -> Iterator[Violation]:
    wanted = context.layout.hardware
    for node in dict.fromkeys(rank.node for rank in context.ranks):
        known = context.deployment.cluster.nodes.get(node)
        if known is not None and known.hardware.name != wanted.name:
            message = f"{node} is {known.hardware.name}, but the layout is made for {wanted.name}"
            yield Violation(message, context.at_node(node, "hardware"))


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
RULES = (
    Rule(
        "A1",
        "Every group has its nodes",
        _E,
        "A group starts only when all its ranks run; when one is missing, rank 0 waits for ever.",
        "Assign the missing nodes (`A` on the Roles pane, `assign --auto`), or make the group smaller (`z` there, "
        "`assign --size`).",
        "vLLM 0.21 v1/engine/utils.py",
        _complete,
    ),
    Rule(
        "A2",
        "Each node has its own address",
        _E,
        "Two nodes with the same address are the same machine: their engines would use the same devices and ports.",
        "Set a different `ip` for each node.",
        "the port map",
        _addresses,
    ),
    Rule(
        "A3",
        "Nodes have the hardware of the layout",
        _W,
        "Device numbers, tensor parallel sizes and images differ between A2 (8 devices) and A3 (16).",
        "Use a layout that is made for this hardware, or correct `hardware` of the node.",
        "the tutorial, section 3.1",
        _hardware,
    ),
    Rule(
        "R1",
        "The nodes of a group run all its ranks",
        _E,
        "The nodes together must run the data-parallel ranks 0 to size - 1, each exactly once; otherwise the start "
        "fails or hangs.",
        "Make nodes / nodes_per_engine × per_node equal to size.",
        "vLLM 0.21 v1/engine/utils.py",
        _tiles,
    ),
    Rule(
        "R2",
        "Nodes have enough devices, and no device is used twice",
        _E,
        "A rank needs tensor × pipeline × prefill-context parallel devices on its node, or an equal share of them on each of its "
        "nodes. A device runs one engine only.",
        "Lower per_node or tensor_parallel, set first_device of a group, or assign it to other nodes.",
        "the tutorial, launch_online_dp.py",
        lambda context: (hit for check in (_devices, _shared_devices) for hit in check(context)),
    ),
    Rule(
        "R3",
        "Sizes and the data-parallel address are equal in a group",
        _E,
        'vLLM refuses a rank with another configuration: "Configuration mismatch detected for engine N".',
        "Set sizes with the keys tensor_parallel, data_parallel and so on, so that all ranks get the same values.",
        "vLLM 0.21 v1/engine/utils.py",
        lambda context: (hit for check in (_equal, _equal_sides) for hit in check(context)),
    ),
    Rule(
        "R4",
        "With internal balance only the first node serves",
        _E,
        'When a second node serves, rank 0 fails with "Remote engine N must use --headless".',
        "Remove --headless: the console sets it.",
        "vLLM 0.21 v1/engine/utils.py, entrypoints/cli/serve.py",
        _headless,
    ),
    Rule(
        "R5",
        "The place of a rank is computed",
        _E,
        "External and internal flags exclude each other, and one wrong start rank or node rank stops the whole group.",
        "Set data_parallel.balance, and nodes_per_engine when an engine spans nodes; remove the flags from args.",
        "vLLM 0.21 and 0.28, entrypoints/cli/serve.py and engine/arg_utils.py",
        _balance_flags,
    ),
    Rule(
        "R6",
        "Hybrid balance has several ranks per node",
        _W,
        "With one rank per node vLLM changes to external balance and reports it only in a log line.",
        "Set data_parallel.balance to external.",
        "vLLM 0.21 engine/arg_utils.py",
        _hybrid,
    ),
    Rule(
        "R7",
        "With external balance each rank has one API server",
        _N,
        "Every further API server is another process on the CPU cores of the node.",
        "Remove --api-server-count.",
        "vLLM 0.21 entrypoints/cli/serve.py",
        _servers,
    ),
    Rule(
        "R8",
        "Ranks can reach the data-parallel address",
        _E,
        "The data-parallel address must be an IP address of the node of rank 0 that the other nodes can reach.",
        "Set the service address as `ip` of the node in the cluster file.",
        "vLLM 0.21 v1/engine/core.py; the tutorial gives a prefill node's address to its decode group",
        _meeting_point,
    ),
    Rule(
        "R9",
        "HCCL waits as long as the ranks",
        _W,
        "Engines wait five minutes for each other, but HCCL waits HCCL_CONNECT_TIMEOUT seconds only (default 120).",
        f"Set HCCL_CONNECT_TIMEOUT to {MIN_CONNECT_S} or more; vllm-ascend's own CI uses 1200 to 6000.",
        "vLLM 0.21 v1/engine/core.py; CANN error EI0006",
        _start_skew,
        npus=True,
    ),
    Rule(
        "R27",
        "An engine that spans nodes uses whole nodes",
        _E,
        "vLLM divides the devices of an engine evenly between --nnodes nodes, and each data-parallel rank uses whole nodes.",
        "Make nodes and the devices of a rank multiples of nodes_per_engine, and set per_node to 1.",
        "vLLM 0.21 engine/arg_utils.py, config/parallel.py",
        _spanning,
    ),
    Rule(
        "R28",
        "Engines do not use Ray",
        _E,
        "Ray starts workers outside of the runs that this console starts, watches and stops. The console could not name the "
        "node that failed, and after a stop workers would keep their HBM.",
        "Set nodes_per_engine: vLLM spans nodes without Ray (--nnodes). Remove the backend from args.",
        "vLLM 0.21 v1/executor/multiproc_executor.py",
        _ray,
    ),
)
