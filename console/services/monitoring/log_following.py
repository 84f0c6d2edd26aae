"""Keeps local log copies and what was read from them level with the nodes: which logs to follow, where to store, what to read.

Bytes are stored first and read after. What another console, or a flood, has put into a copy faster than it was read is
read on in short slices, so that no key press waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from console.model.errors import ConsoleError
from console.model.run import LogChunk, RunKey, RunVerdict
from console.probes.engine_log import LaunchLog
from console.probes.log_activity import Activity
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook, LogCopy
from console.services.logs.quota import Quota
from console.services.monitoring.records import NodeRecord, RunRecord

MOST_FOLLOWED = 64
"""Logs of one node that are followed at once; a node has a few dozen engines at most."""
SLICE_S = 0.01
"""Longest the event loop is kept by reading on."""
READ_BYTES = 16 * 1024
"""Read in one step: lines that are all errors cost a hundred times what plain ones do."""
MOST_WARNED = 256


class LogFollowing:
    """All followed logs of one session."""

    def __init__(
        self,
        logs: LogBook,
        links: Mapping[str, NodeLink],
        runs: dict[RunKey, RunRecord],
        planned: Callable[[RunKey], str],
        told: Callable[[], None],
        warn: Callable[[str, str], None],
    ) -> None:
        """`planned`: the node where the engine of a run belongs, or nothing. `warn(node, text)` says what is odd about a node."""
        self._logs = logs
        self._links = links
        self._runs = runs
        self._planned = planned
        self._told = told
        self._warn = warn
        self._quota = Quota(logs.root)
        self._owners: dict[RunKey, str] = {}
        """Whose log of a run is taken: two nodes may name one run, and only one of them has it."""
        self._warned: set[tuple[str, str]] = set()
        self._followed: dict[str, set[RunKey]] = {}
        self._behind: set[RunKey] = set()
        self._again: dict[RunKey, tuple[LaunchLog, int]] = {}
        """Copies that are read again: what the new reading says so far, and how far it is."""
        self._wake = asyncio.Event()
        self._waiting: tuple[bytes, ...] = ()

    def heed(self, waiting: tuple[bytes, ...]) -> None:
        """Take lines with one of these words, by which an engine only says that it still waits, for no activity.

        What was read before is read again.
        """
        if waiting != self._waiting:
            self._waiting = waiting
            for key, learnt in self._runs.items():
                if learnt.fed:
                    self.reread(key)

    async def run(self) -> None:
        """Read on in copies that are longer than what was read of them, until cancelled."""
        while True:
            await self._wake.wait()
            if self.read_on(SLICE_S):
                self._wake.clear()
            self._told()
            await asyncio.sleep(SLICE_S / 2)

    def forget(self, node: str) -> None:
        """The link of a node went or came anew: nothing is followed there now."""
        self._followed.pop(node, None)

    def update(self, node: str, record: NodeRecord) -> None:
        """Follow the log of every engine's current run until it has ended and its bytes are all here."""
        followed = self._followed.setdefault(node, set())
        link = self._links[node]
        for key in [key for key, owner in self._owners.items() if owner == node and key not in record.runs]:
            self._drop(key)
        for run in record.index.current.values():
            if run.verdict is RunVerdict.PREPARED or not self._has(node, run.key):
                continue
            copy = self._logs.of(run.key)
            if self._learnt(run.key).fed < copy.size:
                self._lag(run.key)
            ended = run.verdict in (RunVerdict.EXITED, RunVerdict.LOST)
            if run.key in followed:
                if ended and copy.size >= run.log_size:
                    followed.discard(run.key)
                    link.unfollow(run.key)
                    copy.close()
            elif not ended or copy.size < run.log_size:
                if len(followed) >= MOST_FOLLOWED:
                    self._say(node, f"has more than {MOST_FOLLOWED} logs to follow; the others are left")
                    continue
                followed.add(run.key)
                link.follow(run.key, copy.size, copy.fingerprint())

    def store(self, node: str, chunk: LogChunk) -> None:
        """Keep the bytes, give their credit back, read them.

        Raises ConsoleError when they cannot be kept; then no credit is given, and the log is followed anew.
        """
        if self._owners.get(chunk.key) != node:
            return
        copy = self._logs.of(chunk.key)
        learnt = self._learnt(chunk.key)
        if chunk.restarted:
            learnt.log, learnt.fed = self._reader(), 0
            self._again.pop(chunk.key, None)
        try:
            if gone := self._quota.take(node, copy, len(chunk.data), lambda: self._of_node(node)):
                self._warn(node, gone)
            copy.store(chunk)
        except ConsoleError:
            self._followed.get(node, set()).discard(chunk.key)
            raise
        self._links[node].credit(chunk.key, len(chunk.data))
        now = time.time()
        learnt.log_line_at = now
        if learnt.fed == chunk.offset:
            learnt.log.feed(chunk.data[:READ_BYTES], now)
            learnt.fed += len(chunk.data[:READ_BYTES])
        if learnt.fed < copy.size:
            self._lag(chunk.key)

    def reread(self, key: RunKey) -> None:
        """Bytes of a copy are others than before: read it again; what was read counts until that is done."""
        self._again[key] = (self._reader(), 0)
        self._wake.set()

    def read_on(self, limit_s: float) -> bool:
        """Read for at most `limit_s`; whether everything has been read then."""
        end = time.monotonic() + limit_s
        for key in tuple(self._behind):
            copy, learnt = self._logs.of(key), self._learnt(key)
            while learnt.fed < copy.size and time.monotonic() < end:
                learnt.fed = copy.present(learnt.fed)
                data = copy.read(learnt.fed, READ_BYTES)
                if not data:
                    break
                learnt.log.feed(data, time.time())
                learnt.fed += len(data)
            if learnt.fed >= copy.size:
                self._behind.discard(key)
        for key in tuple(self._again):
            self._reread(key, end)
        return not self._behind and not self._again

    def _reread(self, key: RunKey, end: float) -> None:
        copy, learnt = self._logs.of(key), self._learnt(key)
        log, fed = self._again[key]
        while fed < learnt.fed and time.monotonic() < end:
            fed = copy.present(fed)
            data = copy.read(fed, min(READ_BYTES, learnt.fed - fed))
            if not data:
                break
            log.feed(data, time.time())
            fed += len(data)
        self._again[key] = (log, fed)
        if fed >= learnt.fed:
            learnt.log = log
            del self._again[key]

    def _has(self, node: str, key: RunKey) -> bool:
        """Whether a run that a node lists is its own: of two that list it, the one where its engine belongs, else the first."""
        owner = self._owners.setdefault(key, node)
        if owner != node and self._planned(key) == node:
            if key in self._followed.get(owner, set()):
                self._followed[owner].discard(key)
                self._links[owner].unfollow(key)
            owner, self._owners[key] = node, node
        if owner != node:
            self._say(node, f"lists run {key.run} of {key.engine}, which {owner} has; its log is taken from there")
        return owner == node

    def _of_node(self, node: str) -> list[LogCopy]:
        return [self._logs.of(key) for key, owner in self._owners.items() if owner == node]

    def _drop(self, key: RunKey) -> None:
        """Its node does not list it any more."""
        del self._owners[key]
        self._behind.discard(key)
        self._runs.pop(key, None)
        self._logs.forget(key)

    def _learnt(self, key: RunKey) -> RunRecord:
        if key not in self._runs:
            self._runs[key] = RunRecord(key)
        learnt = self._runs[key]
        if not learnt.fed:
            learnt.log.activity.waiting = self._waiting
        return learnt

    def _reader(self) -> LaunchLog:
        return LaunchLog(Activity(self._waiting))

    def _say(self, node: str, text: str) -> None:
        if len(self._warned) < MOST_WARNED and (node, text) not in self._warned:
            self._warned.add((node, text))
            self._warn(node, text)

    def _lag(self, key: RunKey) -> None:
        self._behind.add(key)
        self._wake.set()
