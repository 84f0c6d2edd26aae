"""`vllm bench serve`, simulated: real requests to the given endpoint, the real tool's output block and result file
(vLLM 0.21 benchmarks/serve.py)."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from console.demo.http import fetch
from console.demo.json_types import JsonValue
from console.demo.load_client import Load, Outcome, Target, percentile, run, send

_SECTIONS = (
    ("ttft", "TTFT", "Time to First Token"),
    ("tpot", "TPOT", "Time per Output Token (excl. 1st token)"),
    ("itl", "ITL", "Inter-token Latency"),
    ("e2el", "E2EL", "End-to-end Latency"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm bench serve")
    texts = {
        "backend": "openai",
        "base-url": None,
        "host": "127.0.0.1",
        "endpoint": "/v1/completions",
        "model": None,
        "served-model-name": None,
        "tokenizer": None,
        "tokenizer-mode": "auto",
        "dataset-name": "random",
        "dataset-path": None,
        "result-dir": None,
        "result-filename": None,
        "label": None,
        "metric-percentiles": "99",
        "percentile-metrics": "ttft,tpot,itl",
    }
    for name, default in texts.items():
        parser.add_argument(f"--{name}", default=default)
    numbers = {
        "port": 8000,
        "random-input-len": 1024,
        "random-output-len": 128,
        "num-prompts": 1000,
        "max-concurrency": None,
    }
    for name, number in {**numbers, "seed": 0, "ready-check-timeout-sec": 600, "num-warmups": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--request-rate", type=float, default=float("inf"))
    parser.add_argument("--burstiness", type=float, default=1.0)
    parser.add_argument("--goodput", nargs="+")
    for name in ("ignore-eos", "save-result", "save-detailed", "trust-remote-code", "disable-tqdm", "append-result"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


async def _target(args: argparse.Namespace) -> Target:
    """Endpoint and model; without `--model` the first of `/v1/models`."""
    url = urlsplit(args.base_url) if args.base_url else None
    host, port = (url.hostname or "127.0.0.1", url.port or 80) if url else (args.host, args.port)
    model = args.served_model_name or args.model
    if model is None:
        answer = await fetch(host, port, "GET", "/v1/models")
        body = b"".join([piece async for piece in answer.pieces])
        if answer.status != 200:
            raise ValueError(f"Failed to fetch models from server at http://{host}:{port}/v1/models: {answer.status}")
        model = json.loads(body)["data"][0]["id"]
    return Target(host, port, args.endpoint, str(model))


def _bar(done: int, total: int, started: float) -> None:
    took = time.monotonic() - started
    rate = done / took if took else 0.0
    blocks = "█" * (done * 10 // total)
    sys.stderr.write(f"\r{done * 100 // total:3d}%|{blocks:<10}| {done}/{total} [{took:.0f}s, {rate:.2f}it/s]")
    sys.stderr.flush()


def _peak(outcomes: Sequence[Outcome]) -> int:
    """Most requests in flight at once."""
    edges = sorted([(each.sent, 1) for each in outcomes] + [(each.ended, -1) for each in outcomes])
    now = most = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


def _peak_tokens(outcomes: Sequence[Outcome]) -> float:
    """Most output tokens within one second."""
    buckets: dict[int, float] = {}
    for each in outcomes:
        moment = each.sent + (each.first or 0.0)
        share = each.output_tokens / (len(each.gaps) + 1)
        for gap in (0.0, *each.gaps):
            moment += gap
            buckets[int(moment)] = buckets.get(int(moment), 0.0) + share
    return max(buckets.values(), default=0.0)


def _series(good: Sequence[Outcome]) -> dict[str, list[float]]:
    return {
        "ttft": [(each.first or 0.0) * 1000 for each in good],
        "tpot": [each.per_token * 1000 for each in good if each.output_tokens > 1],
        "itl": [gap * 1000 for each in good for gap in each.gaps],
        "e2el": [(each.ended - each.sent) * 1000 for each in good],
    }


def _goodput(args: argparse.Namespace, good: Sequence[Outcome]) -> int:
    """Requests that kept every limit of `--goodput ttft:500 tpot:50` (milliseconds)."""
    limits = {name: float(limit) for name, _, limit in (word.partition(":") for word in args.goodput)}
    kept = 0
    for each in good:
        figures = {"ttft": each.first or 0.0, "tpot": each.per_token, "e2el": each.ended - each.sent}
        kept += all(figures.get(name, 0.0) * 1000 <= limit for name, limit in limits.items())
    return kept


def _result(args: argparse.Namespace, target: Target, outcomes: list[Outcome], took: float) -> dict[str, JsonValue]:
    good = [each for each in outcomes if each.ok]
    prompt, made = sum(each.prompt_tokens for each in good), sum(each.output_tokens for each in good)
    result: dict[str, JsonValue] = {
        "date": time.strftime("%Y%m%d-%H%M%S"),
        "endpoint_type": args.backend,
        "backend": args.backend,
        "label": args.label,
        "model_id": args.model or target.model,
        "tokenizer_id": args.tokenizer or args.model or target.model,
        "num_prompts": args.num_prompts,
        "request_rate": "inf" if args.request_rate == float("inf") else args.request_rate,
        "burstiness": args.burstiness,
        "max_concurrency": args.max_concurrency,
        "duration": took,
        "completed": len(good),
        "failed": len(outcomes) - len(good),
        "total_input_tokens": prompt,
        "total_output_tokens": made,
        "request_throughput": len(good) / took,
        "request_goodput": _goodput(args, good) / took if args.goodput else None,
        "output_throughput": made / took,
        "total_token_throughput": (prompt + made) / took,
        "max_output_tokens_per_s": _peak_tokens(good),
        "max_concurrent_requests": _peak(outcomes),
    }
    for name, values in _series(good).items():
        if name not in args.percentile_metrics.split(","):
            continue
        result[f"mean_{name}_ms"] = statistics.fmean(values) if values else 0.0
        result[f"median_{name}_ms"] = percentile(values, 50)
        result[f"std_{name}_ms"] = statistics.pstdev(values) if values else 0.0
        for share in args.metric_percentiles.split(","):
            result[f"p{share}_{name}_ms"] = percentile(values, float(share))
    if args.save_detailed:
        result["input_lens"] = [each.prompt_tokens for each in outcomes]
        result["output_lens"] = [each.output_tokens for each in outcomes]
        result["ttfts"] = [each.first or 0.0 for each in outcomes]
        result["itls"] = [list[JsonValue](each.gaps) for each in outcomes]
        result["generated_texts"] = [each.text for each in outcomes]
        result["errors"] = [each.error for each in outcomes]
    return result


def _block(args: argparse.Namespace, result: dict[str, JsonValue]) -> str:
    whole = [
        ("Successful requests:", result["completed"]),
        ("Failed requests:", result["failed"]),
        *([("Maximum request concurrency:", args.max_concurrency)] if args.max_concurrency else []),
        *([("Request rate configured (RPS):", args.request_rate)] if args.request_rate != float("inf") else []),
        ("Benchmark duration (s):", result["duration"]),
        ("Total input tokens:", result["total_input_tokens"]),
        ("Total generated tokens:", result["total_output_tokens"]),
        ("Request throughput (req/s):", result["request_throughput"]),
        ("Output token throughput (tok/s):", result["output_throughput"]),
        ("Peak output token throughput (tok/s):", result["max_output_tokens_per_s"]),
        ("Peak concurrent requests:", float(str(result["max_concurrent_requests"]))),
        ("Total token throughput (tok/s):", result["total_token_throughput"]),
    ]
    lines = [f"{' Serving Benchmark Result ':=^50}", *(_line(label, value) for label, value in whole)]
    for key, short, title in _SECTIONS:
        if f"mean_{key}_ms" in result:
            lines.append(f"{title:-^50}")
            lines += [_line(f"{word} {short} (ms):", result[f"{word.lower()}_{key}_ms"]) for word in ("Mean", "Median")]
            shares = args.metric_percentiles.split(",")
            lines += [_line(f"P{share} {short} (ms):", result[f"p{share}_{key}_ms"]) for share in shares]
    return "\n".join([*lines, "=" * 50]) + "\n"


def _line(label: str, value: JsonValue) -> str:
    text = f"{value:<10.2f}" if isinstance(value, float) else f"{value!s:<10}"
    return f"{label:<40} {text}"


async def _bench(args: argparse.Namespace) -> int:
    target = await _target(args)
    if args.ready_check_timeout_sec > 0:
        sys.stdout.write("Starting initial single prompt test run...\n")
        test = await send(target, "x" * 4 * args.random_input_len, args.random_input_len, args.random_output_len)
        if not test.ok:
            raise ValueError(
                "Initial test run failed - Please make sure benchmark arguments are correctly specified."
                f" Error: {test.error}"
            )
        sys.stdout.write("Initial test run completed. Starting main benchmark run...\n")
    rate = "inf" if args.request_rate == float("inf") else args.request_rate
    sys.stdout.write(f"Traffic request rate: {rate}\nBurstiness factor: {args.burstiness} (Poisson process)\n")
    sys.stdout.write(f"Maximum request concurrency: {args.max_concurrency}\n")
    sys.stdout.flush()
    load = Load(
        args.num_prompts, args.random_input_len, args.random_output_len, args.max_concurrency, args.request_rate
    )
    started = time.monotonic()
    outcomes = await run(target, load, args.seed, lambda done: _bar(done, args.num_prompts, started))
    sys.stderr.write("\n")
    result = _result(args, target, outcomes, time.monotonic() - started)
    errors = [each.error for each in outcomes if not each.ok]
    if errors:
        sys.stdout.write("Failed requests during benchmark run detected (capping to 10):\n")
        sys.stdout.write("".join(f"Error {index}: {error}\n" for index, error in enumerate(errors[:10])))
    if not result["completed"]:
        sys.stdout.write("All requests failed. This is likely due to a misconfiguration on the benchmark arguments.\n")
    sys.stdout.write(_block(args, result))
    if args.save_result or args.append_result:
        name = (
            args.result_filename or f"{args.backend}-{rate}qps-{target.model.rpartition('/')[2]}-{result['date']}.json"
        )
        folder = Path(args.result_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(result))
    return 0


def main(words: Sequence[str]) -> int:
    """Run `vllm bench serve WORDS`; 0 also with failed requests, 1 when the first one fails, as the real one."""
    args = _parser().parse_args(words)
    sys.stdout.write(f"{args}\n")
    try:
        return asyncio.run(_bench(args))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"Traceback (most recent call last):\n{type(error).__name__}: {error}\n")
        return 1
