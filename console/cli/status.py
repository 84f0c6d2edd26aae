"""`status`: shows the state of nodes and engines, as a table or as JSON (`console.cli.status_data`)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import chain

from console.cli.options import add_cluster_options
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_line
from console.cli.session_context import connected, opened, settled, until
from console.cli.status_data import status_data, status_lines
from console.cli.tables import table_lines, terminal_cells, wrap
from console.diagnosis.summary import DiagnosisSummary, first_words, summarize
from console.model.durations import about, two_units
from console.model.errors import ExitCode, Unreachable
from console.model.service import ServiceState
from console.model.shortening import list_text
from console.model.snapshot import (
    NOT_ASKED,
    ClusterSnapshot,
    Diagnosis,
    EngineSnapshot,
    EngineState,
    Grade,
    LinkState,
    NodeSnapshot,
)
from console.model.unmanaged_process import UnmanagedProcess
from console.probes.sanitize import clean
from console.services.monitoring.drift import group_by_drift
from console.services.monitoring.service_state import endpoint_engines
from console.services.serving.diagnosis import DOWN
from console.services.session import Session

PROVE_S = 75.0
"""The time of two completions at their limits and of the pause between them, in seconds."""
_ASKED = (EngineState.READY, EngineState.DEGRADED)
_NODE_HEAD = ("NODE", "LINK", "DEVICES", "HBM MiB", "TEMP", "AGE", "REASON")
_ENGINE_HEAD = ("ENGINE", "NODE", "STATE", "PHASE", "PORT", "EXIT", "CAUSE")
_FIGURES = ("HBM MiB", "TEMP", "AGE", "PORT", "EXIT", "PID")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `status`."""
    text = "show the state of nodes and engines"
    parser = subparsers.add_parser("status", help=text, description=text)
    add_output(parser, json="the whole status", jsonl="a line for each node, engine and task")
    parser.add_argument(
        "--prove", action="store_true", help="send a short test request first, to prove that the deployment answers"
    )
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the status. Exit code 0: nothing is wrong; 1: an engine is in a bad state; 3: a node cannot be reached."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    async with opened(args, look=True) as session:
        with contextlib.suppress(Unreachable):
            await connected(session)
        await settled(session)
        if args.prove:
            await _prove(session)
        snapshot = session.snapshot
    if args.output in DATA:
        whole = status_data(snapshot)
        print_data(args.output, whole, status_lines(whole))
    else:
        _print_table(snapshot)
    if any(node.link.state is not LinkState.UP for node in snapshot.nodes.values()):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if any(engine.bad for engine in snapshot.engines.values()) else ExitCode.OK


async def _prove(session: Session) -> None:
    """Request a completion from the endpoints that are ready, and wait for the result."""
    asked = time.time()
    session.works.ask_now()
    await until(session, lambda: _answered(session.snapshot, asked), PROVE_S)


def _answered(snapshot: ClusterSnapshot, asked: float) -> bool:
    """Whether an endpoint was tested since `asked`, or none can be. A first failure is tested again and does not count."""
    endpoints = [each for each in endpoint_engines(snapshot.engines.values()) if each.state in _ASKED]
    checks = [
        each for engine in endpoints for each in engine.health if each.name == "works" and (each.at or 0.0) >= asked
    ]
    return not endpoints or any(
        each.grade is not Grade.UNKNOWN or each.evidence.startswith(NOT_ASKED) for each in checks
    )


def anything_down(snapshot: ClusterSnapshot) -> bool:
    """Whether an engine is failed, lost or stuck, so that its log may show why."""
    return any(engine.state in DOWN for engine in snapshot.engines.values())


def _print_table(snapshot: ClusterSnapshot) -> None:
    room = terminal_cells(sys.stdout)
    service = f"  {snapshot.service.words()}" if snapshot.service else ""
    blocks = (
        (f"{snapshot.cluster}  {snapshot.deployment or 'no layout'}{service}",),
        table_lines(_NODE_HEAD, [_node_row(node, snapshot.at) for node in snapshot.nodes.values()], right=_FIGURES),
        ("",),
        table_lines(
            _ENGINE_HEAD,
            [_engine_row(each, snapshot.at) for each in snapshot.engines.values()],
            right=_FIGURES,
            cut_last=True,
        ),
        _unmanaged(snapshot),
        _tasks(snapshot),
    )
    for line in chain.from_iterable(blocks):
        print_line(line)
    for text in _advice(snapshot):
        for line in wrap(text, room):
            print_line(line)


def _unmanaged(snapshot: ClusterSnapshot) -> Iterator[str]:
    found = [
        _unmanaged_row(node.name, each, snapshot.at) for node in snapshot.nodes.values() for each in node.unmanaged
    ]
    if found:
        yield ""
        yield from table_lines(("UNMANAGED", "PID", "OWNER", "AGE", "HBM MiB", "WHY, COMMAND"), found, right=_FIGURES)


def _unmanaged_row(node: str, process: UnmanagedProcess, now: float) -> Sequence[str]:
    age = process.age_s(now)
    lasted = "?" if age is None else two_units(age)
    hbm = "-" if process.mib is None else str(process.mib)
    why = f"{process.reason}: {process.command}".rstrip(": ")
    return node, str(process.pid), clean(process.owner) or "?", lasted, hbm, why


def _tasks(snapshot: ClusterSnapshot) -> Iterator[str]:
    if snapshot.tasks:
        yield ""
        yield from table_lines(
            ("TASK", "NODE", "KIND", "RUN"), [(each.name, each.node, each.kind, each.run) for each in snapshot.tasks]
        )


def _advice(snapshot: ClusterSnapshot) -> Iterator[str]:
    """Lines about the newest operation, an interrupted plan, the first cause, changed settings, and how to prove the service."""
    if snapshot.work is not None or snapshot.observed_operations:
        yield ""
        yield snapshot.work.words() if snapshot.work else snapshot.observed_operations[-1].words(snapshot.at)
    if snapshot.interrupted_plan is not None:
        yield ""
        yield snapshot.interrupted_plan.words(snapshot.at)
    yield from _causes(summarize(snapshot.diagnoses, lambda each: each))
    for lines, names in group_by_drift(snapshot.engines.values()).items():
        yield ""
        yield f"settings that differ from the layout until a restart, of {list_text(names, 1)}: {'; '.join(lines)}"
    if snapshot.service is not None and snapshot.service.state is ServiceState.UNPROVEN:
        yield ""
        yield "to prove that the deployment serves: dsv4-console status --prove, or dsv4-console verify"
    for pace in snapshot.start_progress.values():
        yield ""
        yield f"start of {pace.group}: {about(pace.elapsed_s)} so far; {pace.words()}"
    for restart in snapshot.restarts.values():
        yield ""
        yield f"restart policy of {restart.group}: {restart.words(snapshot.at)}"


def _causes(found: DiagnosisSummary[Diagnosis]) -> Iterator[str]:
    """What failed first with its remedy, what it does not explain, and what followed in one line."""
    if found.first is not None:
        yield ""
        yield first_words(found.first)
        yield f"  remedy: {found.first.known.remedy}"
        if found.first.known.where:
            yield f"  where: {found.first.known.where}"
        if found.consequences:
            yield f"  {found.consequence_words}"
    for each in found.others:
        yield ""
        yield f"not explained by the first failure: {each.title} on {each.where}"
        yield f"  remedy: {each.known.remedy}"


def _trouble(node: NodeSnapshot) -> str:
    """What is wrong with a node or its link, with the hint for the link."""
    hint = node.link.hint if node.link.state is not LinkState.UP else ""
    return (node.link.reason or node.devices_error) + (f" — {hint}" if hint else "")


def _link_word(node: NodeSnapshot) -> str:
    return "unreached" if node.link.state is LinkState.LOST and not node.reached else str(node.link.state)


def _node_row(node: NodeSnapshot, now: float) -> Sequence[str]:
    if not node.expected_devices:
        return node.name, _link_word(node), "none", "-", "-", "-", _trouble(node)
    used = [device.hbm_used_mib for device in node.devices]
    total = [device.hbm_total_mib for device in node.devices]
    hbm = "?" if not used or None in used or None in total else f"{sum(filter(None, used))}/{sum(filter(None, total))}"
    hot = max((device.temperature_c for device in node.devices if device.temperature_c is not None), default=None)
    busy = sum(1 for device in node.devices if device.processes)
    known = bool(node.devices) and (busy or all(device.processes_known for device in node.devices))
    devices = f"{busy if known else '?'}/{node.expected_devices}"
    age = node.age_s(now)
    seen = "?" if age is None else f"{age:.0f} s"
    return node.name, _link_word(node), devices, hbm, "?" if hot is None else f"{hot}°C", seen, _trouble(node)


def _engine_row(engine: EngineSnapshot, now: float) -> Sequence[str]:
    port = "-" if engine.port is None else str(engine.port)
    phase = "" if engine.state is EngineState.READY else engine.phase
    phase += f" {engine.progress:.0%}" if engine.progress is not None and phase else ""
    ended = "-" if engine.exit is None else str(engine.exit)
    return engine.id, engine.node, str(engine.state), phase, port, ended, engine.why(now)
