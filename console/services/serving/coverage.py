"""Decides which data-parallel ranks a verification reached: by answers at their ports and by counts in `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.model.name_ranges import in_order, name_ranges
from console.model.snapshot import EngineSnapshot
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.serving.rank_targets import RankTarget
from console.services.serving.request_auth import client

SCRAPE_S = 5.0


@dataclass(frozen=True, slots=True)
class RankProof:
    """The result of one rank."""

    id: str
    engine: str
    """The process that runs it."""
    answered: bool | None
    """None when no request reached it, or that is unknown."""
    why: str = ""
    """What was wrong with its answer, or why no request reached it."""
    unreachable: bool = False
    """Whether its node is unreachable or allows no requests."""


async def rank_counters(
    monitor: Monitor, links: Mapping[str, NodeLink], servers: Sequence[EngineSnapshot]
) -> dict[str, Mapping[str, float]]:
    """Rank -> its counters by name; ranks without readable metrics are missing."""

    async def read(engine: EngineSnapshot) -> dict[str, Mapping[str, float]]:
        address = monitor.deployment.address(engine.node) or "127.0.0.1"
        http = client(links[engine.node], monitor.deployment.layout, engine.group)
        scrape = await http.metrics(address, engine.port or 0, SCRAPE_S)
        return {f"{engine.group}-{label}": each.counters for label, each in scrape.engines.items()}

    found: dict[str, Mapping[str, float]] = {}
    for part in await asyncio.gather(*(read(engine) for engine in servers)):
        found.update(part)
    return found


async def finished_requests(
    monitor: Monitor, links: Mapping[str, NodeLink], servers: Sequence[EngineSnapshot]
) -> dict[str, float]:
    """Rank -> number of finished requests; ranks without readable metrics are missing."""
    return {name: finished(each) for name, each in (await rank_counters(monitor, links, servers)).items()}


def finished(counters: Mapping[str, float]) -> float:
    """The number of finished requests that the counters of a rank show."""
    return sum(value for name, value in counters.items() if name.startswith("finished:"))


def was_reached(target: RankTarget, before: Mapping[str, float], after: Mapping[str, float]) -> bool | None:
    """Whether a rank behind a server with several ranks finished a request meanwhile; None when unknown."""
    if target.id not in before or target.id not in after:
        return None
    return after[target.id] > before[target.id]


def coverage_words(ranks: Sequence[RankProof]) -> str:
    """`4 of 4 ranks answered`, and the others: those whose answer was wrong, and those not covered, with the reason."""
    parts = [f"{sum(bool(each.answered) for each in ranks)} of {len(ranks)} ranks answered"]
    failed = [each.id for each in ranks if each.answered is False]
    parts += [f"failed: {name_ranges(in_order(failed))}"] if failed else []
    missed = (each for each in by_outcome(ranks) if each.answered is None)
    words = [f"{name_ranges(each.ranks)} ({each.why})" if each.why else name_ranges(each.ranks) for each in missed]
    return "; ".join([*parts, *([f"not covered: {', '.join(words)}"] if words else [])])


@dataclass(frozen=True, slots=True)
class RankOutcome:
    """Ranks with the same outcome."""

    answered: bool | None
    why: str
    ranks: tuple[str, ...]
    """Sorted by name and number."""


def by_outcome(ranks: Sequence[RankProof]) -> tuple[RankOutcome, ...]:
    """Ranks by outcome: first those that failed, then those not covered, then those that answered."""
    found: dict[tuple[bool | None, str], list[str]] = {}
    for each in ranks:
        found.setdefault((each.answered, each.why), []).append(each.id)
    outcomes = (RankOutcome(answered, why, tuple(in_order(names))) for (answered, why), names in found.items())
    return tuple(sorted(outcomes, key=lambda each: (False, None, True).index(each.answered)))
