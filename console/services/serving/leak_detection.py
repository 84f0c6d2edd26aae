"""Detects memory that only grows while an engine serves, on its NPUs and its host. Pure.

Engines take their NPU memory at the start, so later growth is a leak. Load changes the figures, but hardly the minimum of
each hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from console.model.role import BESIDE_ENGINES
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState, NodeSnapshot

HOUR_S = 3600.0
HOURS = 6
"""Number of consecutive hours with growth."""
HBM_MIB = 256
HOST_MIB = 2048
"""Minimum growth from hour to hour that counts."""
FACT = "memory-grows"


@dataclass(slots=True)
class _Series:
    """The minimum of each hour, the current hour last."""

    least: list[int] = field(default_factory=list)
    began: float = 0.0

    def add(self, value: int, now: float) -> None:
        """Add a value at `now` (seconds)."""
        if not self.least or now - self.began >= HOUR_S:
            self.least = [*self.least, value][-HOURS - 2 :]
            self.began = now
        self.least[-1] = min(self.least[-1], value)

    def growth(self, step: int) -> int | None:
        """MiB over the last HOURS whole hours when each has grown by `step` or more, else None."""
        whole = self.least[:-1][-HOURS - 1 :]
        if len(whole) <= HOURS or any(after - before < step for before, after in pairwise(whole)):
            return None
        return whole[-1] - whole[0]


class LeakDetector:
    """Keeps the memory history of serving runs; forgets a run that ends."""

    def __init__(self) -> None:
        self._hbm: dict[tuple[str, str], _Series] = {}
        self._host: dict[tuple[str, str], _Series] = {}

    def feed(self, snapshot: ClusterSnapshot) -> None:
        """Add the memory use of a snapshot."""
        serving = {
            (each.id, each.run): each
            for each in snapshot.engines.values()
            if each.run is not None
            and each.role not in BESIDE_ENGINES
            and each.state in (EngineState.READY, EngineState.DEGRADED)
        }
        for kept in (self._hbm, self._host):
            for key in [key for key in kept if key not in serving]:
                del kept[key]
        for key, engine in serving.items():
            node = snapshot.nodes.get(engine.node)
            if node is not None:
                self._take(self._hbm, key, _hbm(engine, node), snapshot.at)
                self._take(self._host, key, _host(node), snapshot.at)

    def _take(self, kept: dict[tuple[str, str], _Series], key: tuple[str, str], value: int | None, now: float) -> None:
        if value is not None:
            kept.setdefault(key, _Series()).add(value, now)

    def facts(self, engines: Mapping[str, EngineSnapshot]) -> Iterator[tuple[str, str, str]]:
        """(fact, engine, observation); growth of a host is reported once, for its first engine."""
        told: set[str] = set()
        for (name, _), series in self._hbm.items():
            if (more := series.growth(HBM_MIB)) is not None:
                yield FACT, name, f"its NPUs hold {more} MiB more than {HOURS} hours ago, and more in every hour"
        for (name, _), series in self._host.items():
            node = engines[name].node if name in engines else ""
            more = series.growth(HOST_MIB)
            if more is not None and node not in told:
                told.add(node)
                yield (
                    FACT,
                    name,
                    f"{node} has {more} MiB less free memory than {HOURS} hours ago, and less in every hour",
                )


def _hbm(engine: EngineSnapshot, node: NodeSnapshot) -> int | None:
    used = [each.hbm_used_mib for each in node.devices if each.id in engine.devices]
    known = [each for each in used if each is not None]
    return sum(known) if known and len(known) == len(used) else None


def _host(node: NodeSnapshot) -> int | None:
    total, free = node.system.memory_total_mib, node.system.memory_available_mib
    return None if total is None or free is None else total - free
