"""Compares local log copies with the logs on their nodes, slowly and part by part, and repairs differences.

A copy can differ from its log after a disk error, an edit by mistake, or a log that was overwritten. `log_following` adds
new bytes.
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
"""Size of one comparison; a node reads and digests one part every `compare_s`, for any number of logs."""


class LogVerification:
    """Compares the copies of the current runs of each node in turn, one part of one log at a time."""

    def __init__(
        self, monitor: Monitor, links: Mapping[str, NodeLink], logs: LogBook, intervals: Intervals | None = None
    ) -> None:
        self._monitor = monitor
        self._links = links
        self._logs = logs
        self._every_s = (intervals or Intervals()).compare_s
        self._next: dict[RunKey, tuple[int, int]] = {}
        """Run -> the revision of its copy, and the offset of the next part."""
        self._turn: dict[str, RunKey] = {}
        """Node -> the run that was compared last."""

    async def run(self) -> None:
        """Compare one part per node and interval, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            up = [name for name, record in self._monitor.nodes.items() if record.link.state is LinkState.UP]
            await asyncio.gather(*(self._compare_next(name) for name in up))

    async def _compare_next(self, node: str) -> None:
        keys = self._keys(node)
        if not keys:
            return
        key = self._after(keys, self._turn.get(node))
        self._turn[node] = key
        with contextlib.suppress(NodeError, Unreachable):  # it is compared again in its next turn
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
        part_end = copy.gap.begin if copy.gap is not None and offset < copy.gap.begin else copy.size
        ours = copy.read(offset, min(PART_BYTES, part_end - offset))
        length, digest = await self._links[node].digest(key, offset, len(ours))
        if copy.revision != revision:
            return
        self._next[key] = revision, offset + len(ours)
        if length != len(ours) or digest == hashlib.sha256(ours).hexdigest():
            return  # a log that is shorter than its copy was restarted; log_following handles that
        theirs = await self._links[node].read(key, offset, len(ours))
        if copy.revision != revision or len(theirs) != len(ours) or hashlib.sha256(theirs).hexdigest() != digest:
            return
        first, end = _difference(ours, theirs)
        try:
            copy.repair(offset + first, theirs[first:end])
        except ConsoleError as error:
            self._monitor.note(EventLevel.ERROR, str(error), node=node, engine=key.engine)
            return
        self._next[key] = copy.revision, offset + len(ours)
        self._monitor.following.reread(key)
        text = f"log copy: bytes {offset + first}–{offset + end} differed from the node's log and were repaired"
        self._monitor.note(EventLevel.WARNING, text, node=node, engine=key.engine)


def _difference(ours: bytes, theirs: bytes) -> tuple[int, int]:
    """Start and end of the bytes that differ between two texts of equal length."""
    first = next(at for at in range(len(ours)) if ours[at] != theirs[at])
    end = next(at for at in range(len(ours), 0, -1) if ours[at - 1] != theirs[at - 1])
    return first, end
