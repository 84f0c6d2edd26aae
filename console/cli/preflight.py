"""`preflight`: checks that every node is ready for a start. Changes nothing on a node."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Iterator

from typing_extensions import TypedDict

from console.cli.options import add_cluster_options, deployment_of
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_line, print_lines, print_message
from console.cli.session_context import connected, opened
from console.cli.tables import table_lines
from console.model.counting import counted
from console.model.durations import two_units
from console.model.errors import ConsoleError, ExitCode, Unreachable
from console.probes.check_types import Result, Verdict
from console.probes.sanitize import clean
from console.services.readiness.preflight import CONNECTION, PreflightRequest, Report, load
from console.services.xdg_paths import report_path, state_home


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `preflight`."""
    text = "check that every node is ready for a start"
    parser = subparsers.add_parser("preflight", help=text, description=text)
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="nodes of the deployment (default: all)")
    parser.add_argument(
        "--network", action="store_true", help="also check the network of the NPUs: state and pings (takes minutes)"
    )
    parser.add_argument(
        "--full-mesh", action="store_true", help="check the network, and let every NPU ping every other NPU"
    )
    parser.add_argument(
        "--last", action="store_true", help="show the last report saved on this machine, without asking the nodes"
    )
    parser.add_argument("--all", action="store_true", help="also show the checks that pass")
    add_output(parser, json="the results of all checks", jsonl="a line for each result")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found. Exit code 0: no check fails; 1: one fails; 3: all that fails is the connection to a node."""
    return _last(args) if args.last else asyncio.run(_run(args))


def _last(args: argparse.Namespace) -> int:
    deployment = deployment_of(args)
    report = load(report_path(state_home(), deployment.cluster.name, deployment.layout.name))
    if report is None:
        raise ConsoleError(
            "no preflight report is saved for this cluster and layout", hint="make one: dsv4-console preflight"
        )
    return _show(report, args)


async def _run(args: argparse.Namespace) -> int:
    async with opened(args, read_only=True) as session:
        with contextlib.suppress(Unreachable):
            await connected(session)
        ask = PreflightRequest(network=args.network or args.full_mesh, full_mesh=args.full_mesh)
        report = await session.preflight.run(args.nodes, ask, print_message)
    return _show(report, args)


def _show(report: Report, args: argparse.Namespace) -> int:
    if args.output in DATA:
        found = as_data(report)
        print_data(args.output, found, found["results"])
    else:
        print_lines(report_lines(report, everything=args.all))
        if args.last:
            age = two_units(max(0.0, time.time() - report.at))
            print_line(f"checked {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(report.at))}, {age} ago")
    return exit_code(report)


def exit_code(report: Report) -> int:
    """The exit code for a report."""
    failed = [each.check for each in report.results if each.verdict is Verdict.FAIL]
    if any(check != CONNECTION for check in failed):
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if failed else ExitCode.OK


class ReportData(TypedDict):
    """What a preflight found."""

    at: float
    """When it ended."""
    took_s: float
    nodes: list[str]
    results: list[Result]
    """Of every check on every node, those that pass too."""
    matrix: list[list[str]] | None
    """Answered and sent pings between the NPUs of two nodes. A row is the sender, a column the receiver; the first row
    names the columns. Null without `--network`."""


def as_data(report: Report) -> ReportData:
    """The report as data: every result of every node, and the matrix of pings when there were pings."""
    crossing = report.crossing
    return {
        "at": report.at,
        "took_s": round(report.took_s, 3),
        "nodes": list(report.nodes),
        "results": list(report.results),
        "matrix": None if crossing is None else [list(row) for row in crossing.matrix()],
    }


def report_lines(report: Report, *, everything: bool = False) -> Iterator[str]:
    """The report as lines: each check that does not pass with cause and fix, then the counts."""
    for fold in report.folds:
        if fold.verdict is Verdict.PASS and not everything:
            continue
        where = "all nodes" if len(fold.nodes) == len(report.nodes) > 1 else ", ".join(fold.nodes)
        yield clean(f"{fold.verdict:<7} {fold.check:>3} {fold.title} ({where}): {fold.seen}")
        if fold.verdict is not Verdict.PASS:
            if fold.why:
                yield clean(f"            {fold.why}")
            if fold.remedy:
                yield clean(f"            fix: {fold.remedy}")
    if report.crossing is not None and report.crossing.pings:
        head, *rows = report.crossing.matrix()
        yield "answered pings of all pings:"
        yield from (f"  {line}" for line in table_lines(head, rows))
    counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in Verdict)
    yield f"{counted(len(report.nodes), 'node')} in {report.took_s:.1f} s: {counts}"
