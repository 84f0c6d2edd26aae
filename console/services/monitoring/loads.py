"""Assigns metrics to ranks and sums them for groups and the deployment. Pure; `serving.metrics` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from console.model.deployment import Rank
from console.model.series import summed
from console.model.snapshot import Serving
from console.probes.metrics import Load, together
from console.services.monitoring.records import RunRecord, TokenRates

FRESH_S = 45.0
"""Metrics older than this are not shown; they are read every 10 s."""

Part = tuple[float, Load, Sequence[TokenRates]]
"""When it was read, what it says, and the tokens per second before."""


class Loads:
    """Computes metrics of engines, groups and the deployment; a sum is computed again only when one of its parts changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[Part, ...], Serving]] = {}

    def serving(
        self, ranks: Sequence[Rank], records: Mapping[str, RunRecord], now: float
    ) -> tuple[dict[str, Serving], dict[str, Serving]]:
        """Metrics read within FRESH_S: (by engine id, by group; the empty name is the deployment).

        With internal balance the server on node 0 reports all ranks; metrics of headless ranks are assigned to those ranks.
        """
        parts: dict[str, list[Part]] = {}
        headless = [rank for rank in ranks if rank.headless and not rank.part]
        for rank in ranks:
            record = records.get(rank.id)
            scrape = record.metrics.scrape if record else None
            if record is None or scrape is None or now - scrape.at > FRESH_S:
                continue
            for label, load in record.metrics.loads.items():
                owner = _owner(rank, label, headless)
                parts.setdefault(owner, []).append((scrape.at, load, record.metrics.history.get(label, ())))
        groups: dict[str, list[Part]] = {}
        for rank in ranks:
            groups.setdefault(rank.group, []).extend(parts.get(rank.id, ()))
            groups.setdefault("", []).extend(parts.get(rank.id, ()))
        known: dict[str, tuple[tuple[Part, ...], Serving]] = {}
        single = {name: self._sum(f"engine {name}", found, known) for name, found in parts.items()}
        grouped = {name: self._sum(f"group {name}", found, known) for name, found in groups.items() if found}
        self._known = known
        return single, grouped

    def _sum(self, name: str, found: list[Part], known: dict[str, tuple[tuple[Part, ...], Serving]]) -> Serving:
        parts, seen = self._known.get(name, ((), None))
        if seen is None or not _same(parts, found, 1):
            seen = _serving(found)
        elif not _same(parts, found, 0):  # an idle server was read again
            seen = replace(seen, **_moments(found))
        known[name] = tuple(found), seen
        return seen


def _same(before: Sequence[Part], after: Sequence[Part], place: int) -> bool:
    """Whether parts are unchanged in one place: 0 their time, 1 what they say."""
    return len(before) == len(after) and all(one[place] is each[place] for one, each in zip(before, after, strict=True))


def _moments(parts: Sequence[Part]) -> dict[str, Any]:
    """What moves on with each scrape, also of an idle server."""
    return {
        "at": min(at for at, _, _ in parts),
        "prompt_history": summed([[rates[0] for rates in history] for _, _, history in parts]),
        "history": summed([[rates[1] for rates in history] for _, _, history in parts]),
    }


def _owner(scraped: Rank, label: str, headless: Iterable[Rank]) -> str:
    number = int(label) if label.isascii() and label.isdecimal() and len(label) < 9 else -1
    return next(
        (rank.id for rank in headless if rank.group == scraped.group and 0 <= number - rank.dp_rank < rank.local_size),
        scraped.id,
    )


def _serving(parts: Sequence[Part]) -> Serving:
    load = together(each for _, each, _ in parts)
    return Serving(
        **_moments(parts),
        running=load.running,
        waiting=load.waiting,
        deferred=load.deferred,
        kv_usage=load.kv_usage,
        prompt_tokens_s=load.prompt_tokens_s,
        generation_tokens_s=load.generation_tokens_s,
        requests_s=load.requests_s,
        failed_s=load.failed_s,
        preemptions_s=load.preemptions_s,
        prefix_hit=load.prefix_hit,
        acceptance=load.acceptance,
        ttft_s=_percentiles(load, "ttft"),
        itl_s=_percentiles(load, "itl"),
    )


def _percentiles(load: Load, name: str) -> tuple[float | None, float | None, float | None]:
    return load.percentile(name, 0.5), load.percentile(name, 0.9), load.percentile(name, 0.99)
