"""Pings between the NPUs of all nodes, in portions, and builds a matrix of the results.

A2 devices ping over RoCE, A3 dies over the vNIC plane of their super pod (vllm-ascend, verify multi-node communication).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from console.model.errors import ConsoleError
from console.model.hardware import kind_of
from console.probes.check_types import NodeRequirements, Result
from console.probes.checks_npu import pinged
from console.probes.hccn import DeviceNet, Ping, parse_pings, ping_probe
from console.remote.link import NodeLink

PORTION = 16
"""Pings in one request: the progress is reported after each, and a lost link loses at most one."""
PING_S = 2.0
"""Duration of one ping of three packets on a healthy network, for the estimate before the first answer."""


@dataclass(frozen=True, slots=True)
class PingRoute:
    """One planned ping."""

    node: str
    device: int
    peer: str
    peer_device: int
    address: str


@dataclass(frozen=True, slots=True)
class PingResults:
    """The results of all pings."""

    nodes: tuple[str, ...]
    pings: tuple[tuple[PingRoute, Ping], ...]
    results: tuple[Result, ...]
    full: bool = False

    def cell(self, node: str, peer: str) -> str:
        """`good/all` from one node to another, with `?` when some are unknown; `-` for itself, `.` without pings."""
        if node == peer:
            return "-"
        found = [ping for way, ping in self.pings if (way.node, way.peer) == (node, peer)]
        if not found:
            return "."
        unsure = "?" if any(ping.ok is None for ping in found) else ""
        return f"{sum(ping.ok is True for ping in found)}/{len(found)}{unsure}"

    def matrix(self) -> tuple[tuple[str, ...], ...]:
        """The matrix, rows are sources and columns are targets; the first row has the column names."""
        head = ("from \\ to", *self.nodes)
        return (head, *((node, *(self.cell(node, peer) for peer in self.nodes)) for node in self.nodes))


def ping_routes(
    wanted: Mapping[str, NodeRequirements], networks: Mapping[str, Mapping[int, DeviceNet]], *, full: bool
) -> Iterator[PingRoute]:
    """Every ping between nodes of equal hardware with known device addresses.

    Sparse: each device to the device of the same number on every other node. Full: to every device there.
    """
    for node, mine in networks.items():
        for peer, theirs in networks.items():
            if node == peer or wanted[node].hardware != wanted[peer].hardware:
                continue
            for device in sorted(mine):
                for other, net in sorted(theirs.items()):
                    hccs = kind_of(wanted[peer].hardware).plane == "hccs"
                    address = net.vnic_address if hccs else net.address
                    if address and (full or other == device):
                        yield PingRoute(node, device, peer, other, address)


async def ping_all(
    links: Mapping[str, NodeLink],
    wanted: Mapping[str, NodeRequirements],
    networks: Mapping[str, Mapping[int, DeviceNet]],
    *,
    full: bool,
    report: Callable[[str], None],
) -> PingResults:
    """Ping from all nodes in parallel, on each node one after the other; `report` receives the progress and the remaining
    time.
    """
    plan: dict[str, list[PingRoute]] = {node: [] for node in networks}
    for way in ping_routes(wanted, networks, full=full):
        plan[way.node].append(way)
    progress = _Progress(plan, report)
    planes = {node: kind_of(each.hardware).plane for node, each in wanted.items()}
    done = await asyncio.gather(
        *(_of_node(links[node], mine, planes[node] == "hccs", progress) for node, mine in plan.items())
    )
    found = dict(zip(plan, done, strict=True))
    several = len(wanted) > 1
    judged = tuple(
        pinged((ping for _, ping in found.get(node, ())), each)
        for node, each in wanted.items()
        if several and planes[node] and each.devices
    )
    return PingResults(tuple(wanted), tuple(pair for each in done for pair in each), judged, full)


async def _of_node(
    link: NodeLink, mine: Sequence[PingRoute], hccs: bool, progress: _Progress
) -> tuple[tuple[PingRoute, Ping], ...]:
    found: list[tuple[PingRoute, Ping]] = []
    for begin in range(0, len(mine), PORTION):
        portion = mine[begin : begin + PORTION]
        probe = ping_probe([(way.device, way.address) for way in portion], hccs=hccs)
        trouble = "no result"
        said: dict[tuple[int | None, str], Ping] = {}
        try:
            sample = await link.run_command(probe.argv, probe.timeout_s)
            said = {(ping.device, ping.peer): ping for ping in parse_pings(sample.stdout)}
        except ConsoleError as error:
            trouble = str(error)
        found += [
            (way, said.get((way.device, way.address)) or Ping(way.device, way.address, failure=trouble))
            for way in portion
        ]
        progress.step(link.node.name, len(portion))
    return tuple(found)


class _Progress:
    """Counts pings and estimates the remaining time."""

    def __init__(self, plan: Mapping[str, Sequence[PingRoute]], report: Callable[[str], None]) -> None:
        self._left = {node: len(mine) for node, mine in plan.items()}
        self._all = sum(self._left.values())
        self._report = report
        self._began = asyncio.get_running_loop().time()
        most = max(self._left.values(), default=0)
        if self._all:
            report(f"{self._all} pings between NPUs, about {most * PING_S:.0f} s")

    def step(self, node: str, count: int) -> None:
        """Add `count` finished pings of a node."""
        self._left[node] -= count
        done = self._all - sum(self._left.values())
        took = asyncio.get_running_loop().time() - self._began
        rest = took / done * (self._all - done)
        self._report(f"{done} of {self._all} pings, about {rest:.0f} s left")
