"""Reads the `/metrics` of vLLM: load, cache use and speed per data-parallel rank and in total.

Speeds, hit rates and percentiles need two scrapes of the same server. Metric names are those of vLLM 0.21
(v1/metrics/loggers.py, v1/spec_decode/metrics.py) and their older names. Does not fetch and has no thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from console.model.series import known_sum

_GAUGES = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv",
}
_COUNTERS = {
    "vllm:prompt_tokens_total": "prompt",
    "vllm:generation_tokens_total": "generation",
    "vllm:num_preemptions_total": "preemptions",
    "vllm:prefix_cache_queries_total": "prefix_queries",
    "vllm:prefix_cache_hits_total": "prefix_hits",
    "vllm:spec_decode_num_draft_tokens_total": "draft_tokens",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted_tokens",
}
_HISTOGRAMS = {
    "vllm:time_to_first_token_seconds": "ttft",
    "vllm:inter_token_latency_seconds": "itl",
    "vllm:request_time_per_output_token_seconds": "tpot",
    "vllm:e2e_request_latency_seconds": "e2e",
    "vllm:request_queue_time_seconds": "queue",
}
_REASONS = "vllm:num_requests_waiting_by_reason"
_FINISHED = "vllm:request_success_total"
_CREATED = "vllm:generation_tokens_created"
_PARTS = {f"{name}{end}": (word, end) for name, word in _HISTOGRAMS.items() for end in ("_bucket", "_sum", "_count")}
_OLD = {
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
} | {
    f"vllm:time_per_output_token_seconds{end}": f"vllm:inter_token_latency_seconds{end}"
    for end in ("_bucket", "_sum", "_count")
}
"""Names before 0.9 and 0.11 → current names. Releases in between have both names for the same metric."""
_WANTED = frozenset((*_GAUGES, *_COUNTERS, *_PARTS, *_OLD, _REASONS, _FINISHED, _CREATED))


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
    text: int | None = field(default=None, compare=False)
    """Hash of the lines: an idle engine returns the same lines every time."""


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


def parse_metrics(data: bytes, at: float, before: Scrape | None = None) -> Scrape:
    """The engines of an answer. Never raises. An incomplete last line is skipped; a broken line makes the answer unreadable.

    The last of duplicate samples counts. `before` is the previous answer of the same server: equal lines are not parsed again.
    """
    wanted = _wanted_lines(data)
    digest = hash(wanted)
    if before is not None and before.text == digest:
        return replace(before, at=at)
    try:
        samples = _renamed({(each.name, *sorted(each.labels.items())): each for each in _samples(wanted)}.values())
    except (ValueError, IndexError, KeyError, TypeError) as problem:
        return Scrape(at, error=f"the metrics cannot be read: {str(problem)[:100]}")
    engines: dict[str, list[Sample]] = {}
    for sample in samples:
        if math.isfinite(sample.value) and not sample.labels.keys().isdisjoint(("engine", "model_name")):
            engines.setdefault(sample.labels.get("engine", "0"), []).append(sample)
    if not engines:
        return Scrape(at, error="the answer contains no vLLM metrics")
    model = next((sample.labels["model_name"] for sample in samples if "model_name" in sample.labels), "")
    parsed = {name: _engine(found) for name, found in sorted(engines.items(), key=_natural)}
    return Scrape(at, parsed, model, text=digest)


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


def _wanted_lines(data: bytes) -> str:
    text = data[: data.rfind(b"\n") + 1].decode("utf-8", "replace")
    return "\n".join(line for line in text.split("\n") if line.startswith("vllm:") and _name(line) in _WANTED)


def _samples(wanted: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(wanted + "\n"):
        yield from family.samples


def _renamed(samples: Iterable[Sample]) -> list[Sample]:
    """Samples with old names under their current names, unless the current names exist too."""
    found = list(samples)
    names = {each.name for each in found}
    return [
        each._replace(name=_OLD.get(each.name, each.name))
        for each in found
        if each.name not in _OLD or _OLD[each.name] not in names
    ]


def _name(line: str) -> str:
    return line.split("{", 1)[0].split(" ", 1)[0]


def _natural(item: tuple[str, object]) -> tuple[int, str]:
    return (int(item[0]) if item[0].isascii() and item[0].isdecimal() and len(item[0]) < 9 else -1, item[0])


def _engine(samples: list[Sample]) -> EngineScrape:
    gauges: dict[str, float] = {}
    counters: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    created = None
    for name, labels, value in ((each.name, each.labels, each.value) for each in samples):
        if name in _GAUGES:
            key = _GAUGES[name]
            gauges[key] = max(gauges.get(key, 0.0), value) if key == "kv" else gauges.get(key, 0.0) + value
        elif name == _REASONS:
            gauges[labels.get("reason", "")] = gauges.get(labels.get("reason", ""), 0.0) + value
        elif name in _COUNTERS:
            counters[_COUNTERS[name]] = counters.get(_COUNTERS[name], 0.0) + value
        elif name == _FINISHED:
            key = f"finished:{labels.get('finished_reason', '')}"
            counters[key] = counters.get(key, 0.0) + value
        elif name == _CREATED:
            created = value
        else:
            word, part = _PARTS[name]
            if part == "_bucket":
                bound = float(labels["le"]) if _is_bound(labels.get("le", "")) else math.nan
                buckets.setdefault(word, {})[bound] = buckets.get(word, {}).get(bound, 0.0) + value
            else:
                kept = sums if part == "_sum" else counts
                kept[word] = kept.get(word, 0.0) + value
    whole = {
        word: Histogram(tuple(sorted(each.items())), sums[word])
        for word, each in buckets.items()
        if word in sums and math.inf in each and each[math.inf] == counts.get(word) and _growing(each)
    }
    return EngineScrape(gauges, counters, whole, created)


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


def _is_bound(text: str) -> bool:
    return text == "+Inf" or (
        text.replace(".", "", 1).replace("e-", "", 1).isdecimal() and text.isascii() and len(text) < 30
    )


def _share(counts: Mapping[str, float], part: str, whole: str) -> float | None:
    return counts[part] / counts[whole] if counts.get(whole) and part in counts else None


def _rate(grown: float | None, seconds: float) -> float | None:
    return None if grown is None else grown / seconds


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
