"""A deployment: a cluster, a layout and which node runs which group, and the data-parallel ranks that follow from it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from console.model.cluster import Cluster, Node
from console.model.errors import UsageError
from console.model.layout import Group, Layout, Shape
from console.model.role import RankRole
from console.model.shortening import shortened


def is_address(text: str) -> bool:
    """Whether the text is an IP address, not a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def whole_engine(name: str) -> str:
    """The engine that a part belongs to: `mixed-0` of `mixed-0.1`; any other name as it is."""
    return re.sub(r"(-\d+)\.\d+(?=@|$)", r"\1", name)


def engine_count(names: Sequence[str]) -> int:
    """How many engines these are; the parts of one count once."""
    return len({whole_engine(name) for name in names})


def engine_words(names: Sequence[str]) -> str:
    """`3 engines`, or `1 engine in 2 parts` where some of these are parts of one."""
    count = engine_count(names)
    parts = f" in {len(names)} parts" if len(names) > count else ""
    return f"{count} engine{'' if count == 1 else 's'}{parts}"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which nodes run which group, in rank order; a group may have fewer nodes than it needs while the operator works."""

    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Groups the operator gave another size than their layout says."""
    copies: Mapping[str, str] = field(default_factory=dict)
    """Groups that were added while serving: name → the group of the layout they are like."""

    def of(self, group: str) -> tuple[str, ...]:
        """The nodes of a group, rank 0's node first."""
        return self.nodes.get(group, ())

    def group_of(self, node: str) -> str | None:
        """The first group that has the node, or None."""
        return next((group for group, members in self.nodes.items() if node in members), None)


@dataclass(frozen=True, slots=True)
class Rank:
    """One `vllm serve` process: where it runs and which part of its group it is.

    With internal balance and several ranks per node one process carries `local_size` data-parallel ranks from `dp_rank` on.
    An engine that spans nodes has a process on each of them: its parts. Only the first part can have a server.
    """

    id: str
    """`GROUP-DPRANK`; of a further part of an engine `GROUP-DPRANK.PART`."""
    node: str
    group: str
    role: RankRole
    dp_rank: int
    local_rank: int
    """Index of this process among the group's processes on its node."""
    local_size: int
    dp_size: int
    devices: tuple[int, ...]
    port: int | None
    """HTTP port; None when headless."""
    headless: bool
    address: str
    """Service address of its node; may be empty while unknown."""
    dp_address: str
    """Service address of the node that carries rank 0 of the group."""
    rpc_port: int
    position: int = 0
    """Of its node in the group, from 0; in a group whose engines span nodes this is vLLM's node rank."""
    part: int = 0
    """Which part of its engine it is, from 0."""
    parts: int = 1
    """Nodes that its engine spans."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is run for one rank: the variables exported before it and its words."""

    env: Mapping[str, str]
    argv: tuple[str, ...]


EVERY = "all"
"""Typed where engines are named, it means every engine, unless a group has that name."""


@dataclass(frozen=True)
class Deployment:
    """Cluster + layout + assignment; everything else is computed from it, and the ranks only once: hundreds of engines ask."""

    cluster: Cluster
    layout: Layout
    """Its groups in the shapes the assignment gives them, copies of them behind each."""
    assignment: Assignment

    def __post_init__(self) -> None:
        object.__setattr__(self, "layout", self.layout.shaped(self.assignment.shapes, self.assignment.copies))

    @property
    def name(self) -> str:
        """Name of the deployment and of its directory under `$BASE` on the nodes."""
        return self.layout.name

    @property
    def copies(self) -> Mapping[str, str]:
        """The groups that are copies of one in the layout's file, by its `count` or added while serving: name → that group."""
        return {**self.assignment.copies, **self.layout.counted}

    def like(self, group: str) -> str:
        """The group of the layout's file that a group is a copy of; the group itself when it stands there."""
        return self.copies.get(group, group)

    def node(self, name: str) -> Node:
        """The node of that name; KeyError when the cluster has none."""
        return self.cluster.nodes[name]

    def address(self, node: str) -> str:
        """Service address of a node: `ip`, else `host`."""
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
        """The engines that words mean: an engine by its id, a group for its engines, `all` for `every`; each once.

        `seen` are ids of engines that are there besides the planned ones. Raises UsageError for words nobody has.
        """
        groups: dict[str, list[str]] = {name: [] for name in self.layout.groups}
        for rank in self.ranks():
            groups[rank.group].append(rank.id)
        named = {EVERY: [*every], **groups}
        words = tuple(words)
        known = {*every, *(each for members in groups.values() for each in members)}
        if unknown := [each for each in words if each not in named and each not in known and each not in seen]:
            some = ", ".join(shortened(each, 40) for each in every[:6])
            names = ", ".join(groups)
            more = " …" if len(every) > 6 else ""
            raise UsageError(
                f"no engine {' and no engine '.join(map(repr, unknown))} in this deployment",
                hint="; ".join(
                    filter(None, (f"there are: {some}{more}", names and f"groups: {names}", f"or `{EVERY}`"))
                ),
            )
        return tuple(dict.fromkeys(each for word in words for each in named.get(word, [word])))

    def service_ranks(self) -> tuple[Rank, ...]:
        """The services beside the engines as something to launch, stop and log like them; those whose node is known."""
        found = []
        for name, service in self.layout.services.items():
            node = self._place(service.node)
            if node is not None:
                address = self.address(node)
                port = service.port or service.health.port
                found.append(Rank(name, node, name, "service", 0, 0, 1, 1, (), port, False, address, address, 0))
        return tuple(found)

    def processes(self) -> tuple[Rank, ...]:
        """All that is launched, in the order of a start: services, engines, the proxy."""
        return self._processes

    @cached_property
    def _processes(self) -> tuple[Rank, ...]:
        proxy = self.proxy_rank()
        return (*self.service_ranks(), *self.ranks(), *((proxy,) if proxy else ()))

    def proxy_rank(self) -> Rank | None:
        """The proxy as something to launch, stop and log like an engine; None without one or before its node is known."""
        proxy = self.layout.proxy
        node = self._place(proxy.node) if proxy else None
        if proxy is None or node is None:
            return None
        address = self.address(node)
        return Rank("proxy", node, "proxy", "proxy", 0, 0, 1, 1, (), proxy.port, False, address, address, 0)

    def _place(self, wanted: str) -> str | None:
        """The node that `GROUP/INDEX`, a node's name or nothing (the first group's first node) stands for; None while unknown."""
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
