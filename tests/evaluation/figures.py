"""Records and tools' files to test with; the files have the shapes the tools' sources write."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from console.evaluation.records import Figure, Kind, Record, Tool

SUMMARY = (
    "dataset,version,metric,mode,vllm-api-general-chat\n"
    "GPQA_diamond,772ea0,accuracy,gen,89.90\n"
    "gsm8k,271d0b,accuracy,gen,96.21\n"
)

PERF_CSV = (
    "Performance Parameters,Stage,Average,Min,Max,Median,P75,P90,P99,N\n"
    "E2EL,total,12300.2 ms,12295.9 ms,12305.2 ms,12300.0 ms,12302.1 ms,12304.3 ms,12305.1 ms,8\n"
    "TTFT,total,2006.0 ms,2005.1 ms,2007.4 ms,2006.1 ms,2006.2 ms,2006.6 ms,2007.3 ms,8\n"
    "TPOT,total,20.1 ms,20.1 ms,20.2 ms,20.1 ms,20.1 ms,20.2 ms,20.2 ms,8\n"
    "ITL,total,20.1 ms,19.8 ms,21.3 ms,20.1 ms,20.2 ms,20.2 ms,20.4 ms,8\n"
    "InputTokens,total,1512.5,1481.0,1566.0,1511.5,1520.25,1536.6,1563.06,8\n"
    "OutputTokens,total,512.0,512.0,512.0,512.0,512.0,512.0,512.0,8\n"
    "OutputTokenThroughput,total,41.6254 token/s,41.6085 token/s,41.6398 token/s,41.6261 token/s,41.6338 token/s,"
    "41.6375 token/s,41.6395 token/s,8\n"
)


def perf_json(**changes: JsonValue) -> str:
    """The second file of an AISBench performance run, with some of its values changed."""
    values: dict[str, JsonValue] = {
        "Benchmark Duration": "98409.4916 ms",
        "Total Requests": 8,
        "Failed Requests": 0,
        "Success Requests": 8,
        "Concurrency": 0.9999,
        "Max Concurrency": 1,
        "Request Throughput": "0.0813 req/s",
        "Total Input Tokens": 12100,
        "Prefill Token Throughput": "753.9843 token/s",
        "Total Generated Tokens": 4096,
        "Input Token Throughput": "122.9556 token/s",
        "Output Token Throughput": "41.622 token/s",
        "Total Token Throughput": "164.5776 token/s",
    }
    values |= changes
    return json.dumps({name: {"total": value} for name, value in values.items() if value is not None}, indent=4)


def bench_json(**changes: JsonValue) -> str:
    """The file of `vllm bench serve --save-result`, with some of its values changed."""
    data: dict[str, JsonValue] = {
        "date": "20261123-204010",
        "endpoint_type": "openai-chat",
        "backend": "openai-chat",
        "label": None,
        "model_id": "dsv4",
        "tokenizer_id": "/models/v4",
        "num_prompts": 20,
        "request_rate": "inf",
        "burstiness": 1.0,
        "max_concurrency": 4,
        "duration": 12.5,
        "completed": 20,
        "failed": 0,
        "total_input_tokens": 20000,
        "total_output_tokens": 5000,
        "request_throughput": 1.6,
        "request_goodput": None,
        "output_throughput": 400.0,
        "total_token_throughput": 2000.0,
        "max_output_tokens_per_s": 520.0,
        "max_concurrent_requests": 4,
        "mean_ttft_ms": 210.5,
        "median_ttft_ms": 200.0,
        "std_ttft_ms": 12.0,
        "p90_ttft_ms": 250.0,
        "p99_ttft_ms": 300.25,
        "mean_tpot_ms": 20.0,
        "median_tpot_ms": 19.5,
        "p99_tpot_ms": 25.0,
        "mean_itl_ms": 20.1,
        "median_itl_ms": 19.9,
        "p99_itl_ms": 30.0,
    }
    data |= changes
    return json.dumps({name: value for name, value in data.items() if value is not None})


_BLOCK = """
100%|██████████| 20/20 [00:12<00:00,  1.60it/s]
============ Serving Benchmark Result ============
Successful requests:                     19
Failed requests:                         1
Maximum request concurrency:             4
Benchmark duration (s):                  12.50
Total input tokens:                      20000
Total generated tokens:                  5000
Request throughput (req/s):              1.60
Output token throughput (tok/s):         400.00
Peak output token throughput (tok/s):    520.00
Peak concurrent requests:                4.00
Total token throughput (tok/s):          2000.00
---------------Time to First Token----------------
Mean TTFT (ms):                          210.50
Median TTFT (ms):                        200.00
P99 TTFT (ms):                           300.25
-----Time per Output Token (excl. 1st token)------
Mean TPOT (ms):                          20.00
Median TPOT (ms):                        19.50
P99 TPOT (ms):                           25.00
---------------Inter-token Latency----------------
Mean ITL (ms):                           20.10
Median ITL (ms):                         19.90
P99 ITL (ms):                            30.00
---------------Speculative Decoding---------------
Acceptance rate (%):                     71.25
Acceptance length:                       1.71
==================================================
"""

BENCH_BLOCK = "\n".join(f"{line:<51}" if ":  " in line else line for line in _BLOCK.splitlines()) + "\n"
"""What the tool prints at its end; it fills its lines with blanks."""


def record(run: str = "20261123T204010Z-ab12", **changes: object) -> Record:
    """A performance result, with some fields changed."""
    fields: dict[str, object] = {
        "run": run,
        "cluster": "lab",
        "deployment": "pd",
        "layout_hash": "0123456789ab",
        "tool": Tool.VLLM_BENCH,
        "kind": Kind.PERFORMANCE,
        "subject": "random 1000/250",
        "node": "p0",
        "endpoint": "10.0.0.1:8000",
        "model": "dsv4",
        "started_at": 1795466397.0,
        "ended_at": 1795466409.5,
        "by": "ops@jump",
        "failed_requests": 0,
        "total_requests": 20,
        "numbers": numbers(output_throughput=400.0, ttft_mean=210.5, ttft_p99=300.25),
        "versions": {"vllm": "0.21.0"},
        "parameters": {"concurrency": 4, "input_len": 1000, "output_len": 250},
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]


UNITS: Mapping[str, str] = {"accuracy": "%", "output_throughput": "token/s", "request_throughput": "req/s"}


def numbers(**values: float) -> dict[str, Figure]:
    """Numbers by name; latencies in ms."""
    return {name: Figure(value, UNITS.get(name, "ms")) for name, value in values.items()}
