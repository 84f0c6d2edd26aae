"""The port map: what every engine and proxy binds on each node, and the rules R15–R17 and P1–P3 about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from console.model.deployment import Rank
from console.model.findings import Severity
from console.rules.rule import Hit, Rule, RuleContext, whole

EPHEMERAL = (32768, 60999)
"""Linux's default net.ipv4.ip_local_port_range."""

ZONES = (
    (15000, 17000, "Mooncake's transfer engine picks its ports at random from 15000-17000"),
    (20000, 21600, "the Ascend transport uses 100 ports per device from 20000 on"),
    (60000, 60031, "HCCL listens on 60000-60031"),
)
"""What other parts of an engine bind (Mooncake v0.3.9 config.h and ascend_direct_transport, CANN's HCCL_IF_BASE_PORT)."""

_OLD_ZONE = (20000, 35999)
_OLD_MOONCAKE_BEFORE = (0, 21, 0)


@dataclass(frozen=True, slots=True)
class PortUse:
    """Ports something binds on a node: `first` to `last`, both included."""

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


def port_map(scene: RuleContext) -> tuple[PortUse, ...]:
    """Every port that is known before the start, in rank order."""
    uses = [use for rank in scene.ranks for use in _rank_uses(scene, rank)]
    proxy = scene.deployment.proxy_rank()
    if proxy is not None and proxy.port is not None:
        uses.append(PortUse(proxy.node, proxy.port, proxy.port, "the proxy", "", ("proxy", "port")))
    uses.extend(
        PortUse(rank.node, rank.port, rank.port, rank.id, "", ("services", rank.id, "port"))
        for rank in scene.deployment.service_ranks()
        if rank.port is not None
    )
    return tuple(uses)


def kv_window(scene: RuleContext, group: str) -> tuple[int, int] | None:
    """First and last KV handshake port over the whole group: kv_port + size × devices per rank - 1; None without one."""
    port = whole(scene.transfer(group).get("kv_port"))
    if port is None:
        return None
    written = scene.groups[group]
    return port, port + written.data_parallel.size * written.devices_per_rank - 1


def binds_kv(scene: RuleContext, group: str) -> bool:
    """Whether the group's engines bind the handshake ports: producers do, with a layerwise connector consumers."""
    layerwise = "Layerwise" in str(scene.transfer(group).get("kv_connector", ""))
    return scene.kv_role(group) == ("kv_consumer" if layerwise else "kv_producer")


def _rank_uses(scene: RuleContext, rank: Rank) -> Iterator[PortUse]:
    group = scene.groups[rank.group]
    if rank.port is not None:
        yield PortUse(rank.node, rank.port, rank.port, f"HTTP of {rank.id}", rank.group, ("port",))
    if rank.dp_rank == 0 and rank.part == 0 and rank.dp_size > 1:
        key = ("data_parallel", "rpc_port")
        yield PortUse(rank.node, rank.rpc_port, rank.rpc_port, f"the rank port of {rank.group}", rank.group, key)
    if rank.position == 0 and rank.local_rank == 0 and rank.parts > 1:
        port = group.master_port
        yield PortUse(rank.node, port, port, f"the master port of {rank.group}", rank.group, ("master_port",))
    window = kv_window(scene, rank.group)
    if window is not None and binds_kv(scene, rank.group):
        mine = group.devices_on_node // group.data_parallel.per_node
        first = window[0] + rank.dp_rank * group.devices_per_rank + rank.part * mine
        last = first + rank.local_size * mine - 1
        yield PortUse(rank.node, first, last, f"KV handshake of {rank.id}", rank.group, ("kv_transfer", "port"))


def _place(scene: RuleContext, use: PortUse) -> str:
    return scene.at(use.group, *use.key) if use.group else scene.at_top(*use.key)


def _met(scene: RuleContext, *, kv: bool) -> Iterator[Hit]:
    by_node: dict[str, list[PortUse]] = {}
    for use in port_map(scene):
        by_node.setdefault(use.node, []).append(use)
    told: set[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = set()
    for node, uses in by_node.items():
        uses.sort(key=lambda use: (use.first, use.last))
        widest = uses[0]
        for use in uses[1:]:
            about_kv = "kv_transfer" in use.key or "kv_transfer" in widest.key
            key = (widest.group, use.group, widest.key, use.key)
            if use.first <= widest.last and about_kv == kv and key not in told:
                told.add(key)
                yield Hit(f"{widest.what} and {use.what} meet at port {use.first} of {node}", _place(scene, use))
            if use.last > widest.last:
                widest = use


def _written_ports(scene: RuleContext) -> Mapping[tuple[str, ...], tuple[str, int, int, str]]:
    """Where → (what, first, last, group) for each port the layout names, whether nodes are assigned or not."""
    ports: dict[tuple[str, ...], tuple[str, int, int, str]] = {}
    for name, group in scene.groups.items():
        processes = group.data_parallel.per_node if group.data_parallel.balance == "external" else 1
        ports[name, "port"] = (f"HTTP of {name}", group.port, group.port + processes - 1, name)
        for place, change in group.by_node.items():
            if change.port is not None:
                what = f"HTTP of {name} on its node {place}"
                ports[name, "by_node", str(place), "port"] = (what, change.port, change.port + processes - 1, name)
        if group.data_parallel.size > 1:
            rpc = group.data_parallel.rpc_port
            ports[name, "data_parallel", "rpc_port"] = (f"the rank port of {name}", rpc, rpc, name)
        if group.nodes_per_engine > 1:
            port = group.master_port
            ports[name, "master_port"] = (f"the master port of {name}", port, port, name)
    if scene.layout.proxy is not None:
        port = scene.layout.proxy.port
        ports["", "proxy", "port"] = ("the proxy", port, port, "")
    for name, service in scene.layout.services.items():
        if service.port is not None:
            ports["", "services", name, "port"] = (name, service.port, service.port, "")
    return ports


def _windows(scene: RuleContext) -> Iterator[tuple[str, int, int]]:
    for name in scene.groups:
        window = kv_window(scene, name)
        if window is not None and binds_kv(scene, name):
            yield name, *window


def _zones(scene: RuleContext) -> Iterator[Hit]:
    for name, first, last in _windows(scene):
        where = scene.at(name, "kv_transfer", "port")
        for low, high, why in (*ZONES, (*EPHEMERAL, "Linux hands out 32768-60999 to any connection")):
            if first <= high and last >= low:
                yield Hit(f"{name}: KV ports {first}-{last}: {why}", where)
        for other, group in scene.groups.items():
            rpc = group.data_parallel.rpc_port
            if group.data_parallel.size > 1 and first <= rpc <= last and not _same_node(scene, name, other):
                yield Hit(f"{name}: KV ports {first}-{last} hold the rank port {rpc} of {other}", where)


def _same_node(scene: RuleContext, one: str, other: str) -> bool:
    heads = {rank.node for rank in scene.ranks_of[other] if rank.position == 0}
    return any(rank.node in heads for rank in scene.ranks_of[one])


def _old_zone(scene: RuleContext) -> Iterator[Hit]:
    if scene.version is None or scene.version >= _OLD_MOONCAKE_BEFORE:
        return
    low, high = _OLD_ZONE
    for name, first, last in _windows(scene):
        if first <= high and last >= low:
            message = f"{name}: KV ports {first}-{last} lie in {low}-{high}"
            yield Hit(message, scene.at(name, "kv_transfer", "port"))


def _bad_zone(scene: RuleContext) -> Iterator[Hit]:
    for key, (what, first, last, group) in _written_ports(scene).items():
        where = scene.at(group, *key[1:]) if group else scene.at_top(*key[1:])
        for low, high, why in (*ZONES, (*EPHEMERAL, "Linux hands out 32768-60999 to any connection")):
            if first <= high and last >= low:
                yield Hit(f"{what} ({first}): {why}", where)
                break


def _too_high(scene: RuleContext) -> Iterator[Hit]:
    for key, (what, first, last, group) in _written_ports(scene).items():
        if last > 65535:
            where = scene.at(group, *key[1:]) if group else scene.at_top(*key[1:])
            yield Hit(f"{what}: ports {first}-{last} go beyond 65535", where)
    for name, first, last in _windows(scene):
        if last > 65535:
            yield Hit(f"{name}: KV ports {first}-{last} go beyond 65535", scene.at(name, "kv_transfer", "port"))


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
RULES = (
    Rule(
        "R15",
        "KV handshake ports are free",
        _E,
        "Producer ranks bind kv_port + rank × devices on; two windows on one node, or a window and another port, clash.",
        "Move kv_transfer.port; 22000-29000 and 30000-32000 are free of other parts.",
        "vllm-ascend v0.21.0rc1 mooncake_hybrid_connector.py",
        lambda scene: _met(scene, kv=True),
    ),
    Rule(
        "R16",
        "KV handshake ports keep away from other parts",
        _W,
        "Other parts of the engines pick their ports there, some at random: the clash comes once in many starts.",
        "Use 22000-29000 or 30000-32000.",
        "Mooncake v0.3.9 config.h, ascend_direct_transport; CANN",
        _zones,
    ),
    Rule(
        "R17",
        "KV handshake ports with an older Mooncake",
        _N,
        "Mooncake v0.3.7 takes 1000 ports per die from 20000 on, up to 35999 on 16 dies.",
        "Check the Mooncake version in the image, or use a port below 20000.",
        "vllm-ascend issue 14263",
        _old_zone,
    ),
    Rule(
        "P1",
        "No two things bind one port of a node",
        _E,
        "vLLM's HTTP socket is shared (SO_REUSEPORT): the second engine starts without complaint and takes half the requests.",
        "Give the groups on one node different ports.",
        "the port map; seen on vLLM 0.21",
        lambda scene: _met(scene, kv=False),
    ),
    Rule(
        "P2",
        "Service ports keep away from other parts",
        _W,
        "A port handed out to another connection cannot be bound; the engine fails at a random start.",
        "Choose a port below 15000, or reserve it with net.ipv4.ip_local_reserved_ports.",
        "the port map",
        _bad_zone,
    ),
    Rule(
        "P3",
        "Ports end at 65535",
        _E,
        "Each further engine on a node takes the next port.",
        "Lower the first port.",
        "the port map",
        _too_high,
    ),
)
