"""`results`: shows, plots, compares and exports the results of bench and eval. Needs no cluster."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence

from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_file, print_line
from console.cli.tables import table_lines
from console.evaluation import report_text
from console.evaluation.comparison import compare, sweep_points
from console.evaluation.records import Record
from console.evaluation.result_export import FORMATS, stamp
from console.evaluation.result_store import Filter, ResultStore
from console.model.errors import ExitCode, UsageError
from console.services.xdg_paths import state_home


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `results`."""
    text = "show, compare and export the results of bench and eval"
    parser = subparsers.add_parser("results", help=text, description=text)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run ids, or their first characters; none lists all")
    parser.add_argument("--compare", action="store_true", help="compare the first of two runs with the second")
    parser.add_argument(
        "--sweep", choices=("concurrency", "rate"), help="plot throughput against latency over the runs"
    )
    parser.add_argument(
        "--targets",
        action="store_true",
        help="compare the newest accuracies with the published figures of the models; with RUN: compare the newest throughputs "
        "with those of RUN, by the thresholds of vllm-ascend's CI",
    )
    parser.add_argument("--export", choices=tuple(FORMATS), help="write the results to stdout in this format")
    parser.add_argument("--remove", action="store_true", help="delete the results of these runs")
    parser.add_argument("--deployment", metavar="NAME", help="only results of this deployment")
    parser.add_argument(
        "--subject", metavar="TEXT", help="only results of this dataset, or of this load, for example gsm8k or 1024/256"
    )
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most N results (default 50)")
    add_output(parser, json="a list of results", jsonl="a line for each result")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show, compare, export or remove results. Exit code 1: a result that was to be removed is not there."""
    store = ResultStore(state_home() / "results.sqlite")
    if args.runs:
        records = tuple(store.get(name) for name in args.runs)
    else:
        records = store.find(Filter(deployment=args.deployment, subject=args.subject, limit=args.limit))
    if args.remove:
        if not args.runs:
            raise UsageError("--remove needs the runs to delete", hint="name them: dsv4-console results --remove RUN")
        gone = sum(store.remove(record.run) for record in records)
        return ExitCode.OK if gone == len(records) else ExitCode.FAILED
    if args.compare:
        return _compare(records)
    if args.targets:
        baseline = records[0] if args.runs else None
        everything = store.find(Filter(deployment=args.deployment, limit=args.limit, light=True))
        _print(map(report_text.text, report_text.goal_lines(everything, baseline)))
        return ExitCode.OK
    if args.export:
        print_file(FORMATS[args.export](records))
    elif args.sweep:
        _print(_sweep(records, args.sweep))
    elif args.runs or args.output in DATA:
        print_records(records, args.output)
    else:
        _print(_list(records))
    return ExitCode.OK


def print_records(records: Sequence[Record], output: str) -> None:
    """Print results with their figures, as data or as text with plots."""
    if output in DATA:
        print_data(output, list(records))
        return
    for record in records:
        _print(_one(record))


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print_line(line)


def _list(records: Sequence[Record]) -> Iterator[str]:
    head = ("RUN", "STARTED", "DEPLOYMENT", "TOOL", "SUBJECT", "FAILED", "ENDING", "RESULT")
    rows = [
        (
            record.run,
            stamp(record.started_at),
            record.deployment,
            str(record.tool),
            record.subject,
            "-" if record.failed_requests is None else str(record.failed_requests),
            str(record.ending),
            report_text.headline(record),
        )
        for record in records
    ]
    yield from table_lines(head, rows)


def _one(record: Record) -> Iterator[str]:
    ascii_only, width = _terminal()
    return map(report_text.text, report_text.run_lines(record, width=width, ascii_only=ascii_only))


def _compare(records: Sequence[Record]) -> int:
    if len(records) != 2:
        raise UsageError(f"--compare needs two runs, {len(records)} are given", hint="name two runs")
    _print(map(report_text.text, report_text.comparison_lines(compare(*records))))
    return ExitCode.OK


def _sweep(records: Sequence[Record], parameter: str) -> Iterator[str]:
    ascii_only, width = _terminal()
    points = sweep_points(records, parameter)
    return map(report_text.text, report_text.sweep_lines(points, parameter, width=width, ascii_only=ascii_only))


def _terminal() -> tuple[bool, int]:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return encoding != "utf8", shutil.get_terminal_size().columns
