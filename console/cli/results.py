"""`results`: what was measured, as tables, plots in text, comparisons and exports. Needs no cluster."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence

from console.cli.tables import table_lines
from console.evaluation.comparison import Comparison, compare, knee, sweep_points
from console.evaluation.exporting import FORMATS, stamp, to_json
from console.evaluation.plots import bars, line_chart, sparkline
from console.evaluation.records import Record, base_name
from console.evaluation.store import Filter, ResultStore
from console.model.errors import ExitCode, UsageError
from console.probes.sanitize import clean
from console.services.places import state_home

PERCENTILES = ("mean", "p50", "p90", "p99")
LATENCIES = ("ttft", "tpot", "itl", "e2el")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    text = "show, compare and export what was measured"
    parser = subparsers.add_parser("results", help=text, description=text)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run ids, or beginnings of them; none lists all")
    parser.add_argument("--compare", action="store_true", help="the first of two runs against the second")
    parser.add_argument("--sweep", choices=("concurrency", "rate"), help="throughput against latency over the runs")
    parser.add_argument("--export", choices=tuple(FORMATS), help="to stdout")
    parser.add_argument("--remove", action="store_true", help="forget these runs")
    parser.add_argument("--deployment")
    parser.add_argument("--subject", help="dataset, or shape of the load")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry it out; returns the exit code."""
    store = ResultStore(state_home() / "results.sqlite")
    if args.runs:
        records = tuple(store.get(name) for name in args.runs)
    else:
        records = store.find(Filter(deployment=args.deployment, subject=args.subject, limit=args.limit))
    if args.remove:
        if not args.runs:
            raise UsageError("which runs?", hint="name them")
        gone = sum(store.remove(record.run) for record in records)
        return ExitCode.OK if gone == len(records) else ExitCode.FAILED
    if args.compare:
        return _compare(records)
    if args.export:
        sys.stdout.write(FORMATS[args.export](records))
    elif args.sweep:
        _print(_sweep(records, args.sweep))
    elif args.runs or args.output == "json":
        print_records(records, args.output)
    else:
        _print(_list(records))
    return ExitCode.OK


def print_records(records: Sequence[Record], output: str) -> None:
    """Results with their figures: JSON, or text with plots."""
    if output == "json":
        sys.stdout.write(to_json(records))
        return
    for record in records:
        _print(_one(record))


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(line)


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
            headline(record),
        )
        for record in records
    ]
    yield from table_lines(head, rows)


def headline(record: Record) -> str:
    """The figure a result is known by, or why it has none."""
    if record.error:
        return record.error
    for name in ("accuracy", "output_throughput"):
        if name in record.numbers:
            return str(record.numbers[name])
    return "-"


def _one(record: Record) -> Iterator[str]:
    ascii_only, width = _terminal()
    yield clean(f"{record.run}  {record.tool}  {record.subject}  {record.deployment} ({record.layout_hash})")
    yield clean(f"  {stamp(record.started_at)} on {record.node}, requests to {record.endpoint}, model {record.model}")
    yield from _failures(record)
    if record.error:
        yield clean(f"  {record.ending}: {record.error}")
    for warning in record.warnings:
        yield clean(f"  ! {warning}")
    for name, figure in record.numbers.items():
        if base_name(name) not in (*LATENCIES, "send_lag"):
            yield f"  {name:<24} {figure}"
    for name in LATENCIES:
        items = [(f"  {name:<4} {each:<4}", record.number(f"{name}_{each}")) for each in PERCENTILES]
        if any(value is not None for _, value in items):
            yield from bars(items, width=min(width, 60), unit="ms", ascii_only=ascii_only)
    yield from _over_time(record, width, ascii_only)


def _failures(record: Record) -> Iterator[str]:
    """What failed, before any figure; also that nothing did, or that nobody counted."""
    total = "?" if record.total_requests is None else record.total_requests
    if record.failed_requests:
        yield f"  FAILED REQUESTS          {record.failed_requests} of {total}"
    elif record.failed_requests is None:
        yield (
            "  failed requests          not counted by the tool"
            if record.clean
            else "  failed requests          unknown"
        )
    else:
        yield f"  failed requests          0 of {total}"
    if record.empty_answers is not None:
        yield f"  {'EMPTY ANSWERS' if record.empty_answers else 'empty answers':<24} {record.empty_answers}"


def _over_time(record: Record, width: int, ascii_only: bool) -> Iterator[str]:
    """Throughput over time and, below it, what the NPUs did in the same time."""
    room = min(width, 78) - 16
    if len(record.timeline) > 1:
        values = [point.tokens for point in record.timeline]
        yield f"  token/s       {sparkline(values, width=room, ascii_only=ascii_only).rstrip()}"
    use = record.npu
    if use is None:
        return
    if use.samples:
        yield f"  AICore %      {sparkline(_core(record), width=room, ascii_only=ascii_only).rstrip()}"
    mean = "?" if use.aicore_percent_mean is None else f"{use.aicore_percent_mean:.0f} %"
    memory = "?" if use.hbm_used_mib_max is None else f"{use.hbm_used_mib_max} MiB"
    share = "?" if use.watched_share is None else f"{use.watched_share:.0%}"
    yield f"  NPU           AICore {mean} mean, HBM {memory} at most; watched {share} of the time"


def _core(record: Record) -> list[float | None]:
    """AICore use in as many steps as the timeline has seconds, None where nobody watched."""
    samples = record.npu.samples if record.npu else ()
    length = max(1, len(record.timeline) or int((record.ended_at or record.started_at) - record.started_at) + 1)
    sums: list[list[float]] = [[] for _ in range(length)]
    for sample in samples:
        place = int(sample.at - record.started_at)
        if sample.aicore_percent is not None and 0 <= place < length:
            sums[place].append(sample.aicore_percent)
    return [sum(values) / len(values) if values else None for values in sums]


def _compare(records: Sequence[Record]) -> int:
    if len(records) != 2:
        raise UsageError(f"{len(records)} runs cannot be compared", hint="name two")
    _print(_compared(compare(*records)))
    return ExitCode.OK


def _compared(found: Comparison) -> Iterator[str]:
    for caution in found.cautions:
        yield clean(f"! {caution}")
    marks = {"better": "+ better", "worse": "- WORSE", "same": "", "unsure": "?"}
    rows = [
        (
            each.name,
            str(each.before or "-"),
            str(each.after or "-"),
            "-" if each.change is None else f"{each.change:+.2f}" if each.name == "accuracy" else f"{each.change:+.1%}",
            marks[each.verdict],
        )
        for each in found.differences
    ]
    yield from table_lines(("NUMBER", found.before.run, found.after.run, "CHANGE", ""), rows)


def _sweep(records: Sequence[Record], parameter: str) -> Iterator[str]:
    points = sweep_points(records, parameter)
    ascii_only, width = _terminal()
    rows = [
        (f"{point.load:g}", f"{point.throughput:.1f}", f"{point.latency_ms:.0f}", str(point.failed), point.run)
        for point in points
    ]
    yield from table_lines((parameter.upper(), "TOKEN/S", "E2EL MS", "FAILED", "RUN"), rows)
    found = knee(points)
    mark = (found.point.throughput, found.point.latency_ms) if found else None
    curve = sorted((point.throughput, point.latency_ms) for point in points)
    yield from line_chart(curve, width=min(width, 78), height=12, unit="ms", ascii_only=ascii_only, mark=mark)
    if found is None:
        yield "no knee: it needs three runs without failures"
    elif found.inside:
        yield f"knee at {parameter} {found.point.load:g}: most throughput per latency"
    else:
        yield f"best at {parameter} {found.point.load:g}, an end of the sweep: the knee may lie beyond it"


def _terminal() -> tuple[bool, int]:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return encoding != "utf8", shutil.get_terminal_size().columns
