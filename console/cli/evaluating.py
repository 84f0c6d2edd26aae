"""`bench` and `eval`: prepare with checks, show the exact command, start, watch, and print the result."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from pydantic import JsonValue

from console.cli.live import connected
from console.cli.options import add_cluster_options, deployment_of, read_only_of, remember_layout
from console.cli.results import print_records
from console.commands.evaluation import DATASETS, AccuracyLoad, BenchLoad
from console.evaluation.comparison import judge
from console.evaluation.progress import Progress
from console.evaluation.records import Record, Tool
from console.model.errors import ConsoleError, ExitCode, Refused, UsageError
from console.model.run import RunKey
from console.services.evaluation import Evaluator
from console.services.evaluation_plans import Ask, EvaluationPlan
from console.services.session import Session

TOOLS = {"vllm": Tool.VLLM_BENCH, "aisbench": Tool.AISBENCH, "built-in": Tool.BUILT_IN}


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both verbs."""
    bench = subparsers.add_parser("bench", help="measure throughput and latency", description=_BENCH)
    bench.add_argument("--tool", choices=tuple(TOOLS), default="vllm", help="who measures (default: vllm bench serve)")
    bench.add_argument("--input-len", type=int, default=1024, metavar="TOKENS", help="length of the random prompts")
    bench.add_argument("--output-len", type=int, default=256, metavar="TOKENS", help="tokens asked for")
    bench.add_argument("--num-prompts", type=int, default=100, metavar="N")
    bench.add_argument("--concurrency", type=int, metavar="N", help="requests in flight at most")
    bench.add_argument("--request-rate", type=float, metavar="PER_S", help="open loop: send at this rate")
    bench.add_argument("--seed", type=int, default=0)
    bench.add_argument("--sweep", metavar="N,N,…", help="one run after the other at these concurrencies")
    bench.add_argument("--sweep-rate", metavar="R,R,…", help="one run after the other at these request rates")
    bench.set_defaults(run=run, asks=_bench_asks)
    evaluate = subparsers.add_parser("eval", help="measure accuracy with AISBench", description=_EVAL)
    evaluate.add_argument("dataset", nargs="?", default="", help=f"known: {', '.join(DATASETS)}; others with --config")
    evaluate.add_argument("--max-out-tokens", type=int, default=32768, metavar="TOKENS")
    evaluate.add_argument("--concurrency", type=int, default=32, metavar="N")
    evaluate.add_argument("--num-prompts", type=int, metavar="N", help="only the first N questions")
    evaluate.set_defaults(run=run, asks=_accuracy_asks)
    for parser in (bench, evaluate):
        _common(parser)


_BENCH = (
    "Measures the deployment's endpoint: the proxy, or the first serving engine. vllm and aisbench run on a node and go on "
    "when the console ends; built-in is the console's own generator, a quick look from this machine."
)
_EVAL = "Runs AISBench on a node against the deployment's endpoint; it goes on when the console ends."


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--on", default="", metavar="NODE", help="where the tool runs (default: the endpoint's node)")
    parser.add_argument("--endpoint", default="", metavar="HOST:PORT", help="default: the proxy, or the first engine")
    parser.add_argument("--model", default="", metavar="ID", help="default: what the engine says it serves")
    parser.add_argument("--config", default="", metavar="NAME", help="AISBench's dataset configuration")
    parser.add_argument("--program", default="", metavar="PATH", help="ais_bench, where it is not on PATH")
    parser.add_argument("--generation", metavar="JSON", help="further sampling parameters of AISBench")
    parser.add_argument("--baseline", type=float, help="judge by this figure, as vllm-ascend's CI does")
    parser.add_argument("--threshold", type=float, help="points of accuracy, or share of the throughput")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="check and print, start nothing")
    parser.add_argument("--detach", action="store_true", help="return when it runs")
    parser.add_argument("--cancel", metavar="RUN", help="end this run instead (`running` for the only one)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    add_cluster_options(parser)


def run(args: argparse.Namespace) -> int:
    """Carry it out; returns the exit code."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    deployment = deployment_of(args)
    asks: tuple[Ask, ...] = () if args.cancel else args.asks(args)
    session = Session(
        deployment.cluster,
        deployment.layout,
        deployment.assignment,
        read_only=read_only_of(args, deployment.cluster),
    )
    await session.open()
    try:
        await connected(session)
        if args.cancel:
            return await _cancel(session.evaluator, args.cancel)
        remember_layout(deployment.cluster, deployment.layout)
        records = []
        for ask in asks:
            plan = await session.evaluator.prepare(ask)
            _show(plan)
            if args.dry_run:
                continue
            record = await _measure(session.evaluator, plan, args)
            if record is not None:
                records.append(record)
        if args.dry_run:
            return ExitCode.FAILED if plan.blocked else ExitCode.OK
        return _report(records, args)
    finally:
        await session.close()


async def _measure(evaluator: Evaluator, plan: EvaluationPlan, args: argparse.Namespace) -> Record | None:
    """One run from its confirmation to its record; None when it is left to run."""
    if not plan.blocked and not args.yes:
        _confirm()
    if plan.ask.tool is Tool.BUILT_IN:
        return await evaluator.measure(plan, _bar, confirmed=True)
    key = await evaluator.start(plan, confirmed=True)
    print(f"{key.engine} runs on {plan.node} as {key.run}; it goes on when this console ends", file=sys.stderr)
    print(f"  end it with: bench --cancel {key.run}", file=sys.stderr)
    if args.detach:
        print(key.run)
        return None
    return await evaluator.watch.wait(key, _bar)


def _show(plan: EvaluationPlan) -> None:
    where = plan.node or "this machine"
    print(f"{plan.ask.tool} {plan.ask.subject} on {where}, requests to {plan.where}", file=sys.stderr)
    for finding in plan.findings:
        print(f"  {finding.severity} {finding.rule} {finding.message}", file=sys.stderr)
        if finding.fix:
            print(f"    {finding.fix}", file=sys.stderr)
    print(f"  $ {plan.command}", file=sys.stderr)


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise Refused("not confirmed", hint="type y in a terminal, or give --yes")
    print("It loads the cluster. To go on type y: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "y":
        raise Refused("not confirmed")


def _bar(progress: Progress | None) -> None:
    """How far it is, on one line of a terminal; nothing where stderr is a file."""
    if progress is None or not sys.stderr.isatty():
        return
    rate = f"{progress.rate_per_s:.2f}/s" if progress.rate_per_s is not None else "?"
    left = f"{progress.left_s:.0f} s left" if progress.left_s is not None else ""
    failed = f"{progress.failed} FAILED " if progress.failed else ""
    text = f"{failed}{progress.done}/{progress.total} {rate} {left}"
    print(f"\r{text:<60}", end="\n" if progress.done == progress.total else "", file=sys.stderr, flush=True)


def _report(records: Sequence[Record], args: argparse.Namespace) -> int:
    if not records:
        return ExitCode.OK
    print_records(records, args.output)
    bad = [record for record in records if not record.clean]
    for record in records:
        verdict = judge(record, args.baseline, args.threshold)
        if verdict is not None:
            print(f"{'passed' if verdict.passed else 'FAILED'}: {verdict.text}", file=sys.stderr)
            bad += [] if verdict.passed else [record]
    return ExitCode.FAILED if bad else ExitCode.OK


async def _cancel(evaluator: Evaluator, wanted: str) -> int:
    found = [
        (node, state.key)
        for node, state in evaluator.watch.running()
        if wanted == "running" or state.key.run.startswith(wanted)
    ]
    if len(found) != 1:
        runs = ", ".join(key.run for _, key in found) or "none"
        raise ConsoleError(f"{len(found)} running evaluations fit {wanted!r}", hint=f"running: {runs}")
    node, key = found[0]
    result = await evaluator.cancel(key, node)
    print(_ended(key, node, result.outcome, [str(each) for each in result.processes]), file=sys.stderr)
    return ExitCode.FAILED if result.outcome == "stuck" else ExitCode.OK


def _ended(key: RunKey, node: str, outcome: str, left: Sequence[str]) -> str:
    text = f"{key.engine} {key.run} on {node}: {outcome}"
    return f"{text}, left: {', '.join(left)}" if left else f"{text}, no process left"


def _ask(args: argparse.Namespace, tool: Tool, load: BenchLoad | AccuracyLoad) -> Ask:
    return Ask(tool, load, args.on, args.endpoint, args.model, args.program, args.config, _generation(args.generation))


def _bench_asks(args: argparse.Namespace) -> tuple[Ask, ...]:
    load = BenchLoad(args.input_len, args.output_len, args.num_prompts, args.concurrency, args.request_rate, args.seed)
    tool = TOOLS[args.tool]
    if args.sweep and args.sweep_rate:
        raise UsageError("--sweep and --sweep-rate are two sweeps", hint="give one of them")
    loads = [load]
    if args.sweep:
        loads = [replace(load, concurrency=int(each)) for each in _numbers(args.sweep, "--sweep", whole=True)]
    if args.sweep_rate:
        loads = [replace(load, rate=each) for each in _numbers(args.sweep_rate, "--sweep-rate", whole=False)]
    return tuple(_ask(args, tool, each) for each in loads)


def _accuracy_asks(args: argparse.Namespace) -> tuple[Ask, ...]:
    if not args.dataset:
        raise UsageError("which dataset?", hint=f"known: {', '.join(DATASETS)}")
    load = AccuracyLoad(args.dataset, args.config, args.max_out_tokens, args.concurrency, args.num_prompts)
    return (_ask(args, Tool.AISBENCH, load),)


def _numbers(text: str, option: str, *, whole: bool) -> list[float]:
    try:
        found = [float(int(word) if whole else float(word)) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text}: no list of numbers", hint="for example 1,2,4,8,16") from None
    return found


def _generation(text: str | None) -> dict[str, JsonValue]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--generation is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("--generation is no JSON object", hint='for example {"top_p": 0.95}')
    return value
