"""`tune`: shows kernel settings and limits that differ from the wanted ones, sets them by a plan, and prints how to undo it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from typing_extensions import TypedDict

from console.cli.lifecycle import add_plan_options
from console.cli.options import add_cluster_options
from console.cli.output import DATA, print_data
from console.cli.plan_runner import add_action, resolve_action, run_maintenance
from console.cli.printer import print_line, print_lines
from console.cli.session_context import connected, opened
from console.cli.tables import table_lines
from console.model.errors import ExitCode, Unreachable
from console.probes.sanitize import clean
from console.services.maintenance.tuning import HostTuning, undo_commands

_ABOUT = """show: list the settings that differ (changes nothing). set: write those that can be set without a reboot; they
last until the next reboot, and the node records their old values. --undo prints the commands that restore the old values."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tune`."""
    text = "show kernel settings and limits that differ from the wanted ones, set them"
    parser = subparsers.add_parser("tune", help=text, description=_ABOUT)
    add_action(parser, ("show", "set"))
    parser.add_argument(
        "--undo", action="append", metavar="NODE", help="print how to restore the old values; repeatable"
    )
    add_plan_options(parser, "node")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show or act. Exit code of `show` 0: all is as wanted; 1: something drifts; 3: no node answers."""
    resolve_action(args)
    if args.undo:
        return asyncio.run(_undo(args))
    return asyncio.run(_set(args) if args.action == "set" else _show(args))


async def _show(args: argparse.Namespace) -> int:
    async with opened(args, read_only=True, look=True) as session:
        with contextlib.suppress(Unreachable):
            await connected(session)
        found = await session.maintenance.of_hosts.look(args.nodes)
    if args.output in DATA:
        print_data(args.output, [as_data(each) for each in found])
    else:
        print_lines(lines(found))
    if all(each.trouble for each in found):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if any(each.trouble or each.drifts for each in found) else ExitCode.OK


class DriftData(TypedDict):
    """A setting of a node that is not as it should be."""

    name: str
    now: str
    wanted: str
    why: str
    """Why it matters."""
    by_hand: str | None
    """What a person does about it; null when `tune set` sets it."""


class HostTuningData(TypedDict):
    """The settings of a node."""

    node: str
    trouble: str | None
    """Why nothing is known of it; null when it answered."""
    drifts: list[DriftData]


def as_data(found: HostTuning) -> HostTuningData:
    """The settings of one node as data."""
    rows: list[DriftData] = [
        {"name": each.name, "now": each.now, "wanted": each.wanted, "why": each.why, "by_hand": each.remedy or None}
        for each in found.drifts
    ]
    return {"node": found.node, "trouble": found.trouble or None, "drifts": rows}


def lines(found: Sequence[HostTuning]) -> Iterator[str]:
    """The settings of all nodes as lines."""
    rows = [
        (each.node, drift.name, drift.now, drift.wanted, drift.remedy or drift.why)
        for each in found
        for drift in each.drifts
    ]
    if rows:
        yield from table_lines(("NODE", "SETTING", "NOW", "WANTED", ""), rows)
    yield from (clean(f"{each.node}: {each.trouble}") for each in found if each.trouble)
    as_wanted = [each.node for each in found if not each.trouble and not each.drifts]
    if as_wanted:
        yield f"as wanted: {', '.join(as_wanted)}"
    if any(not drift.remedy for each in found for drift in each.drifts):
        yield "set them: dsv4-console tune set"


async def _set(args: argparse.Namespace) -> int:
    async with opened(args, read_only=False if args.dry_run else None, changes=not args.dry_run, look=True) as session:
        await connected(session)
        made = session.maintenance.of_hosts.prepare(args.nodes)
        return await run_maintenance(session, "tune", made, args, only_plan=args.dry_run)


async def _undo(args: argparse.Namespace) -> int:
    async with opened(args, read_only=True, look=True) as session:
        await connected(session)
        found = await session.maintenance.of_hosts.changes(args.undo)
    for node, changes in found.items():
        commands = undo_commands(changes)
        print_line(f"# {node}" + ("" if commands else ": nothing was changed on this node"))
        for command in commands:
            print_line(command)
    return ExitCode.OK
