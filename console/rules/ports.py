"""The port map: the ports that engines, services and the proxy bind on each node; and the rules R15–R17 and P1–P3 about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from console.model.deployment import Rank
from console.model.findings import Severity
from console.rules.rule import Rule, RuleContext, Violation, whole

EPHEMERAL = (32768, 60999)
"""Linux's default net.ipv4.ip_local_port_range."""

ZONES = (
    (15000, 17000, "Mooncake's transfer engine binds random ports in 15000-17000"),
    (20000, 21600, "the Ascend transport binds 100 ports per device from 20000 on"),
    (60000, 60031, "HCCL binds 60000-60031"),
)
"""Ports that other parts of an engine bind (Mooncake v0.3.9 config.h and ascend_direct_transport, CANN's HCCL_IF_BASE_PORT)."""

_OLD_ZONE = (20000, 35999)
_OLD_MOONCAKE_BEFORE = (0, 21, 0)


@dataclass(frozen=True, slots=True)
class PortUse:
    """The ports that one process binds on a node: `first` to `last`, both included."""

    node: str
    first: int
    last: int
    what: str
    group: str
    key: tuple[str, ...]

    @property
    def owner(self) -> str:
        """The group, the service or `proxy`."""
        return self.group or (self.key[1] if self.key[0] == "services" else self.key[0])


def port_map(context: RuleContext) -> tuple[PortUse, ...]:
    """Every port that is known before a start, in rank order."""
    uses = [use for rank in context.ranks for use in _rank_uses(context, rank)]
    proxy = context.deployment.proxy_rank()
    if proxy is not None and proxy.port is not None:
        uses.append(PortUse(proxy.node, proxy.port, proxy.port, "the proxy", "", ("proxy", "port")))
    uses.extend(
        PortUse(rank.node, rank.port, rank.port, rank.id, "", ("services", rank.id, "port"))
        for rank in context.deployment.service_ranks()
        if rank.port is not None
    )
    return tuple(uses)


def kv_window(context: RuleContext, group: str) -> tuple[int, int] | None:
    """First and last KV handshake port of the whole group: kv_port to kv_port + size × devices per rank - 1; None without one."""
    port = whole(context.transfer(group).get("kv_port"))
    if port is None:
        return None
    written = context.groups[group]
    return port, port + written.data_parallel.size * written.devices_per_rank - 1


def binds_kv(context: RuleContext, group: str) -> bool:
    """Whether the engines of the group bind the handshake ports: producers do; with a layerwise connector, consumers do."""
    layerwise = "Layerwise" in str(context.transfer(group).get("kv_connector", ""))
    return context.kv_role(group) == ("kv_consumer" if layerwise else "kv_producer")


def _rank_uses(context: RuleContext, rank: Rank) -> Iterator[PortUse]:
    group = context.groups[rank.group]
    if rank.port is not None:
        yield PortUse(rank.node, rank.port, rank.port, f"HTTP of {rank.id}", rank.group, ("port",))
    if rank.dp_rank == 0 and rank.part == 0 and rank.dp_size > 1:
        key = ("data_parallel", "rpc_port")
        yield PortUse(rank.node, rank.rpc_port, rank.rpc_port, f"the RPC port of {rank.group}", rank.group, key)
    if rank.position == 0 and rank.local_rank == 0 and rank.parts > 1:
        port = group.master_port
        yield PortUse(rank.node, port, port, f"the master port of {rank.group}", rank.group, ("master_port",))
    window = kv_window(context, rank.group)
    if window is not None and binds_kv(context, rank.group):
        mine = group.devices_on_node // group.data_parallel.per_node
        first = window[0] + rank.dp_rank * group.devices_per_rank + rank.part * mine
        last = first + rank.local_size * mine - 1
        yield PortUse(rank.node, first, last, f"KV handshake of {rank.id}", rank.group, ("kv_transfer", "port"))


def _place(context: RuleContext, use: PortUse) -> str:
    return context.at(use.group, *use.key) if use.group else context.at_top(*use.key)


def _met(context: RuleContext, *, kv: bool) -> Iterator[Violation]:
    by_node: dict[str, list[PortUse]] = {}
    for use in port_map(context):
        by_node.setdefault(use.node, []).append(use)
    reported: set[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = set()
    for node, uses in by_node.items():
        uses.sort(key=lambda use: (use.first, use.last))
        widest = uses[0]
        for use in uses[1:]:
            about_kv = "kv_transfer" in use.key or "kv_transfer" in widest.key
            key = (widest.group, use.group, widest.key, use.key)
            if use.first <= widest.last and about_kv == kv and key not in reported:
                reported.add(key)
                yield Violation(
                    f"{widest.what} and {use.what} both use port {use.first} of {node}", _place(context, use)
                )
            if use.last > widest.last:
                widest = use


def _written_ports(context: RuleContext) -> Mapping[tuple[str, ...], tuple[str, int, int, str]]:
    """Path of the key → (what, first, last, group) for each port of the layout, with or without assigned nodes."""
    ports: dict[tuple[str, ...], tuple[str, int, int, str]] = {}
    for name, group in context.groups.items():
        processes = group.data_parallel.per_node if group.data_parallel.balance == "external" else 1
        ports[name, "port"] = (f"HTTP of {name}", group.port, group.port + processes - 1, name)
        for place, change in group.by_node.items():
            if change.port is not None:
                what = f"HTTP of {name} on its node {place}"
                ports[name, "by_node", str(place), "port"] = (what, change.port, change.port + processes - 1, name)
        if group.data_parallel.size > 1:
            rpc = group.data_parallel.rpc_port
            ports[name, "data_parallel", "rpc_port"] = (f"the RPC port of {name}", rpc, rpc, name)
        if group.nodes_per_engine > 1:
            port = group.master_port
            ports[name, "master_port"] = (f"the master port of {name}", port, port, name)
    if context.layout.proxy is not None:
        port = context.layout.proxy.port
        ports["", "proxy", "port"] = ("the proxy", port, port, "")
    for name, service in context.layout.services.items():
        if service.port is not None:
            ports["", "services", name, "port"] = (name, service.port, service.port, "")
    return ports


def _windows(context: RuleContext) -> Iterator[tuple[str, int, int]]:
    for name in context.groups:
        window = kv_window(context, name)
        if window is not None and binds_kv(context, name):
            yield name, *window


def _zones(context: RuleContext) -> Iterator[Violation]:
    for name, first, last in _windows(context):
        where = context.at(name, "kv_transfer", "port")
        for low, high, why in (*ZONES, (*EPHEMERAL, "Linux gives ports 32768-60999 to any connection")):
            if first <= high and last >= low:
                yield Violation(f"{name}: KV ports {first}-{last}: {why}", where)
        for other, group in context.groups.items():
            rpc = group.data_parallel.rpc_port
            if group.data_parallel.size > 1 and first <= rpc <= last and not _same_node(context, name, other):
                yield Violation(f"{name}: KV ports {first}-{last} include the RPC port {rpc} of {other}", where)


def _same_node(context: RuleContext, one: str, other: str) -> bool:
    heads = {rank.node for rank in context.ranks_of[other] if rank.position == 0}
    return any(rank.node in heads for rank in context.ranks_of[one])


def _old_zone(context: RuleContext) -> Iterator[Violation]:
    if context.version is None or context.version >= _OLD_MOONCAKE_BEFORE:
        return
    low, high = _OLD_ZONE
    for name, first, last in _windows(context):
        if first <= high and last >= low:
            message = f"{name}: KV ports {first}-{last} overlap {low}-{high}"
            yield Violation(message, context.at(name, "kv_transfer", "port"))


def _bad_zone(context: RuleContext) -> Iterator[Violation]:
    for key, (what, first, last, group) in _written_ports(context).items():
        where = context.at(group, *key[1:]) if group else context.at_top(*key[1:])
        for low, high, why in (*ZONES, (*EPHEMERAL, "Linux gives ports 32768-60999 to any connection")):
            if first <= high and last >= low:
                yield Violation(f"{what} ({first}): {why}", where)
                break


def _too_high(context: RuleContext) -> Iterator[Violation]:
    for key, (what, first, last, group) in _written_ports(context).items():
        if last > 65535:
            where = context.at(group, *key[1:]) if group else context.at_top(*key[1:])
            yield Violation(f"{what}: ports {first}-{last} exceed 65535", where)
    for name, first, last in _windows(context):
        if last > 65535:
            yield Violation(f"{name}: KV ports {first}-{last} exceed 65535", context.at(name, "kv_transfer", "port"))


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
RULES = (
    Rule(
        "R15",
        "KV handshake ports are not used twice",
        _E,
        "Each producer rank binds ports from kv_port + rank × devices on. Two ranges on one node, or a range and "
        "another port, must "
        "not overlap.",
        "Change kv_transfer.port; no other part uses 22000-29000 and 30000-32000.",
        "vllm-ascend v0.21.0rc1 mooncake_hybrid_connector.py",
        lambda context: _met(context, kv=True),
    ),
    Rule(
        "R16",
        "KV handshake ports avoid the ports of other parts",
        _W,
        "Other parts of the engines bind ports outside of 22000-29000 and 30000-32000, some at random, so that a start "
        "fails from time to time.",
        "Use 22000-29000 or 30000-32000.",
        "Mooncake v0.3.9 config.h, ascend_direct_transport; CANN",
        _zones,
    ),
    Rule(
        "R17",
        "KV handshake ports fit an older Mooncake",
        _N,
        "Mooncake v0.3.7 binds 1000 ports per die from 20000 on: up to 35999 on 16 dies.",
        "With Mooncake v0.3.7 or older, use a port below 20000 in spite of R16; with later versions, ignore this note.",
        "vllm-ascend issue 14263",
        _old_zone,
    ),
    Rule(
        "P1",
        "No port of a node is used twice",
        _E,
        "vLLM shares its HTTP port (SO_REUSEPORT): a second engine on the port starts without an error and gets half "
        "the requests.",
        "Set different ports for the groups on one node.",
        "the port map; seen on vLLM 0.21",
        lambda context: _met(context, kv=False),
    ),
    Rule(
        "P2",
        "Service ports avoid the ports of other parts",
        _W,
        "When another connection has the port, the engine cannot bind it, so a start fails from time to time.",
        "Choose a port below 15000, or reserve it with net.ipv4.ip_local_reserved_ports.",
        "the port map",
        _bad_zone,
    ),
    Rule(
        "P3",
        "Ports do not exceed 65535",
        _E,
        "Each further engine on a node takes the next port.",
        "Lower the first port.",
        "the port map",
        _too_high,
    ),
)
