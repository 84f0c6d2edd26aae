"""A deployment: a cluster, a layout and an assignment, and the ranks that are computed from them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from console.model.cluster import Cluster, Node
from console.model.counting import counted
from console.model.errors import UsageError
from console.model.layout import Group, Layout, Shape
from console.model.role import RankRole
from console.model.shortening import list_text, shortened


def is_address(text: str) -> bool:
    """Whether the text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def whole_engine(name: str) -> str:
    """The engine of a part: `mixed-0` for `mixed-0.1`; other names are returned unchanged."""
    return re.sub(r"(-\d+)\.\d+(?=@|$)", r"\1", name)


def engine_count(names: Sequence[str]) -> int:
    """The number of engines; the parts of an engine count once."""
    return len({whole_engine(name) for name in names})


def engine_words(names: Sequence[str]) -> str:
    """`3 engines`, or `1 engine in 2 parts` for the parts of an engine."""
    count = engine_count(names)
    parts = f" in {len(names)} parts" if len(names) > count else ""
    return f"{counted(count, 'engine')}{parts}"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The nodes of each group, in rank order; a group can have fewer nodes than it needs."""

    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Groups that the operator gave another size than the layout."""
    copies: Mapping[str, str] = field(default_factory=dict)
    """Groups that `scale` added: name → the group of the layout that they copy."""

    def of(self, group: str) -> tuple[str, ...]:
        """The nodes of a group, the node of rank 0 first."""
        return self.nodes.get(group, ())

    def group_of(self, node: str) -> str | None:
        """The first group that has the node, or None."""
        return next((group for group, members in self.nodes.items() if node in members), None)


@dataclass(frozen=True, slots=True)
class Rank:
    """One `vllm serve` process: its node and its place in the group.

    With internal balance and several ranks per node one process runs `local_size` data-parallel ranks from `dp_rank` on.
    An engine that spans nodes has one process on each node: its parts. Only the first part can have an HTTP server.
    """

    id: str
    """`GROUP-DPRANK`; for the second and later parts of an engine `GROUP-DPRANK.PART`."""
    node: str
    group: str
    role: RankRole
    dp_rank: int
    local_rank: int
    """Index of this process among the processes of the group on its node."""
    local_size: int
    dp_size: int
    devices: tuple[int, ...]
    port: int | None
    """HTTP port; None when headless."""
    headless: bool
    address: str
    """Service address of its node; empty while it is unknown."""
    dp_address: str
    """Service address of the node of rank 0 of the group."""
    rpc_port: int
    position: int = 0
    """Position of its node in the group, from 0; for engines that span nodes this is the node rank of vLLM."""
    part: int = 0
    """Number of this part of the engine, from 0."""
    parts: int = 1
    """Number of nodes that the engine spans."""


@dataclass(frozen=True, slots=True)
class Command:
    """The command of one rank: exported variables and argv."""

    env: Mapping[str, str]
    argv: tuple[str, ...]


EVERY = "all"
"""As the name of an engine it means all engines, unless a group has this name."""


@dataclass(frozen=True)
class Deployment:
    """A cluster, a layout and an assignment. The ranks are computed from them once, because they are used very often."""

    cluster: Cluster
    layout: Layout
    """The layout with the group sizes of the assignment; the copies of a group follow the group."""
    assignment: Assignment

    def __post_init__(self) -> None:
        object.__setattr__(self, "layout", self.layout.shaped(self.assignment.shapes, self.assignment.copies))

    @property
    def name(self) -> str:
        """The name of the deployment and of its directory below `$BASE` on nodes."""
        return self.layout.name

    @property
    def copies(self) -> Mapping[str, str]:
        """Groups that are copies, by `count` of the layout or added by `scale`: name → the group of the layout file."""
        return {**self.assignment.copies, **self.layout.counted}

    def like(self, group: str) -> str:
        """The group of the layout file that a group is a copy of; the group itself when it is not a copy."""
        return self.copies.get(group, group)

    def node(self, name: str) -> Node:
        """The node with that name. Raises KeyError when the cluster does not have it."""
        return self.cluster.nodes[name]

    def address(self, node: str) -> str:
        """The service address of a node: `ip`, else `host`; empty for an unknown node."""
        found = self.cluster.nodes.get(node)
        return (found.ip or found.host) if found else ""

    def complete(self) -> bool:
        """Whether every group has all its nodes."""
        return all(len(self.assignment.of(name)) == group.nodes for name, group in self.layout.groups.items())

    def ranks(self) -> tuple[Rank, ...]:
        """Every rank of every group that has nodes, in layout order then rank order."""
        return self._ranks

    @cached_property
    def _ranks(self) -> tuple[Rank, ...]:
        return tuple(rank for name, group in self.layout.groups.items() for rank in self._group_ranks(name, group))

    def engines_named(self, words: Iterable[str], every: Sequence[str], seen: Container[str] = ()) -> tuple[str, ...]:
        """The engines that the words name, each once: an engine id, a group for its engines, or `all` for `every`.

        `seen` are ids of engines that run on nodes but are not in the plan. Raises UsageError for an unknown word.
        """
        groups: dict[str, list[str]] = {name: [] for name in self.layout.groups}
        for rank in self.ranks():
            groups[rank.group].append(rank.id)
        named = {EVERY: [*every], **groups}
        words = tuple(words)
        known = {*every, *(each for members in groups.values() for each in members)}
        if unknown := [each for each in words if each not in named and each not in known and each not in seen]:
            some = list_text([shortened(each, 40) for each in every], 6)
            names = ", ".join(groups)
            raise UsageError(
                f"no engine {' and no engine '.join(map(repr, unknown))} in this deployment",
                hint="; ".join(filter(None, (f"engines: {some}", names and f"groups: {names}", f"or `{EVERY}`"))),
            )
        return tuple(dict.fromkeys(each for word in words for each in named.get(word, [word])))

    def service_ranks(self) -> tuple[Rank, ...]:
        """The services beside the engines as ranks, which start, stop and log like engines; only those with a known node."""
        found = []
        for name, service in self.layout.services.items():
            node = self._place(service.node)
            if node is not None:
                address = self.address(node)
                port = service.port or service.health.port
                found.append(Rank(name, node, name, "service", 0, 0, 1, 1, (), port, False, address, address, 0))
        return tuple(found)

    def processes(self) -> tuple[Rank, ...]:
        """All processes of the deployment in the order of a start: services, engines, the proxy."""
        return self._processes

    @cached_property
    def _processes(self) -> tuple[Rank, ...]:
        proxy = self.proxy_rank()
        return (*self.service_ranks(), *self.ranks(), *((proxy,) if proxy else ()))

    def proxy_rank(self) -> Rank | None:
        """The proxy as a rank, so that it starts, stops and logs like an engine; None without a proxy or its node."""
        proxy = self.layout.proxy
        node = self._place(proxy.node) if proxy else None
        if proxy is None or node is None:
            return None
        address = self.address(node)
        return Rank("proxy", node, "proxy", "proxy", 0, 0, 1, 1, (), proxy.port, False, address, address, 0)

    def _place(self, wanted: str) -> str | None:
        """The node for `GROUP/INDEX`, for a node name, or for an empty text (first node of the first group), or None."""
        if wanted in self.cluster.nodes:
            return wanted
        group, _, index = (wanted or next(iter(self.layout.groups))).partition("/")
        members = self.assignment.of(group)
        position = int(index) if index.isdecimal() else 0
        return members[position] if position < len(members) else None

    def _group_ranks(self, name: str, group: Group) -> Iterator[Rank]:
        members = self.assignment.of(name)
        if not members:
            return
        parallel = group.data_parallel
        external = parallel.balance == "external"
        processes = parallel.per_node if external else 1
        local_size = 1 if external else parallel.per_node
        width = group.devices_on_node // processes
        head = self.address(members[0])
        for position, node in enumerate(members):
            engine, part = divmod(position, group.nodes_per_engine)
            for local in range(processes):
                dp_rank = engine * parallel.per_node + local
                first = group.first_device + local * width
                port = group.first_port(position) + local
                headless = part > 0 or (parallel.balance == "internal" and engine > 0)
                yield Rank(
                    id=f"{name}-{dp_rank}" + (f".{part}" if part else ""),
                    node=node,
                    group=name,
                    role=group.role,
                    dp_rank=dp_rank,
                    local_rank=local,
                    local_size=local_size,
                    dp_size=parallel.size,
                    devices=tuple(range(first, first + width)) if self._has_devices(node) else (),
                    port=None if headless else port,
                    headless=headless,
                    address=self.address(node),
                    dp_address=head,
                    rpc_port=parallel.rpc_port,
                    position=position,
                    part=part,
                    parts=group.nodes_per_engine,
                )

    def _has_devices(self, node: str) -> bool:
        found = self.cluster.nodes.get(node)
        return found is None or found.hardware.devices > 0
