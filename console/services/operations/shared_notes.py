"""What the consoles of a deployment remember together, on its first node: what a restart policy tried in vain, and which
engines the proxy was told to use no more. Without that node each remembers what it did itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from console.model.errors import NodeError, Unreachable
from console.model.snapshot import LinkState
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.operations.lease import NAME_CHARS, keeper

ISOLATED = "isolated"
WHY_CHARS = 300
MOST_ISOLATED = 1024
Note = Mapping[str, JsonValue]


class SharedNotes:
    """The notes of one session's deployment, as they were last read."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links
        self._found: dict[str, Note] = {}
        self.read = False
        """Whether the node that keeps them has told them once."""
        self._adopted: Note = {}

    @property
    def awaited(self) -> bool:
        """Whether the node that keeps them is there and has not told them yet."""
        link = self._keeper()
        return not self.read and link is not None and link.link.state is LinkState.UP

    def take(self, answer: Mapping[str, JsonValue]) -> None:
        """What the node told along with the lease."""
        notes = answer.get("notes")
        self._found = (
            {name: note for name, note in notes.items() if isinstance(note, dict)} if isinstance(notes, dict) else {}
        )
        self.read = True
        self._adopt()

    def vain(self, group: str, runs: Iterable[str | None]) -> str:
        """Why a restart of exactly these runs did not get to its launch, by whichever console; empty when none was tried."""
        note = self._found.get(_vain(group), {})
        return clean(str(note.get("why") or ""))[:WHY_CHARS] if note.get("runs") == _names(runs) else ""

    async def keep_vain(self, group: str, runs: Iterable[str | None], why: str) -> None:
        """Remember that."""
        await self._keep(_vain(group), {"runs": [*_names(runs)], "why": why})

    async def keep_isolated(self) -> None:
        """Remember which engines the running proxy was told to use no more."""
        key = self._monitor.current("proxy")
        if key is not None:
            self._adopted = {"run": key.run, "engines": [*sorted(self._monitor.learnt(key).isolated)]}
            await self._keep(ISOLATED, self._adopted)

    async def _keep(self, name: str, note: Note) -> None:
        self._found[name] = note
        link = self._keeper()
        if link is None:
            return
        try:
            await link.note(self._monitor.deployment.name, name, note)
        except (NodeError, Unreachable):
            return  # this console remembers it all the same

    def _adopt(self) -> None:
        """Take over what another console did to the proxy, once: whether it still holds is seen by the proxy's counts."""
        note = self._found.get(ISOLATED, {})
        key = self._monitor.current("proxy")
        engines = note.get("engines")
        if key is None or note.get("run") != key.run or note == self._adopted or not isinstance(engines, list):
            return
        self._adopted = note
        names = [clean(each)[:NAME_CHARS] for each in engines[:MOST_ISOLATED] if isinstance(each, str)]
        self._monitor.learnt(key).isolated.update(names)
        self._monitor.touch()

    def _keeper(self) -> NodeLink | None:
        return keeper(tuple(rank.node for rank in self._monitor.deployment.ranks()), self._links)


def _vain(group: str) -> str:
    return f"restart-{group}"


def _names(runs: Iterable[str | None]) -> list[JsonValue]:
    return [*sorted(run or "" for run in runs)]
