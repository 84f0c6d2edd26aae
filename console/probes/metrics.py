"""The load of engines from two scrapes of their metrics: load, cache use and speed per data-parallel rank and in total.

The helper of a node reads the metrics (`console.node.metrics_text`). Speeds, hit rates and percentiles need two scrapes of the
same server. Has no thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from console.model.series import known_sum


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts by upper bound in seconds; the last bound is infinity."""

    buckets: tuple[tuple[float, float], ...] = ()
    total: float = 0.0
    """Sum of all values, seconds."""

    @property
    def count(self) -> float:
        """The number of values."""
        return self.buckets[-1][1] if self.buckets else 0.0

    def percentile(self, share: float) -> float | None:
        """The percentile for a share (0–1) in seconds, linear within a bucket; None without values.

        Above the last finite bound the bound itself is returned, which is then a lower limit.
        """
        if not self.count:
            return None
        rank, below, lower = share * self.count, 0.0, 0.0
        for bound, cumulative in self.buckets:
            if cumulative >= rank and cumulative > below:
                return lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (cumulative - below)
            below, lower = cumulative, lower if math.isinf(bound) else bound
        return lower


@dataclass(frozen=True, slots=True)
class EngineScrape:
    """The raw values of one engine in one scrape; a missing name was not in the answer."""

    gauges: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    created: float | None = None
    """Start time of its counters on the clock of the node; another value means a restart. None with several API servers."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer of one server; with internal balance node 0 reports the engines of all nodes, else each server its own."""

    at: float
    engines: Mapping[str, EngineScrape] = field(default_factory=dict)
    """Label `engine` (the global data-parallel rank) → values; "0" before 0.9, which has no such label."""
    model: str = ""
    error: str = ""
    """Why the answer could not be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one or more engines between two scrapes. None is unknown; a share without a base is unknown too."""

    running: int | None = None
    waiting: int | None = None
    deferred: int | None = None
    """Waiting requests that wait for KV caches of a prefill engine."""
    kv_usage: float | None = None
    """Use of the KV cache, 0–1; for several engines the highest."""
    prompt_tokens_s: float | None = None
    generation_tokens_s: float | None = None
    preemptions_s: float | None = None
    requests_s: float | None = None
    failed_s: float | None = None
    """Requests per second that ended with an error or an abort."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Counter → its growth."""
    latency: Mapping[str, Histogram] = field(default_factory=dict)
    """ttft, itl, tpot, e2e, queue: the values of the interval."""
    restarted: bool = False
    """Whether the counters restarted in between; then rates count only values after the restart."""

    @property
    def prefix_hit(self) -> float | None:
        """Share of prompt tokens that were found in the prefix cache."""
        return _share(self.counts, "prefix_hits", "prefix_queries")

    @property
    def acceptance(self) -> float | None:
        """Share of the draft tokens that the model accepted."""
        return _share(self.counts, "accepted_tokens", "draft_tokens")

    def percentile(self, name: str, share: float) -> float | None:
        """A percentile of a latency (`ttft`, `itl`, `tpot`, `e2e`, `queue`) in seconds; None when nothing finished."""
        found = self.latency.get(name)
        return found.percentile(share) if found else None


def loads(before: Scrape | None, after: Scrape) -> dict[str, Load]:
    """Engine → its load between two scrapes of one server; only gauges without an earlier scrape."""
    result = {}
    seconds = after.at - before.at if before else 0.0
    for name, now in after.engines.items():
        was = before.engines.get(name) if before else None
        load = _moment(now)
        result[name] = _between(load, was, now, seconds) if was is not None and seconds > 0 else load
    return result


def together(parts: Iterable[Load]) -> Load:
    """Several engines as one: sums, the fullest cache, latencies of all requests. A value is unknown when all are unknown."""
    found = list(parts)
    return Load(
        running=_whole(known_sum(each.running for each in found)),
        waiting=_whole(known_sum(each.waiting for each in found)),
        deferred=_whole(known_sum(each.deferred for each in found)),
        kv_usage=max((each.kv_usage for each in found if each.kv_usage is not None), default=None),
        prompt_tokens_s=known_sum(each.prompt_tokens_s for each in found),
        generation_tokens_s=known_sum(each.generation_tokens_s for each in found),
        preemptions_s=known_sum(each.preemptions_s for each in found),
        requests_s=known_sum(each.requests_s for each in found),
        failed_s=known_sum(each.failed_s for each in found),
        counts={
            name: sum(each.counts.get(name, 0.0) for each in found)
            for name in {key for each in found for key in each.counts}
        },
        latency={
            name: _merge([each.latency[name] for each in found if name in each.latency])
            for name in {key for each in found for key in each.latency}
        },
        restarted=any(each.restarted for each in found),
    )


def _moment(now: EngineScrape) -> Load:
    return Load(
        running=_whole(now.gauges.get("running")),
        waiting=_whole(now.gauges.get("waiting")),
        deferred=_whole(now.gauges.get("deferred")),
        kv_usage=now.gauges.get("kv"),
    )


def _between(load: Load, was: EngineScrape, now: EngineScrape, seconds: float) -> Load:
    """The growth of counters as in Prometheus: after a restart it is the whole value."""
    began = {each for each in (was.created, now.created) if each is not None}
    restarted = len(began) > 1 or any(value < was.counters.get(name, 0.0) for name, value in now.counters.items())
    base: Mapping[str, float] = {} if restarted else was.counters
    grown = {name: value - base.get(name, 0.0) for name, value in now.counters.items() if restarted or name in base}
    latency = {}
    for name, values in now.histograms.items():
        earlier = None if restarted else was.histograms.get(name)
        latency[name] = values if restarted else _difference(values, earlier) if earlier else Histogram()
    reasons = [name for name in {**was.counters, **now.counters} if name.startswith("finished:")]
    finished = {name: grown[name] for name in reasons} if all(name in grown for name in reasons) else {}
    failed = [value for name, value in finished.items() if name in ("finished:error", "finished:abort")]
    return replace(
        load,
        prompt_tokens_s=_rate(grown.get("prompt"), seconds),
        generation_tokens_s=_rate(grown.get("generation"), seconds),
        preemptions_s=_rate(grown.get("preemptions"), seconds),
        requests_s=_rate(sum(finished.values()) if finished else None, seconds),
        failed_s=_rate(sum(failed) if finished else None, seconds),
        counts=grown,
        latency=latency,
        restarted=restarted,
    )


def _difference(now: Histogram, was: Histogram) -> Histogram:
    bounds = tuple(bound for bound, _ in now.buckets)
    if bounds != tuple(bound for bound, _ in was.buckets):
        return Histogram()
    grown = tuple((bound, value - before) for (bound, value), (_, before) in zip(now.buckets, was.buckets, strict=True))
    return Histogram(grown, now.total - was.total) if _growing(dict(grown)) else now


def _merge(parts: list[Histogram]) -> Histogram:
    known = [each for each in parts if each.buckets]
    if not known or len({tuple(bound for bound, _ in each.buckets) for each in known}) != 1:
        return Histogram()
    rows = zip(*(each.buckets for each in known), strict=True)
    return Histogram(
        tuple((row[0][0], sum(value for _, value in row)) for row in rows), sum(each.total for each in known)
    )


def _growing(buckets: Mapping[float, float]) -> bool:
    values = [value for _, value in sorted(buckets.items())]
    return bool(values) and values[0] >= 0 and all(one <= other for one, other in pairwise(values))


def _share(counts: Mapping[str, float], part: str, whole: str) -> float | None:
    return counts[part] / counts[whole] if counts.get(whole) and part in counts else None


def _rate(grown: float | None, seconds: float) -> float | None:
    return None if grown is None else grown / seconds


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
