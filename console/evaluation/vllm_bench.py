"""What `vllm bench serve` writes: its result file, and the block at the end of its output for when there is no file.

Formats and definitions: vLLM, vllm/benchmarks/serve.py and lib/endpoint_request_func.py.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping

from pydantic import JsonValue

from console.evaluation.figures import ResultError, ToolFigures, figure
from console.evaluation.records import Figure, TimePoint
from console.evaluation.statistics import per_second

_PLAIN = {
    "duration": ("duration", "s"),
    "total_input_tokens": ("input_tokens", "token"),
    "total_output_tokens": ("output_tokens", "token"),
    "request_throughput": ("request_throughput", "req/s"),
    "request_goodput": ("request_goodput", "req/s"),
    "output_throughput": ("output_throughput", "token/s"),
    "total_token_throughput": ("total_throughput", "token/s"),
    "max_output_tokens_per_s": ("peak_output_throughput", "token/s"),
    "max_concurrent_requests": ("peak_concurrency", ""),
    "spec_decode_acceptance_rate": ("spec_acceptance_rate", "%"),
    "spec_decode_acceptance_length": ("spec_acceptance_length", ""),
}
_LATENCY = re.compile(r"(mean|median|std|p\d{1,2}(?:\.\d+)?)_(ttft|tpot|itl|e2el)_ms")
_FACTS = (
    "date",
    "backend",
    "endpoint_type",
    "model_id",
    "tokenizer_id",
    "num_prompts",
    "request_rate",
    "max_concurrency",
)

_BLOCK = re.compile(r"^=+ Serving Benchmark Result =+\s*$")
_END = re.compile(r"^={50}\s*$")
_LINE = re.compile(r"^(?P<label>[A-Z][^:]*):\s+(?P<value>\S+)\s*$")
_LABEL_LATENCY = re.compile(r"(Mean|Median|Std|P\d{1,2}) (TTFT|TPOT|ITL|E2EL) \(ms\)")
_LABELS = {
    "Benchmark duration (s)": "duration",
    "Total input tokens": "total_input_tokens",
    "Total generated tokens": "total_output_tokens",
    "Request throughput (req/s)": "request_throughput",
    "Request goodput (req/s)": "request_goodput",
    "Output token throughput (tok/s)": "output_throughput",
    "Total token throughput (tok/s)": "total_token_throughput",
    "Total Token throughput (tok/s)": "total_token_throughput",
    "Peak output token throughput (tok/s)": "max_output_tokens_per_s",
    "Peak concurrent requests": "max_concurrent_requests",
    "Acceptance rate (%)": "spec_decode_acceptance_rate",
    "Acceptance length": "spec_decode_acceptance_length",
    "Successful requests": "completed",
    "Failed requests": "failed",
}


def read_json(text: str) -> ToolFigures:
    """The file of `--save-result`. Raises ResultError when it is half-written, of a failed run, or without any token."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResultError(
            f"the result of vllm bench serve cannot be read: {error}", hint="the file can be incomplete"
        ) from error
    if not isinstance(data, dict):
        raise ResultError("the result of vllm bench serve is not an object")
    return _reading(data)


def read_block(lines: list[str]) -> ToolFigures:
    """The last whole result block of the tool's output. Raises ResultError when there is none."""
    begin = next((index for index in range(len(lines) - 1, -1, -1) if _BLOCK.match(lines[index])), None)
    if begin is None:
        raise ResultError("vllm bench serve printed no result", hint="see the first error in its log")
    end = next((index for index in range(begin + 1, len(lines)) if _END.match(lines[index])), None)
    if end is None:
        raise ResultError("the result block of vllm bench serve is incomplete")
    data: dict[str, JsonValue] = {}
    for line in lines[begin + 1 : end]:
        found = _LINE.match(line)
        if found is None:
            continue
        label, value = found.group("label"), figure(found.group("value"))
        if value is None:
            continue
        if (latency := _LABEL_LATENCY.fullmatch(label)) is not None:
            data[f"{latency.group(1).lower()}_{latency.group(2).lower()}_ms"] = value.value
        elif label in _LABELS:
            data[_LABELS[label]] = value.value
    return _reading(data)


def _reading(data: Mapping[str, JsonValue]) -> ToolFigures:
    completed, failed = _number(data.get("completed")), _number(data.get("failed"))
    if completed is None:
        raise ResultError("the result does not say how many requests completed", hint="the file can be incomplete")
    if failed is None and (wanted := _number(data.get("num_prompts"))) is not None:
        failed = max(0.0, wanted - completed)
    if not completed:
        raise ResultError("all requests failed", hint=_first_error(data) or "is the endpoint right? see the log")
    numbers: dict[str, Figure] = {}
    for key, (name, unit) in _PLAIN.items():
        value = _number(data.get(key))
        if value is not None:
            numbers[name] = Figure(value, unit)
    for key in data:
        found = _LATENCY.fullmatch(key)
        value = _number(data[key]) if found else None
        if found and value is not None:
            statistic = "p50" if found.group(1) == "median" else found.group(1)
            numbers[f"{found.group(2)}_{statistic}"] = Figure(value, "ms")
    output = numbers.get("output_tokens")
    if output is not None and not output.value:
        raise ResultError("no tokens were generated", hint="the engine answers 200 with nothing")
    if "output_throughput" not in numbers or "duration" not in numbers:
        raise ResultError("the result has no throughput or no duration", hint="the file can be incomplete")
    total = None if failed is None else int(completed + failed)
    facts = {key: str(data[key]) for key in _FACTS if data.get(key) is not None}
    return ToolFigures(numbers, None if failed is None else int(failed), total, _timeline(data), (), facts)


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def _first_error(data: Mapping[str, JsonValue]) -> str:
    errors = data.get("errors")
    found = next((each for each in errors if each), "") if isinstance(errors, list) else ""
    lines = str(found).strip().splitlines()
    return lines[-1][:300] if lines else ""


def _timeline(data: Mapping[str, JsonValue]) -> tuple[TimePoint, ...]:
    """Pieces per second, from the file of `--save-detailed` of a release that keeps start times; else nothing."""
    starts, firsts, gaps = data.get("start_times"), data.get("ttfts"), data.get("itls")
    if not (isinstance(starts, list) and isinstance(firsts, list) and isinstance(gaps, list)):
        return ()
    if not len(starts) == len(firsts) == len(gaps):
        return ()
    arrivals: list[tuple[float, float]] = []
    spans: list[tuple[float, float]] = []
    for start, first, rest in zip(starts, firsts, gaps, strict=True):
        began, waited = _number(start), _number(first)
        if began is None or not waited or not isinstance(rest, list):
            continue
        at = began + waited
        arrivals.append((at, 1.0))
        for gap in rest:
            at += _number(gap) or 0.0
            arrivals.append((at, 1.0))
        spans.append((began, at))
    return per_second(arrivals, spans)
