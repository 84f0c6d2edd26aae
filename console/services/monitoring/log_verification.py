"""Compares the local copies of logs with what their nodes have, part by part and slowly, and repairs what differs.

A copy is a prefix of its log as long as nothing goes wrong: a disk that loses bytes, a hand in the wrong file, a log that is
written over in its middle. What arrives now is `following`'s matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping

from console.model.errors import ConsoleError, NodeError, Unreachable
from console.model.run import RunKey
from console.model.snapshot import EventLevel, LinkState
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook, LogCopy
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.monitor import Monitor

PART_BYTES = 1024 * 1024
"""Compared at a time: a node reads and digests so much every `compare_s`, whatever the number of its logs."""


class LogVerification:
    """Goes round the current runs' copies of each node, one part of one log at a time."""

    def __init__(
        self, monitor: Monitor, links: Mapping[str, NodeLink], logs: LogBook, cadences: Intervals | None = None
    ) -> None:
        self._monitor = monitor
        self._links = links
        self._logs = logs
        self._every_s = (cadences or Intervals()).compare_s
        self._next: dict[RunKey, tuple[int, int]] = {}
        """The copy's revision, and where in it to go on."""
        self._turn: dict[str, RunKey] = {}
        """Whose part was compared last, by node."""

    async def run(self) -> None:
        """One part of each node at a time, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            up = [name for name, record in self._monitor.nodes.items() if record.link.state is LinkState.UP]
            await asyncio.gather(*(self._look(name) for name in up))

    async def _look(self, node: str) -> None:
        keys = self._keys(node)
        if not keys:
            return
        key = self._after(keys, self._turn.get(node))
        self._turn[node] = key
        with contextlib.suppress(NodeError, Unreachable):  # in its turn it is asked again
            await self._compare(node, key, self._logs.of(key))

    def _keys(self, node: str) -> list[RunKey]:
        """The current runs of a node that have a copy here."""
        engines = self._monitor.snapshot.engines.values()
        keys = [self._monitor.current(each.id) for each in engines if each.node == node]
        return [key for key in keys if key is not None and self._logs.of(key).size]

    @staticmethod
    def _after(keys: list[RunKey], last: RunKey | None) -> RunKey:
        return keys[(keys.index(last) + 1) % len(keys)] if last in keys else keys[0]

    async def _compare(self, node: str, key: RunKey, copy: LogCopy) -> None:
        revision, offset = self._next.get(key, (copy.revision, 0))
        if revision != copy.revision or offset >= copy.size:
            revision, offset = copy.revision, 0
        offset = copy.present(offset)
        whole = copy.gap.begin if copy.gap is not None and offset < copy.gap.begin else copy.size
        ours = copy.read(offset, min(PART_BYTES, whole - offset))
        length, digest = await self._links[node].digest(key, offset, len(ours))
        if copy.revision != revision:
            return
        self._next[key] = revision, offset + len(ours)
        if length != len(ours) or digest == hashlib.sha256(ours).hexdigest():
            return  # a log that is shorter than its copy has started anew, and is followed as such
        theirs = await self._links[node].read(key, offset, len(ours))
        if copy.revision != revision or len(theirs) != len(ours) or hashlib.sha256(theirs).hexdigest() != digest:
            return
        first, end = _differ(ours, theirs)
        try:
            copy.repair(offset + first, theirs[first:end])
        except ConsoleError as error:
            self._monitor.note(EventLevel.ERROR, str(error), node=node, engine=key.engine)
            return
        self._next[key] = copy.revision, offset + len(ours)
        self._monitor.following.reread(key)
        text = f"log copy: bytes {offset + first}–{offset + end} were not those of the node's log; they are repaired"
        self._monitor.note(EventLevel.WARNING, text, node=node, engine=key.engine)


def _differ(ours: bytes, theirs: bytes) -> tuple[int, int]:
    """From which byte to which two of equal length differ."""
    first = next(at for at in range(len(ours)) if ours[at] != theirs[at])
    end = next(at for at in range(len(ours), 0, -1) if ours[at - 1] != theirs[at - 1])
    return first, end
