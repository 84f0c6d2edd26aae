"""AISBench, simulated: real requests to the endpoint of the model configuration, the real tool's folders and
result files.

Accuracy is not measured: it is the tutorial's figure for the dataset times the share of requests that got any
text, so an endpoint that answers
200 with nothing shows as low accuracy, as with the real tool. Performance is measured. The dataset files must be
there: below
`AIS_BENCH_DATASETS_CACHE`, else in the package of the node's image. Twenty questions are asked unless
`--num-prompts` says otherwise.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import csv
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from console.demo.http import fetch
from console.demo.json_types import JsonValue
from console.demo.load_client import Load, Outcome, Target, percentile, run
from console.demo.tools.demo_node import DemoNode


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as the tool knows it: its name in tables, the file it opens, the tutorial's accuracy (percent)."""

    abbr: str
    file: str
    accuracy: float


DATASETS = {
    "gsm8k": Dataset("gsm8k", "gsm8k/test.jsonl", 96.21),
    "gpqa": Dataset("GPQA_diamond", "gpqa/gpqa_diamond.csv", 89.90),
    "mmlu": Dataset("mmlu", "mmlu/test.csv", 88.0),
    "ceval": Dataset("ceval", "ceval/test.csv", 88.0),
    "math": Dataset("math", "math/math.json", 95.0),
    "aime": Dataset("aime2024", "aime/aime.jsonl", 80.0),
}
"""First word of a dataset configuration → the dataset. Only gsm8k and gpqa have a figure in the tutorial; the
others are made up."""
ABBREVIATIONS = {"vllm_api_general_chat": "vllm-api-general-chat", "vllm_api_stream_chat": "vllm-api-stream-chat"}
QUESTIONS = 20
_COLUMNS = ("Average", "Min", "Max", "Median", "P75", "P90", "P99", "N")


class BenchError(Exception):
    """The run ends with this text in its log and exit code 1, before it makes a directory for results."""


@dataclass(frozen=True, slots=True)
class Run:
    """One call: the questions, the endpoint, and the directory for results."""

    args: argparse.Namespace
    model: dict[str, JsonValue]
    dataset: Dataset
    folder: Path
    stamp: str
    log: list[str] = field(default_factory=list)

    @property
    def abbr(self) -> str:
        """The model's short name, which names folders and table columns."""
        return str(self.model.get("abbr") or self.args.models)

    def say(self, text: str, level: str = "INFO") -> None:
        """A log line: to the screen, or with no `--debug` also to the run's log file."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        sys.stdout.write(f"[{stamp}] [ais_bench] [{level}] {text}\n")
        sys.stdout.flush()
        self.log.append(f"{stamp} - {level} - {text}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ais_bench")
    parser.add_argument("--models", default="vllm_api_general_chat")
    parser.add_argument("--datasets", default="gsm8k_gen")
    parser.add_argument("--summarizer")
    parser.add_argument("--mode", default="all", choices=["all", "infer", "eval", "viz", "perf", "perf_viz"])
    parser.add_argument("--work-dir", "-w", default="outputs/default")
    parser.add_argument("--config-dir", default="ais_bench/benchmark/configs")
    parser.add_argument("--num-prompts", type=int)
    for name in ("num-warmups", "max-num-workers", "pressure-time"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--reuse", nargs="?", const="latest")
    for name in ("debug", "dump-eval-details", "merge-ds", "dry-run", "pressure", "spec-decode", "search"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def model_configuration(path: Path) -> dict[str, JsonValue]:
    """The fields of a model configuration, read without running it: of a whole `models = [dict(...)]`, or of one
    that lays its own
    over a configuration of the package (`models[0].update(dict(...))`). Raises OSError, SyntaxError.
    """
    fields: dict[str, JsonValue] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and "configs.models" in (node.module or ""):
            base = (node.module or "").rpartition(".")[2]
            fields |= {"abbr": ABBREVIATIONS.get(base, base), "stream": "stream" in base}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
            own = {word.arg: _literal(word.value) for word in node.keywords if word.arg}
            if "host_port" in own or "model" in own:
                fields |= own
    return fields


def _literal(node: ast.expr) -> JsonValue:
    try:
        value: JsonValue = ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
    return value


async def _target(run_: Run) -> Target:
    model = run_.model
    host, port = str(model.get("host_ip", "localhost")), int(str(model.get("host_port", 8080)))
    name = str(model.get("model") or "")
    if not name:
        answer = await fetch(host, port, "GET", "/v1/models")
        body = b"".join([piece async for piece in answer.pieces])
        if answer.status != 200:
            raise BenchError(
                f"Failed to get service model path from http://{host}:{port}/v1/models: HTTP {answer.status}"
            )
        name = str(json.loads(body)["data"][0]["id"])
    return Target(host, port, "/v1/chat/completions", name)


async def _ask(run_: Run) -> tuple[list[Outcome], float]:
    target = await _target(run_)
    count = run_.args.num_prompts or QUESTIONS
    width = int(str(run_.model.get("batch_size") or 1))
    rate = float(str(run_.model.get("request_rate") or 0))
    length = min(int(str(run_.model.get("max_out_len") or 64)), 64)
    started = time.monotonic()

    def progress(done: int) -> None:
        took = time.monotonic() - started
        sys.stderr.write(
            f"\rInfer {run_.dataset.abbr}: {done * 100 // count:3d}%| {done}/{count} [{took:.0f}s,"
            f" {done / took:.2f}it/s]"
        )
        sys.stderr.flush()

    load = Load(count, 200, length, width, rate if rate >= 0.1 else float("inf"))
    outcomes = await run(target, load, 1, progress)
    sys.stderr.write("\n")
    return outcomes, time.monotonic() - started


def _accuracy(run_: Run, outcomes: list[Outcome]) -> None:
    name = run_.dataset.abbr
    with_text = sum(bool(each.text) for each in outcomes)
    figure = run_.dataset.accuracy * with_text / len(outcomes)
    version = hashlib.sha256(name.encode()).hexdigest()[:6]
    predictions = run_.folder / "predictions" / run_.abbr
    predictions.mkdir(parents=True)
    rows: list[dict[str, JsonValue]] = [{"id": index, "prediction": each.text} for index, each in enumerate(outcomes)]
    (predictions / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = run_.folder / "results" / run_.abbr
    results.mkdir(parents=True)
    (results / f"{name}.json").write_text(json.dumps({"accuracy": figure, "details": {}}))
    _summarize(run_, [name, version, "accuracy", "gen", f"{figure:.2f}"])


def _summarize(run_: Run, row: list[str]) -> None:
    """The summary in its three forms; a row of dashes stands for a task that failed."""
    summary = run_.folder / "summary"
    summary.mkdir(exist_ok=True)
    table = [["dataset", "version", "metric", "mode", run_.abbr], row]
    base = summary / f"summary_{run_.stamp}"
    with base.with_suffix(".csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(table)
    lines = [f"| {' | '.join(row)} |" for row in (table[0], ["-----"] * 5, table[1])]
    base.with_suffix(".md").write_text("\n".join(lines) + "\n")
    base.with_suffix(".txt").write_text("\n".join("  ".join(row) for row in table) + "\n")
    sys.stdout.write("\n".join(lines) + "\n")
    run_.say(f"write summary to {base.with_suffix('.txt').absolute()}")
    run_.say(f"write csv to {base.with_suffix('.csv').absolute()}")


def _row(name: str, values: list[float], unit: str) -> list[str]:
    figures = [
        sum(values) / len(values) if values else 0.0,
        min(values, default=0.0),
        max(values, default=0.0),
        *(percentile(values, share) for share in (50, 75, 90, 99)),
    ]
    return [name, "total", *(f"{figure:.4f} {unit}".rstrip() for figure in figures), str(len(values))]


def _performance(run_: Run, outcomes: list[Outcome], took: float) -> None:
    good = [each for each in outcomes if each.ok and each.text]
    if not good:
        run_.say("[CALC-DATA-002] Failed to calculate performance data, all requests failed", "ERROR")
        return
    streamed = bool(run_.model.get("stream"))
    folder = run_.folder / "performances" / run_.abbr
    folder.mkdir(parents=True)
    rows = [
        _row("E2EL", [(each.ended - each.sent) * 1000 for each in good], "ms"),
        _row("TTFT", [(each.first or 0.0) * 1000 for each in good], "ms"),
        _row("TPOT", [each.per_token * 1000 for each in good], "ms"),
        _row("ITL", [gap * 1000 for each in good for gap in each.gaps], "ms"),
        _row("InputTokens", [float(each.prompt_tokens) for each in good], ""),
        _row("OutputTokens", [float(each.output_tokens) for each in good], ""),
        _row("OutputTokenThroughput", [each.output_tokens / (each.ended - each.sent) for each in good], "token/s"),
    ]
    if not streamed:
        rows = [row for row in rows if row[0] not in ("TTFT", "TPOT", "ITL")]  # the tool cannot know them
    path = folder / f"{run_.dataset.abbr}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["Performance Parameters", "Stage", *_COLUMNS], *rows])
    prompt, made = sum(each.prompt_tokens for each in good), sum(each.output_tokens for each in good)
    first = sum(each.first or 0.0 for each in good)
    figures = {
        "Benchmark Duration": f"{took * 1000:.4f} ms",
        "Total Requests": f"{len(outcomes)}",
        "Failed Requests": f"{len(outcomes) - len(good)}",
        "Success Requests": f"{len(good)}",
        "Concurrency": f"{sum(each.ended - each.sent for each in good) / took:.4f}",
        "Max Concurrency": f"{run_.model.get('batch_size') or 1}",
        "Request Throughput": f"{len(good) / took:.4f} req/s",
        "Total Input Tokens": f"{prompt}",
        "Prefill Token Throughput": f"{prompt / first if first else 0.0:.4f} token/s",
        "Total Generated Tokens": f"{made}",
        "Input Token Throughput": f"{prompt / took:.4f} token/s",
        "Output Token Throughput": f"{made / took:.4f} token/s",
        "Total Token Throughput": f"{(prompt + made) / took:.4f} token/s",
    }
    path.with_suffix(".json").write_text(
        json.dumps({key: {"total": value} for key, value in figures.items()}, indent=4)
    )
    details = [
        {"id": index, "success": each.ok, "latency": each.ended - each.sent} for index, each in enumerate(outcomes)
    ]
    (folder / f"{run_.dataset.abbr}_details.json").write_text(json.dumps(details))
    run_.say(f"Performance Result files located in {folder.absolute()}.")


def _dataset_file(node: DemoNode, dataset: Dataset) -> Path:
    cache = os.environ.get("AIS_BENCH_DATASETS_CACHE")
    root = Path(cache) if cache else node.directory / "lib" / "python" / "ais_bench" / "datasets"
    return root / dataset.file


def _evaluate(run_: Run, node: DemoNode) -> None:
    run_.say(f"Current exp folder: {run_.folder}")
    name = run_.dataset.abbr
    (run_.folder / "configs").mkdir(parents=True)
    configuration = json.dumps({"models": [run_.model], "datasets": [name]}, indent=1)
    (run_.folder / "configs" / f"{run_.stamp}.py").write_text(configuration)
    try:
        _dataset_file(node, run_.dataset).open().close()
        outcomes, took = asyncio.run(_ask(run_))
    except (OSError, EOFError, BenchError) as error:
        text = f"Traceback (most recent call last):\n{type(error).__name__}: {error}"
        sys.stdout.write(f"{text}\n")
        run_.log.append(text)
        run_.say(f"[TINFER-001] task {run_.abbr}/{name} fail, see the log", "ERROR")
        if not run_.args.mode.startswith("perf"):
            _summarize(run_, [name, "-", "-", "-", "-"])
        return
    for each in [each for each in outcomes if each.error][:10]:
        run_.say(f"[MODEL-DATA-001] Request failed: {each.error}", "ERROR")
    if run_.args.mode.startswith("perf"):
        _performance(run_, outcomes, took)
    elif run_.args.mode in ("all", "eval"):
        _accuracy(run_, outcomes)


def _free_stamp(folder: Path) -> str:
    """The name of a new result folder: the time, a second later where that one exists."""
    moment = time.time()
    while True:
        stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(moment))
        if not (folder / stamp).exists():
            return stamp
        moment += 1


def _run(args: argparse.Namespace) -> Run:
    """The call that the arguments describe. Raises BenchError when a configuration does not exist."""
    folder = Path(args.config_dir)
    path = next(iter(sorted(folder.rglob(f"{args.models.removesuffix('.py')}.py"))), folder / f"{args.models}.py")
    try:
        model = model_configuration(path)
    except (OSError, SyntaxError) as error:
        raise BenchError(f"[TMAN-CFG-003] Config file of {args.models} cannot be used: {error}") from error
    dataset = next((known for word, known in DATASETS.items() if args.datasets.startswith(word)), None)
    if dataset is None:
        raise BenchError(f"[UTILS-CFG-001] No config file is found for the pattern {args.datasets}")
    stamp = _free_stamp(Path(args.work_dir))
    defaults: dict[str, JsonValue] = {"abbr": args.models.replace("_", "-"), "stream": "stream" in args.models}
    return Run(args, {**defaults, **model}, dataset, Path(args.work_dir) / stamp, stamp)


def main(words: Sequence[str], node: DemoNode) -> int:
    """Run `ais_bench WORDS`; gives the exit code: 0 also when a task failed, as with the real tool."""
    args = _parser().parse_args(words)
    try:
        run_ = _run(args)
    except BenchError as error:
        sys.stdout.write(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}] [ais_bench] [ERROR] {error}\n")
        return 1
    _evaluate(run_, node)
    if not args.debug:
        for phase in ("infer", "eval"):
            path = run_.folder / "logs" / phase / run_.abbr / f"{run_.dataset.abbr}.out"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(run_.log) + "\n")
    return 0
