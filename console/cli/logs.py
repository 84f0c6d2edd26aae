"""`logs`: what engines wrote, from the local copies, which are brought up to date first; one engine or several by time."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence

from typing_extensions import TypedDict

from console.cli.options import add_cluster_options
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_coloured, print_line, print_message
from console.cli.session_context import connected, opened, until
from console.model.errors import ExitCode, Unreachable, UsageError
from console.model.snapshot import LinkState
from console.services.logs.clocks import HEAD_BYTES, run_clock
from console.services.logs.copies import LogCopy
from console.services.logs.lines import LogLine, Readers, Timing
from console.services.logs.own_polls import own_polls
from console.services.session import Session

FILL_S = 30.0
FOLLOW_S = 0.25
"""Between two looks for lines that have arrived."""
COLOURS = (36, 32, 35, 33, 34, 96, 92, 95, 93, 94)
_SINCE = re.compile(r"^(\d+)([smhd])$")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `logs`."""
    text = "print the logs of engines, merged by time"
    parser = subparsers.add_parser("logs", help=text, description=text)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help="engine ids or groups; none means all")
    parser.add_argument("-f", "--follow", action="store_true", help="print new lines as they arrive")
    parser.add_argument("-n", "--tail", type=int, metavar="N", help="only the last N lines of each engine")
    parser.add_argument("--since", metavar="DURATION", help="only newer lines, for example 30s, 15m, 2h, 1d")
    parser.add_argument("--grep", metavar="REGEX", help="only lines that match")
    polls = "also log lines of this console's own requests to /health, /metrics and /v1/models"
    parser.add_argument("--all", action="store_true", dest="polls", help=polls)
    parser.add_argument("--run", dest="earlier", metavar="RUN", help="an earlier run instead of the current one")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    add_output(parser, "text", json="a list of lines, not with -f", jsonl="an object for each line")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the logs. Exit code 1: there is no log."""
    if args.follow and args.output == "json":
        raise UsageError("-o json with -f would never end", hint="use -o jsonl")
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    printer = _Printer(args)
    since = _since(args.since) if args.since else None
    async with opened(args, look=True) as session:
        with contextlib.suppress(Unreachable):
            await connected(session)
        ran = [name for name, engine in session.snapshot.engines.items() if engine.run or args.follow]
        engines = _named(session, args.engines, ran)
        await until(session, lambda: _filled(session, engines), FILL_S)
        readers = _readers(session, engines, args, since)
        if not readers.found and not args.follow:
            print_message(_none(session, engines))
            return ExitCode.FAILED
        printer.prefixes(len(engines) > 1)
        printer.print(readers.lines(last=not args.follow))
        if readers.left_out:
            print_message(f"{readers.left_out} lines of this console's own polling are not shown; --all shows them")
        while args.follow:
            await asyncio.sleep(FOLLOW_S)
            printer.print(readers.lines())
        printer.end()
        down = [name for name, node in session.snapshot.nodes.items() if node.link.state is not LinkState.UP]
        if down:
            print_message(f"out of reach, shown as far as copied: {', '.join(down)}")
        return ExitCode.OK


def _named(session: Session, words: Sequence[str], ran: Sequence[str]) -> Sequence[str]:
    """The engines whose logs are asked for; one that is gone by now may have earlier runs. All that ran when none is named."""
    words = [_id_of(session, each) for each in words]
    earlier = [each for each in words if session.logs.runs(each)]
    seen = {*session.snapshot.engines, *earlier}
    return session.deployment.engines_named(words, ran, seen) if words else ran


def _id_of(session: Session, name: str) -> str:
    """The engine that a name means: its own, or of an engine that no layout of ours has (`a3-pd/decode-0@d0`) the middle part.

    Raises UsageError for a name that several have.
    """
    if name in session.snapshot.engines:
        return name
    meant = [each for each in session.snapshot.engines if each.partition("@")[0].rpartition("/")[2] == name]
    if len(meant) > 1:
        raise UsageError(f"{name!r} is the name of several engines", hint=f"name one of: {', '.join(meant)}")
    return meant[0] if meant else name


def _none(session: Session, engines: Sequence[str]) -> str:
    """Why there is nothing to print, and what there is."""
    kept = [f"{name}: {', '.join(runs[:3])}" for name in engines if (runs := session.logs.runs(name))]
    if kept:
        return f"no logs of a current run; earlier runs that are kept here (--run RUN): {'; '.join(kept)}"
    if not session.deployment.layout.chosen:
        return "no logs: no engine of ours runs on a node that answers; what has ended is found with --layout NAME|FILE"
    return "no logs: nothing of this deployment has run, or its node is out of reach"


def _readers(session: Session, engines: Sequence[str], args: argparse.Namespace, since: float | None) -> Readers:
    def timing(engine: str, copy: LogCopy) -> Timing:
        seen = session.snapshot.engines.get(engine)
        grown = seen.log_line_at if seen is not None and seen.run == copy.key.run else None
        head = copy.read(0, HEAD_BYTES)
        return Timing(run_clock(session.snapshot, engine, copy.key.run, head, grown or time.time()), grown)

    def report(engine: str, what: str) -> None:
        print_message(f"{engine}: {what}")

    def polls(engine: str) -> re.Pattern[bytes] | None:
        seen = session.snapshot.engines.get(engine)
        return None if args.polls or seen is None else own_polls(session.deployment, seen.node)

    return Readers(session.logs, engines, timing, report, run=args.earlier, tail=args.tail, since=since, hidden=polls)


def _filled(session: Session, engines: Sequence[str]) -> bool:
    """Whether the copies hold what the nodes that answer have."""
    seen = [session.snapshot.engines[name] for name in engines if name in session.snapshot.engines]
    up = {name for name, node in session.snapshot.nodes.items() if node.link.state is LinkState.UP}
    copied = (
        not engine.connecting and engine.log_copied >= (engine.log_bytes or 0) for engine in seen if engine.node in up
    )
    return all(copied)


class LogLineData(TypedDict):
    """A line of an engine's log."""

    engine: str
    offset: int
    """Where it starts in the log, bytes."""
    at: float | None
    """Time of its stamp, or of a stamp shortly before it; null when it is not known."""
    text: str
    """As the engine wrote it; the end of a very long line is left out."""


class _Printer:
    """Prints lines as text or JSON lines, filtered."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._output: str = args.output
        self._list: list[LogLineData] = []
        try:
            self._grep = re.compile(args.grep) if args.grep else None
        except re.error as error:
            raise UsageError(f"--grep {args.grep}: {error}") from error
        auto = args.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._colour = args.color == "always" or auto
        self._prefix = False
        self._colours: dict[str, int] = {}

    def prefixes(self, wanted: bool) -> None:
        """Whether each line names its engine."""
        self._prefix = wanted

    def print(self, lines: Iterator[LogLine]) -> None:
        """Print those that pass the filters, and flush."""
        for line in lines:
            if self._grep and not self._grep.search(line.text):
                continue
            if self._output in DATA:
                data = LogLineData(engine=line.engine, offset=line.offset, at=line.at, text=line.text)
                self._list.append(data) if self._output == "json" else print_data("jsonl", data)
            else:
                self._print_line(line)
        sys.stdout.flush()

    def end(self) -> None:
        """All lines are printed."""
        if self._output == "json":
            print_data("json", self._list)

    def _print_line(self, line: LogLine) -> None:
        if not self._prefix:
            print_line(line.text)
        elif not self._colour:
            print_line(f"{line.engine:12} {line.text}")
        else:
            colour = self._colours.setdefault(line.engine, COLOURS[len(self._colours) % len(COLOURS)])
            print_coloured(f"{line.engine:12}", colour, f" {line.text}")


def _since(text: str) -> float:
    found = _SINCE.match(text)
    if not found:
        raise UsageError(f"--since {text}: expected a number and s, m, h or d, for example 15m")
    return time.time() - int(found[1]) * _UNITS[found[2]]
