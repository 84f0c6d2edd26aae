"""`/metrics` of an API server: names, labels and order of vLLM 0.21 v1/metrics/loggers.py, figures from the cores'
counters."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from console.demo.engine.scheduler import BUCKETS, REASONS
from console.demo.json_types import JsonValue

_GAUGES: Final = {
    "num_requests_running": ("running", "Number of requests in model execution batches."),
    "num_requests_waiting": ("waiting", "Number of requests waiting to be processed."),
    "kv_cache_usage_perc": ("kv_usage", "KV-cache usage. 1 means 100 percent usage."),
}
_COUNTERS: Final = {
    "prefix_cache_queries": "Prefix cache queries, in terms of number of queried tokens.",
    "prefix_cache_hits": "Prefix cache hits, in terms of number of cached tokens.",
    "external_prefix_cache_queries": "External prefix cache queries from KV connector, in terms of number of queried tokens.",
    "external_prefix_cache_hits": "External prefix cache hits from KV connector, in terms of number of cached tokens.",
    "num_preemptions": "Cumulative number of preemption from the engine.",
    "prompt_tokens": "Number of prefill tokens processed.",
    "prompt_tokens_cached": "Number of cached prompt tokens (local + external).",
    "generation_tokens": "Number of generation tokens processed.",
}
_DRAFTS: Final = {
    "spec_decode_num_drafts": ("drafts", "Number of spec decoding drafts."),
    "spec_decode_num_draft_tokens": ("draft_tokens", "Number of draft tokens."),
    "spec_decode_num_accepted_tokens": ("accepted_tokens", "Number of accepted tokens."),
}
STARTED: Final = time.time()


def render(
    model: str, cores: Mapping[int, Mapping[str, JsonValue]], *, drafts: bool, blocks: int, block_size: int
) -> str:
    """The whole text for the cores by data-parallel rank."""
    lines: list[str] = []
    for name, (key, text) in _GAUGES.items():
        lines += _metric(
            name,
            "gauge",
            text,
            ((f'engine="{rank}",model_name="{model}"', stats[key]) for rank, stats in cores.items()),
        )
        if name == "num_requests_waiting":
            lines += _metric(
                f"{name}_by_reason", "gauge", "Number of waiting requests by reason.", _by_reason(model, cores)
            )
    for name, text in _COUNTERS.items():
        lines += _counter(name, text, model, cores, name)
    for name, (key, text) in _DRAFTS.items() if drafts else ():
        lines += _counter(name, text, model, cores, key)
    lines += _metric(
        "request_success_total", "counter", "Count of successfully processed requests.", _successes(model, cores)
    )
    for name, bounds in BUCKETS.items():
        lines += _histogram(name, bounds, model, cores)
    lines += _cache(cores, blocks, block_size)
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, text: str, samples: Iterator[tuple[str, JsonValue]]) -> list[str]:
    head = [f"# HELP vllm:{name} {text}", f"# TYPE vllm:{name} {kind}"]
    return head + [f"vllm:{name}{{{labels}}} {_number(value)}" for labels, value in samples]


def _number(value: JsonValue) -> str:
    return repr(float(value)) if isinstance(value, int | float) else "0.0"


def _table(stats: Mapping[str, JsonValue], key: str) -> Mapping[str, JsonValue]:
    found = stats.get(key)
    return found if isinstance(found, dict) else {}


def _counter(name: str, text: str, model: str, cores: Mapping[int, Mapping[str, JsonValue]], key: str) -> list[str]:
    samples = [
        (f'engine="{rank}",model_name="{model}"', _table(stats, "counters").get(key, 0))
        for rank, stats in cores.items()
    ]
    created = [(labels, STARTED) for labels, _ in samples]
    return [
        *_metric(f"{name}_total", "counter", text, iter(samples)),
        *_metric(f"{name}_created", "gauge", text, iter(created)),
    ]


def _by_reason(model: str, cores: Mapping[int, Mapping[str, JsonValue]]) -> Iterator[tuple[str, JsonValue]]:
    for rank, stats in cores.items():
        yield f'engine="{rank}",model_name="{model}",reason="capacity"', stats["waiting"]
        yield f'engine="{rank}",model_name="{model}",reason="deferred"', 0


def _successes(model: str, cores: Mapping[int, Mapping[str, JsonValue]]) -> Iterator[tuple[str, JsonValue]]:
    for rank, stats in cores.items():
        for reason in REASONS:
            labels = f'engine="{rank}",finished_reason="{reason}",model_name="{model}"'
            yield labels, _table(stats, "finished").get(reason, 0)


def _histogram(
    name: str, bounds: Sequence[float], model: str, cores: Mapping[int, Mapping[str, JsonValue]]
) -> list[str]:
    lines = [f"# HELP vllm:{name} Histogram of {name.replace('_', ' ')}.", f"# TYPE vllm:{name} histogram"]
    for rank, stats in cores.items():
        found = _table(stats, "histograms").get(name)
        counts, total = found if isinstance(found, list) else ([], 0.0)
        seen = 0
        labels = f'engine="{rank}"'
        numbers = counts if isinstance(counts, list) else []
        for bound, count in zip([*(repr(float(bound)) for bound in bounds), "+Inf"], numbers, strict=False):
            seen += int(count) if isinstance(count, int) else 0
            lines.append(f'vllm:{name}_bucket{{{labels},le="{bound}",model_name="{model}"}} {float(seen)}')
        lines.append(f'vllm:{name}_count{{{labels},model_name="{model}"}} {float(seen)}')
        lines.append(f'vllm:{name}_sum{{{labels},model_name="{model}"}} {_number(total)}')
    return lines


def _cache(cores: Mapping[int, Mapping[str, JsonValue]], blocks: int, block_size: int) -> list[str]:
    labels = f'block_size="{block_size}",cache_dtype="auto",enable_prefix_caching="True",num_gpu_blocks="{blocks}"'
    samples: list[tuple[str, JsonValue]] = [(f'{labels},engine="{rank}"', 1) for rank in cores]
    return _metric("cache_config_info", "gauge", "Information of the LLMEngine CacheConfig", iter(samples))
