"""`auto-restart`: runs the restart policies of a layout without the screen, until interrupted, and prints each event."""

from __future__ import annotations

import argparse
import asyncio
import time

from console.cli.options import add_cluster_options, deployment_of, read_only_of
from console.cli.output import add_output, print_data
from console.cli.printer import print_line, print_message
from console.cli.session_context import opened
from console.model.errors import Refused, UsageError
from console.model.snapshot import ClusterSnapshot, Event


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `auto-restart`."""
    text = "restart failed groups under the policy of the layout, until interrupted"
    more = (
        "A group restarts only when its layout has `restart: {policy: on-failure}`, and only while a read-write console is open: "
        "the screen, or this command."
    )
    parser = subparsers.add_parser("auto-restart", help=text, description=f"{text}. {more}")
    add_output(parser, jsonl="a line for each event")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until interrupted. Raises Refused on a read-only cluster, UsageError when no group has a restart policy."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    deployment = deployment_of(args)
    groups = [name for name, group in deployment.layout.groups.items() if group.restart.policy != "never"]
    if not groups:
        hint = "add it to a group of the layout: restart: {policy: on-failure, budget: 3, within: 1h, backoff: 30s}"
        raise UsageError(f"no group of {deployment.name} has a restart policy", hint=hint)
    if read_only_of(args, deployment.cluster):
        raise Refused("a read-only console cannot restart engines", hint="use --write to change this cluster")
    print_message(
        f"auto-restart runs for {', '.join(groups)} of {deployment.name}; Ctrl-C ends it, the engines continue"
    )
    printer = _Printer(args.output)
    async with opened(args, restarts=True) as session:
        session.subscribe(printer.take)
        await asyncio.Event().wait()
    raise AssertionError("only an interrupt ends it")


class _Printer:
    """Prints each new event once."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._last = 0

    def take(self, snapshot: ClusterSnapshot) -> None:
        """Print the new events of a snapshot."""
        for event in snapshot.events:
            if event.seq > self._last:
                self._last = event.seq
                if self._output == "jsonl":
                    print_data("jsonl", event)
                else:
                    print_line(_line(event), flush=True)


def _line(event: Event) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    where = " ".join(part for part in (event.engine, f"on {event.node}" if event.node else "") if part)
    return f"{clock} {event.level:8} " + (f"{where}: " if where else "") + event.text
