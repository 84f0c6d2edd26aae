"""`journal`: shows who did what on a cluster from this machine, and how it ended; the newest entry comes last."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict

from console.cli.options import add_cluster_options, cluster_of
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_line
from console.cli.tables import table_lines
from console.journal import Journal
from console.model.errors import ExitCode, UsageError
from console.model.shortening import shortened
from console.services.audit_log import AuditEntry, audit_entries
from console.services.xdg_paths import journal_path, state_home

MOST = 100
"""Longest outcome in the table, in characters; `-o json` prints it whole."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `journal`."""
    text = "show who did what on a cluster from this machine"
    parser = subparsers.add_parser("journal", help=text, description=text)
    parser.add_argument("-n", "--last", type=int, default=50, metavar="N", help="number of operations (default 50)")
    parser.add_argument("--grep", metavar="TEXT", help="only operations that contain this text")
    add_output(parser, json="a list of entries", jsonl="a line for each entry")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the journal; an empty journal prints nothing."""
    if args.last < 1:
        raise UsageError(f"-n {args.last}: give 1 or more")
    journal = Journal(journal_path(state_home(), cluster_of(args).name))
    needle = (args.grep or "").casefold()
    found = [
        each
        for each in audit_entries(journal.tail(100_000))
        if needle in " ".join(map(str, asdict(each).values())).casefold()
    ]
    chosen = found[: args.last][::-1]
    if args.output in DATA:
        print_data(args.output, list(chosen))
    elif chosen:
        for line in table_lines(("when", "who", "what", "outcome", "target"), [_cells(each) for each in chosen]):
            print_line(line)
    return ExitCode.OK


def _cells(trace: AuditEntry) -> tuple[str, ...]:
    took = "" if trace.took_s is None else f" in {trace.took_s:.0f} s"
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(trace.at))
    outcome = "; ".join(part for part in (trace.outcome + took, *trace.details) if part)
    return (clock, trace.who, trace.what, shortened(outcome, MOST), trace.whom)
