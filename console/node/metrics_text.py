"""Reads the figures that the console uses out of the `/metrics` of vLLM, by data-parallel rank.

Metric names are those of vLLM 0.21 (v1/metrics/loggers.py, v1/spec_decode/metrics.py) and their older names. An engine is not
trusted: every figure is a finite number that is not negative, and every text is bounded. Does not fetch and computes no speeds.
"""

from __future__ import annotations

import math
import re
from typing import Any, Dict, List, Optional, Tuple

GAUGES = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv",
}
COUNTERS = {
    "vllm:prompt_tokens_total": "prompt",
    "vllm:generation_tokens_total": "generation",
    "vllm:num_preemptions_total": "preemptions",
    "vllm:prefix_cache_queries_total": "prefix_queries",
    "vllm:prefix_cache_hits_total": "prefix_hits",
    "vllm:spec_decode_num_draft_tokens_total": "draft_tokens",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted_tokens",
}
HISTOGRAMS = {
    "vllm:time_to_first_token_seconds": "ttft",
    "vllm:inter_token_latency_seconds": "itl",
    "vllm:request_time_per_output_token_seconds": "tpot",
    "vllm:e2e_request_latency_seconds": "e2e",
    "vllm:request_queue_time_seconds": "queue",
}
DEFERRED = "deferred"
"""The reason of waiting requests that wait for KV caches of a prefill engine."""
FINISHED = "finished:"
MAX_RANKS = 1024
MAX_BOUNDS = 128
MAX_REASONS = 16
MAX_WORD = 40
MAX_MODEL = 1000
MAX_VALUE = 2.0**63
_REASONS = "vllm:num_requests_waiting_by_reason"
_FINISHED = "vllm:request_success_total"
_CREATED = "vllm:generation_tokens_created"
_ENDS = ("_bucket", "_sum", "_count")
_PARTS = {name + end: (word, end) for name, word in HISTOGRAMS.items() for end in _ENDS}
_OLD = {
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
}
_OLD.update({"vllm:time_per_output_token_seconds" + end: "vllm:inter_token_latency_seconds" + end for end in _ENDS})
"""Names before 0.9 and 0.11 → current names. Releases in between have both names for the same metric."""
_WANTED = {name.encode("ascii") for name in (*GAUGES, *COUNTERS, *_PARTS, *_OLD, _REASONS, _FINISHED, _CREATED)}
_LINE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]+([^ \t]+)(?:[ \t]+-?[0-9.]+)?[ \t\r]*'
)
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(,|$)')
_ESCAPE = re.compile(r"\\(.)")

Labels = Dict[str, str]
Samples = Dict[Tuple[str, Tuple[Tuple[str, str], ...]], float]


class Unreadable(ValueError):
    """The text is not what vLLM writes."""


def wanted_lines(data: bytes) -> bytes:
    """The lines that are used, without an incomplete last one; an idle server gives the same ones every time."""
    lines = data[: data.rfind(b"\n") + 1].split(b"\n")
    return b"\n".join([line for line in lines if line[:5] == b"vllm:" and _name(line) in _WANTED])


def figures(wanted: bytes) -> Dict[str, Any]:
    """The figures of lines from `wanted_lines`. Raises Unreadable.

    `{"model": NAME, "bounds": {WORD: [SECONDS…]}, "engines": {RANK: {"g": gauges, "c": counters, "h": …, "t": created}}}`
    A histogram is [sum of values, [number of values in each bucket…, above the last bound]]. RANK is the label `engine`, the
    global data-parallel rank, "0" before 0.9.
    """
    engines: Dict[str, List[Tuple[str, Labels, float]]] = {}
    model = ""
    for (name, pairs), value in _renamed(_samples(wanted)).items():
        labels = dict(pairs)
        model = model or labels.get("model_name", "")
        if math.isfinite(value) and ("engine" in labels or "model_name" in labels):
            engines.setdefault(labels.get("engine", "0"), []).append((name, labels, value))
    if not engines:
        raise Unreadable("the answer contains no vLLM metrics")
    if len(engines) > MAX_RANKS or any(len(each) > MAX_WORD for each in engines):
        raise Unreadable("the metrics cannot be read: too many ranks")
    bounds: Dict[str, List[float]] = {}
    ranks = {name: _engine(engines[name], bounds) for name in sorted(engines, key=_natural)}
    return {"model": model[:MAX_MODEL], "bounds": bounds, "engines": ranks}


def _name(line: bytes) -> bytes:
    return line.split(b"{", 1)[0].split(b" ", 1)[0]


def _samples(wanted: bytes) -> Samples:
    """The last value of each series."""
    found: Samples = {}
    for line in wanted.decode("utf-8", "replace").split("\n") if wanted else ():
        taken = _LINE.fullmatch(line)
        try:
            if taken is None:
                raise ValueError("not a sample")
            found[taken.group(1), tuple(sorted(_labels(taken.group(2) or "").items()))] = float(taken.group(3))
        except ValueError:
            raise Unreadable("the metrics cannot be read: %r" % line[:80]) from None
    return found


def _labels(text: str) -> Labels:
    found: Labels = {}
    at = 0
    while at < len(text):
        taken = _LABEL.match(text, at)
        if taken is None:
            raise ValueError("not a label")
        found[taken.group(1)] = _ESCAPE.sub(_unescaped, taken.group(2)) if "\\" in taken.group(2) else taken.group(2)
        at = taken.end()
    return found


def _unescaped(found: "re.Match[str]") -> str:
    return {"n": "\n", "\\": "\\", '"': '"'}.get(found.group(1), found.group(0))


def _renamed(samples: Samples) -> Samples:
    """Samples with old names under their current names, unless the current names exist too."""
    names = {name for name, _ in samples}
    if names.isdisjoint(_OLD):
        return samples
    return {
        (name if _OLD.get(name, name) in names else _OLD.get(name, name), labels): value
        for (name, labels), value in samples.items()
    }


def _natural(name: str) -> Tuple[int, str]:
    return (int(name) if name.isascii() and name.isdecimal() and len(name) < 9 else -1, name)


def _engine(samples: List[Tuple[str, Labels, float]], bounds: Dict[str, List[float]]) -> Dict[str, Any]:
    gauges: Dict[str, float] = {}
    counters: Dict[str, float] = {}
    buckets: Dict[str, Dict[float, float]] = {}
    ends: Dict[Tuple[str, str], float] = {}
    created = None
    for name, labels, value in samples:
        if name in GAUGES:
            word = GAUGES[name]
            gauges[word] = max(gauges.get(word, 0.0), value) if word == "kv" else gauges.get(word, 0.0) + value
        elif name == _REASONS:
            if labels.get("reason") == DEFERRED:
                gauges[DEFERRED] = gauges.get(DEFERRED, 0.0) + value
        elif name in COUNTERS:
            counters[COUNTERS[name]] = counters.get(COUNTERS[name], 0.0) + value
        elif name == _FINISHED:
            word = FINISHED + labels.get("finished_reason", "")[:MAX_WORD]
            if word in counters or len(counters) < len(COUNTERS) + MAX_REASONS:
                counters[word] = counters.get(word, 0.0) + value
        elif name == _CREATED:
            created = value
        elif name in _PARTS:
            word, part = _PARTS[name]
            if part == "_bucket":
                bound = _bound(labels.get("le", ""))
                each = buckets.setdefault(word, {})
                each[bound] = each.get(bound, 0.0) + value
            else:
                ends[word, part] = ends.get((word, part), 0.0) + value
    histograms = {word: _histogram(word, each, ends, bounds) for word, each in buckets.items()}
    whole = {word: each for word, each in histograms.items() if each is not None}
    began = _number(created) if _fits(created) else None
    return {"g": _usable(gauges), "c": _usable(counters), "h": whole, "t": began}


def _histogram(
    word: str, buckets: Dict[float, float], ends: Dict[Tuple[str, str], float], bounds: Dict[str, List[float]]
) -> Optional[List[Any]]:
    """The sum and the number of values of each bucket; None for a histogram that is incomplete or cannot be."""
    edges = sorted(buckets)
    total, count = ends.get((word, "_sum")), ends.get((word, "_count"))
    if not edges or len(edges) > MAX_BOUNDS or any(math.isnan(edge) for edge in edges) or not _fits(total):
        return None
    if edges[-1] != math.inf or buckets[math.inf] != count:
        return None
    steps = [buckets[edge] - (buckets[edges[at - 1]] if at else 0.0) for at, edge in enumerate(edges)]
    if not all(_fits(each) for each in steps) or bounds.setdefault(word, edges[:-1]) != edges[:-1]:
        return None
    return [_number(total), [_number(each) for each in steps]]


def _usable(values: Dict[str, float]) -> Dict[str, float]:
    return {name: _number(value) for name, value in values.items() if _fits(value)}


def _fits(value: Optional[float]) -> bool:
    return value is not None and 0 <= value <= MAX_VALUE


def _number(value: Optional[float]) -> Any:
    """A number as short as JSON has it."""
    return int(value) if value is not None and value == int(value) else value


def _bound(text: str) -> float:
    """The upper bound of a bucket in seconds; other text is no number, and with it the histogram is incomplete."""
    try:
        return float(text) if text == "+Inf" or (len(text) < 30 and float(text) >= 0) else math.nan
    except ValueError:
        return math.nan
