"""Notes that all consoles of a deployment share through its first node: failed restarts, and engines isolated in the proxy.

When that node is unreachable, each console keeps its own notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from console.model.errors import NodeError, Unreachable
from console.model.snapshot import LinkState
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.operations.lease import NAME_CHARS, lease_link

ISOLATED = "isolated"
WHY_CHARS = 300
MOST_ISOLATED = 1024
Note = Mapping[str, JsonValue]


class SharedNotes:
    """The shared notes of one session's deployment, as last read."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links
        self._found: dict[str, Note] = {}
        self.read = False
        """Whether the notes have been read from their node."""
        self._adopted: Note = {}

    @property
    def pending(self) -> bool:
        """Whether the node of the notes is connected but the notes have not been read yet."""
        link = self._lease_link()
        return not self.read and link is not None and link.link.state is LinkState.UP

    def update(self, answer: Mapping[str, JsonValue]) -> None:
        """Read the notes from the node's answer about the lease."""
        notes = answer.get("notes")
        self._found = (
            {name: note for name, note in notes.items() if isinstance(note, dict)} if isinstance(notes, dict) else {}
        )
        self.read = True
        self._adopt()

    def failed_restart(self, group: str, runs: Iterable[str | None]) -> str:
        """Why a restart of exactly these runs failed before its launch, in any console; empty when none was tried."""
        note = self._found.get(_restart_note(group), {})
        return clean(str(note.get("why") or ""))[:WHY_CHARS] if note.get("runs") == _names(runs) else ""

    async def save_failed_restart(self, group: str, runs: Iterable[str | None], why: str) -> None:
        """Save why a restart of these runs failed before its launch."""
        await self._save(_restart_note(group), {"runs": [*_names(runs)], "why": why})

    async def save_isolated(self) -> None:
        """Save which engines are isolated in the running proxy."""
        key = self._monitor.current("proxy")
        if key is not None:
            self._adopted = {"run": key.run, "engines": [*sorted(self._monitor.run_record(key).isolated)]}
            await self._save(ISOLATED, self._adopted)

    async def _save(self, name: str, note: Note) -> None:
        self._found[name] = note
        link = self._lease_link()
        if link is None:
            return
        try:
            await link.note(self._monitor.deployment.name, name, note)
        except (NodeError, Unreachable):
            return  # this console keeps the note in memory

    def _adopt(self) -> None:
        """Apply another console's list of isolated engines, once; the proxy's counts show later whether it is still valid."""
        note = self._found.get(ISOLATED, {})
        key = self._monitor.current("proxy")
        engines = note.get("engines")
        if key is None or note.get("run") != key.run or note == self._adopted or not isinstance(engines, list):
            return
        self._adopted = note
        names = [clean(each)[:NAME_CHARS] for each in engines[:MOST_ISOLATED] if isinstance(each, str)]
        self._monitor.run_record(key).isolated.update(names)
        self._monitor.touch()

    def _lease_link(self) -> NodeLink | None:
        return lease_link(tuple(rank.node for rank in self._monitor.deployment.ranks()), self._links)


def _restart_note(group: str) -> str:
    return f"restart-{group}"


def _names(runs: Iterable[str | None]) -> list[JsonValue]:
    return [*sorted(run or "" for run in runs)]
