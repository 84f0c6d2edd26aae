"""`watch`: prints events and alerts when they occur, and sends alerts as the cluster file says, until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections import Counter

from typing_extensions import TypedDict

from console.cli.options import add_cluster_options
from console.cli.output import add_output, print_data
from console.cli.printer import print_line, print_message
from console.cli.session_context import connected, opened, settled
from console.cli.status_data import ServiceData, service_data
from console.model.alert import Alert
from console.model.errors import Unreachable
from console.model.snapshot import ClusterSnapshot, Event, LinkState


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `watch`."""
    text = "print events and alerts when they occur and send alerts, until interrupted; changes nothing"
    more = (
        "Alerts go to the command or the webhook of the cluster file: alerts: {command: [mail-it, --to, ops], webhook: URL, "
        "every: 60, level: error}. The command runs without a shell and gets the alert as JSON on stdin."
    )
    parser = subparsers.add_parser("watch", help=text, description=f"{text}. {more}")
    add_output(parser, jsonl="a line for each event and alert")
    parser.add_argument("--alerts", action="store_true", help="print alerts only")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch until interrupted."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    printer = Printer(args.output, events=not args.alerts)
    async with opened(args, read_only=True, alerts=True, look=True) as session:
        wanted = session.cluster.alerts
        where = [*([wanted.command[0]] if wanted.command else []), *(["the webhook"] if wanted.webhook else [])]
        print_message(
            f"watching {session.cluster.name}; alerts are sent to {' and '.join(where) or 'this output only'}",
        )
        with contextlib.suppress(Unreachable):
            await connected(session)
        await settled(session)
        printer.begin(session.snapshot)
        session.subscribe(printer.take)
        await asyncio.Event().wait()
    raise AssertionError("only an interrupt ends it")


class WatchStart(TypedDict):
    """The state from which a watch starts."""

    at: float
    service: ServiceData | None
    """Null while nothing of the deployment is launched, and when it has no endpoint."""
    engines: dict[str, int]
    """State to how many engines are in it; `connecting` while nothing is known of an engine yet."""
    links: dict[str, LinkState]
    """Node to the state of its link."""


class StartLine(TypedDict):
    """The first line; not with `--alerts`."""

    start: WatchStart


class EventLine(TypedDict):
    """Something happened; not with `--alerts`."""

    event: Event


class AlertLine(TypedDict):
    """An alert that holds from now on."""

    alert: Alert


class OverLine(TypedDict):
    """An alert that no longer holds."""

    over: Alert


class Printer:
    """Prints the state once, each new event once, and each alert when it is raised and when it ends."""

    def __init__(self, output: str, *, events: bool) -> None:
        self._json = output == "jsonl"
        self._events = events
        self._last = 0
        self._alerts: dict[str, Alert] = {}

    def begin(self, snapshot: ClusterSnapshot) -> None:
        """Print one line with the state at the start of the watch; earlier events are not printed."""
        self._last = max((event.seq for event in snapshot.events), default=0)
        if self._events:
            self._print(StartLine(start=_start(snapshot)), _start_line(snapshot))
        self.take(snapshot)

    def take(self, snapshot: ClusterSnapshot) -> None:
        """Print what is new in a snapshot."""
        for event in snapshot.events:
            if event.seq > self._last:
                self._last = event.seq
                if self._events:
                    self._print(EventLine(event=event), _event_line(event))
        now = {each.key: each for each in snapshot.alerts}
        for key, alert in now.items():
            if key not in self._alerts:
                self._print(AlertLine(alert=alert), _alert_line("ALERT", alert, alert.since))
        for key, alert in self._alerts.items():
            if key not in now:
                self._print(OverLine(over=alert), _alert_line("over", alert, snapshot.at))
        self._alerts = now

    def _print(self, data: object, line: str) -> None:
        if self._json:
            print_data("jsonl", data)
        else:
            print_line(line, flush=True)


def _states(snapshot: ClusterSnapshot) -> dict[str, int]:
    """State → number of engines, the worst state first; engines of which nothing is known yet count as `connecting`."""
    engines = sorted(snapshot.engines.values(), key=lambda each: each.state.rank)
    return dict(Counter("connecting" if each.connecting else str(each.state) for each in engines))


def _start(snapshot: ClusterSnapshot) -> WatchStart:
    links = {name: node.link.state for name, node in snapshot.nodes.items()}
    return {"at": snapshot.at, "service": service_data(snapshot.service), "engines": _states(snapshot), "links": links}


def _start_line(snapshot: ClusterSnapshot) -> str:
    up = sum(node.link.state is LinkState.UP for node in snapshot.nodes.values())
    engines = ", ".join(f"{count} {state}" for state, count in _states(snapshot).items()) or "no engine"
    parts = (
        snapshot.service.words() if snapshot.service else "",
        engines,
        f"{up} of {len(snapshot.nodes)} nodes reached",
    )
    return f"{_clock(snapshot.at)} {'state':8} now: {'; '.join(part for part in parts if part)}"


def _event_line(event: Event) -> str:
    where = " ".join(part for part in (event.engine, f"on {event.node}" if event.node else "") if part)
    return f"{_clock(event.at)} {event.level:8} " + (f"{where}: " if where else "") + event.text


def _alert_line(word: str, alert: Alert, at: float) -> str:
    rest = "" if word == "over" else f" - {alert.text}" + (f"; remedy: {alert.remedy}" if alert.remedy else "")
    return f"{_clock(at)} {word:8} {alert.level}: {alert.title}{rest}"


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
