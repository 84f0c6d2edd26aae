"""Collects configuration, findings, checks and logs, with secrets masked, in one file for support.

Changes nothing on nodes; nothing leaves this machine.
"""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from console import __version__
from console.commands.launch_scripts import rank_command
from console.commands.masking import masked_argv, masked_data, masked_text
from console.model.errors import ConsoleError, UsageError
from console.probes.sanitize import clean
from console.services.operations.step_text import command_text
from console.services.readiness.preflight import Report
from console.services.session import Session

LOG_LINES = 2000
"""Lines from the end of each engine's log."""
LOG_BYTES = 4 * 1024 * 1024
JOURNAL_LINES = 500
LEFT_BEHIND = """echo "== plog"; logs="${ASCEND_PROCESS_LOG_PATH:-$HOME/ascend/log}"
find "$logs" -type f -printf '%TY-%Tm-%Td %TH:%TM %s %p\\n' 2>/dev/null | sort -r | head -n 200
echo "== core_pattern"; cat /proc/sys/kernel/core_pattern
echo "== cores"; find /var/lib/systemd/coredump /var/crash /tmp "$PWD" -maxdepth 1 -name 'core*' -type f \
-printf '%TY-%Tm-%Td %TH:%TM %s %p\\n' 2>/dev/null | sort -ru | head -n 100; echo '== end'"""
"""Lists the CANN process logs and core files of a node, without their contents."""

STACKS = """for place in /proc/[0-9]*; do
  tr '\\0' '\\n' <"$place/environ" 2>/dev/null | grep -q '^DSV4_RUN=' || continue
  pid="${place#/proc/}"
  echo "== pid $pid $(tr '\\0' ' ' <"$place/cmdline" 2>/dev/null | cut -c1-200)"
  grep -E '^(Name|State|PPid|Threads):' "$place/status" 2>/dev/null
  for thread in "$place"/task/*; do
    echo "$(cat "$thread/comm" 2>/dev/null): $(cut -d' ' -f3 "$thread/stat" 2>/dev/null) $(cat "$thread/wchan" 2>/dev/null)"
  done | sort | uniq -c | sort -rn | head -n 40
  cat "$place/stack" 2>/dev/null
  if command -v py-spy >/dev/null 2>&1; then timeout 10 py-spy dump --nonblocking --pid "$pid" 2>&1 | head -n 400; fi
done; echo '== end'"""
"""Reads what the threads of every process of a run wait for, in the kernel and, with py-spy, in Python. Pauses no process."""
STACKS_S = 120.0
"""Time limit; py-spy usually takes half a second per process."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of the bundle."""

    name: str
    text: str


async def gather(session: Session, *, lines: int = LOG_LINES) -> tuple[Piece, ...]:
    """All files of the bundle, masked. Missing answers of nodes and a missing preflight are noted."""
    report, unchecked = await _preflight(session)
    left = await session.preflight.look(("sh", "-c", LEFT_BEHIND))
    stacks = await session.preflight.look(("sh", "-c", STACKS), STACKS_S, outside=True)
    boxed = await _stacks_inside(session)
    return (
        Piece("about.json", _json(_about(session, report))),
        Piece("cluster.json", _json(_cluster(session))),
        Piece("layout.json", _json(session.deployment.layout.model_dump(mode="json"))),
        Piece("assignment.json", _json({group: list(each) for group, each in session.deployment.assignment.nodes.items()})),
        Piece("findings.json", _json([asdict(each) for each in session.findings])),
        Piece("preflight.json", _json([asdict(each) for each in report.results] if report else {"not run": unchecked})),
        Piece("causes.json", _json(_causes(session))),
        Piece("events.json", _json([asdict(each) for each in session.snapshot.events])),
        Piece("journal.jsonl", "".join(_json(dict(each), None) + "\n" for each in session.journal.tail(JOURNAL_LINES))),
        *(Piece(f"nodes/{node}/left-behind.txt", masked_text(text) + "\n") for node, text in left.items()),
        *(Piece(f"nodes/{node}/stacks.txt", masked_text(text) + "\n") for node, text in stacks.items()),
        *(Piece(f"nodes/{node}/stacks-in-container.txt", masked_text(text) + "\n") for node, text in boxed.items()),
        *_commands(session),
        *_logs(session, lines),
    )  # fmt: skip


async def _preflight(session: Session) -> tuple[Report | None, str]:
    """The preflight report, or why there is none."""
    try:
        return await session.preflight.run(), ""
    except UsageError as error:
        return None, f"{error}: {error.hint}"


async def _stacks_inside(session: Session) -> Mapping[str, str]:
    """The stacks from inside a shared container, where py-spy is usually installed."""
    shared = {
        name for name, node in session.cluster.nodes.items() if node.runtime.words and node.runtime.per != "engine"
    }
    if not shared:
        return {}
    found = await session.preflight.look(("sh", "-c", STACKS), STACKS_S)
    return {name: text for name, text in found.items() if name in shared}


def pack(pieces: tuple[Piece, ...], path: Path, *, now: float | None = None) -> None:
    """Write a tar.gz that only its owner can read. Raises ConsoleError when it cannot be written or exists already."""
    top = path.name.removesuffix(".tar.gz")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for piece in pieces:
                data = piece.text.encode("utf-8", "replace")
                entry = tarfile.TarInfo(f"{top}/{piece.name}")
                entry.size, entry.mtime, entry.mode = len(data), int(time.time() if now is None else now), 0o600
                archive.addfile(entry, io.BytesIO(data))
    except FileExistsError as error:
        raise ConsoleError(f"{path} is there already", hint="give another name with --output") from error
    except OSError as error:
        raise ConsoleError(f"{path} cannot be written: {error.strerror}", hint="give a place with --output") from error


def _cluster(session: Session) -> Mapping[str, object]:
    """The cluster file; the arguments of a command are separate, so that values of secret flags are masked."""
    found = session.cluster.model_dump(mode="json")
    alerts = {**found["alerts"], "command": list(masked_argv(session.cluster.alerts.command))}
    return {**found, "alerts": alerts}


def _causes(session: Session) -> Mapping[str, object]:
    snapshot = session.snapshot
    return {
        "failures": [asdict(each) for each in snapshot.diagnoses],
        "alerts": [asdict(each) for each in snapshot.alerts],
        "serving": {name or "deployment": asdict(each) for name, each in snapshot.serving.items()},
    }


def _about(session: Session, report: Report | None) -> Mapping[str, object]:
    snapshot = session.snapshot
    return {
        "console": __version__,
        "python": platform.python_version(),
        "jump_host": platform.platform(),
        "at": _clock(time.time()),
        "cluster": session.cluster.name,
        "deployment": session.deployment.name,
        "nodes": {
            name: {"link": str(node.link.state), "reason": node.link.reason, "hostname": node.system.hostname}
            for name, node in snapshot.nodes.items()
        },
        "engines": {
            engine.id: {"node": engine.node, "state": str(engine.state), "phase": engine.phase, "cause": engine.cause}
            for engine in snapshot.engines.values()
        },
        "versions": {
            f"{each.node} {each.title}": each.seen
            for each in (report.results if report else ())
            if each.check in ("15", "16", "17", "18")
        },
    }


def _commands(session: Session) -> Iterator[Piece]:
    beside = session.deployment.service_ranks()
    for rank in (*beside, *session.deployment.ranks()):
        yield Piece(f"engines/{rank.id}/command.txt", command_text(rank_command(session.deployment, rank)) + "\n")


def _logs(session: Session, lines: int) -> Iterator[Piece]:
    for engine in session.snapshot.engines:
        copy = session.logs.copy(engine)
        if copy is None or not copy.size:
            continue
        begin = max(0, copy.size - LOG_BYTES)
        kept = copy.read(begin, copy.size - begin).split(b"\n")[-lines - 1 :]
        text = "\n".join(clean(line.decode("utf-8", "replace")) for line in kept)
        yield Piece(f"engines/{clean(engine)}/out.log", masked_text(text))


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _json(value: object, indent: int | None = 2) -> str:
    return json.dumps(masked_data(value), indent=indent, ensure_ascii=False, default=str)
