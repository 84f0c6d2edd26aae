"""`bench` and `eval`: check, show the exact command, start it, wait for it, and print the result."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence

from typing_extensions import TypedDict

from console.cli.options import add_cluster_options, remember_layout
from console.cli.output import DATA, add_output, print_data
from console.cli.plan_text import show_plan
from console.cli.printer import print_line, print_message, print_progress
from console.cli.results import print_records
from console.cli.session_context import connected, opened
from console.evaluation.comparison import judge
from console.evaluation.progress import Progress
from console.evaluation.records import Record, Tool
from console.model.errors import ConsoleError, ExitCode, Refused
from console.model.findings import Finding
from console.model.run import RunKey
from console.services.evaluation.evaluation_options import add_bench, add_eval
from console.services.evaluation.evaluator import Evaluator
from console.services.evaluation.plans import EvaluationPlan, EvaluationRequest, dialog_plan

RECORD_S = 10.0
"""Wait for the record of a cancelled run, in seconds."""


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    bench = subparsers.add_parser("bench", help="measure throughput and latency", description=_BENCH)
    add_bench(bench)
    evaluate = subparsers.add_parser("eval", help="measure accuracy with AISBench", description=_EVAL)
    add_eval(evaluate)
    for parser in (bench, evaluate):
        parser.set_defaults(run=run)
        _common(parser)


_BENCH = (
    "Measures the endpoint of the deployment: the proxy, or the first engine that serves. The tools vllm and aisbench run on a "
    "node and continue when the console ends; the tool built-in runs on this machine and gives a quick estimate."
)
_EVAL = "Runs AISBench on a node against the endpoint of the deployment; it continues when the console ends."


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--baseline", type=float, metavar="X", help="compare the result with this value, as vllm-ascend's CI does"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="allowed difference from the baseline: accuracy points, or a share of the throughput",
    )
    parser.add_argument("--yes", action="store_true", help="start without a confirmation")
    parser.add_argument("--dry-run", action="store_true", help="check and print the command, start nothing")
    parser.add_argument("--detach", action="store_true", help="return when the run is started")
    parser.add_argument(
        "--cancel", metavar="RUN", help="stop this run instead of starting one; `running` means the only one that runs"
    )
    add_output(parser, json="a list of results", jsonl="a line for each result")
    add_cluster_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measure. Exit code 0: every request was answered, and the figures pass; 1: they do not, or a check failed."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    asks: tuple[EvaluationRequest, ...] = () if args.cancel else args.asks(args)
    async with opened(args) as session:
        await connected(session)
        if args.cancel:
            return await _cancel(session.evaluator, args.cancel)
        remember_layout(session.deployment.cluster, session.deployment.layout)
        plans: list[EvaluationPlan] = []
        found: list[Record | StartedRunData] = []
        for ask in asks:
            plan = await session.evaluator.prepare(ask)
            plans.append(plan)
            show_plan(
                dialog_plan(plan, session.deployment),
                as_result=args.dry_run and args.output not in DATA,
                verbose=True,
                title=f"{ask.tool} {ask.subject} loads {session.deployment.name} on {session.cluster.name}",
            )
            if not args.dry_run:
                found.append(await _measure(session.evaluator, plan, args))
        if args.dry_run:
            if args.output in DATA:
                print_data(args.output, [_plan_data(each) for each in plans])
            return ExitCode.FAILED if any(each.blocked for each in plans) else ExitCode.OK
        if args.detach and args.output in DATA:
            print_data(args.output, found)
            return ExitCode.OK
        return _report([each for each in found if isinstance(each, Record)], args)


class EvaluationPlanData(TypedDict):
    """What a run does."""

    tool: Tool
    subject: str
    """The dataset (`gsm8k`), or the shape of the load (`random 3500/1500`)."""
    node: str | None
    """Where the tool runs; null for the built-in generator, which runs on this machine."""
    endpoint: str
    """Where the requests go, `HOST:PORT`."""
    model: str
    """What they name."""
    command: str
    """Command line of the tool; secrets masked."""
    findings: list[Finding]
    """What is wrong with it; an error forbids to run it."""


class StartedRunData(TypedDict):
    """A run that goes on."""

    run: str
    """Its id: `results RUN` shows its figures when it has ended, `bench --cancel RUN` ends it."""
    node: str
    """Where it runs."""


def _plan_data(plan: EvaluationPlan) -> EvaluationPlanData:
    return {
        "tool": plan.ask.tool,
        "subject": plan.ask.subject,
        "node": plan.node or None,
        "endpoint": str(plan.where),
        "model": plan.model,
        "command": plan.command,
        "findings": list(plan.findings),
    }


async def _measure(evaluator: Evaluator, plan: EvaluationPlan, args: argparse.Namespace) -> Record | StartedRunData:
    """One run from its confirmation to its record, or until it has started when it is left to run."""
    if not plan.blocked and not args.yes:
        _confirm()
    if plan.ask.tool is Tool.BUILT_IN:
        return await evaluator.measure(plan, _bar, confirmed=True)
    key = await evaluator.start(plan, confirmed=True)
    print_message(f"{key.engine} runs on {plan.node} as {key.run}; it continues when this console ends")
    print_message(f"  stop it with: dsv4-console bench --cancel {key.run}")
    if args.detach:
        if args.output not in DATA:
            print_line(key.run)
        return {"run": key.run, "node": plan.node}
    return await evaluator.watch.wait(key, _bar)


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise Refused("not confirmed", hint="type y in a terminal, or give --yes")
    print_message("This puts load on the cluster. To confirm type y: ", end="")
    if sys.stdin.readline().strip() != "y":
        raise Refused("not confirmed")


def _bar(progress: Progress | None) -> None:
    """Show the progress on one line of the terminal."""
    if progress is None:
        return
    rate = f"{progress.rate_per_s:.2f}/s" if progress.rate_per_s is not None else "?"
    left = f"{progress.left_s:.0f} s left" if progress.left_s is not None else ""
    failed = f"{progress.failed} FAILED " if progress.failed else ""
    text = f"{failed}{progress.done}/{progress.total} {rate} {left}"
    print_progress(text, last=progress.done == progress.total)


def _report(records: Sequence[Record], args: argparse.Namespace) -> int:
    if not records:
        return ExitCode.OK
    print_records(records, args.output)
    bad = [record for record in records if not record.clean]
    for record in records:
        verdict = judge(record, args.baseline, args.threshold)
        if verdict is not None:
            print_message(f"{verdict.word}: {verdict.text}")
            bad += [record] if verdict.passed is False else []
    return ExitCode.FAILED if bad else ExitCode.OK


async def _cancel(evaluator: Evaluator, wanted: str) -> int:
    found = [
        (node, state.key)
        for node, state in evaluator.watch.running()
        if wanted == "running" or state.key.run.startswith(wanted)
    ]
    if len(found) != 1:
        runs = ", ".join(key.run for _, key in found) or "none"
        raise ConsoleError(f"{len(found)} running evaluations match {wanted!r}", hint=f"running: {runs}")
    node, key = found[0]
    result = await evaluator.cancel(key, node)
    print_message(_ended(key, node, result.outcome, [str(each) for each in result.processes]))
    with contextlib.suppress(TimeoutError):  # then the next console that opens saves the record
        async with asyncio.timeout(RECORD_S):
            await evaluator.watch.wait(key, lambda _: None)
    return ExitCode.FAILED if result.outcome == "stuck" else ExitCode.OK


def _ended(key: RunKey, node: str, outcome: str, left: Sequence[str]) -> str:
    text = f"{key.engine} {key.run} on {node}: {outcome}"
    return f"{text}, remaining processes: {', '.join(left)}" if left else f"{text}, no processes remain"
