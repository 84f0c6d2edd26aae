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
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook
from console.services.monitoring import picture
from console.services.monitoring.records import NodeRecord, RunRecord

SLICE_S = 0.01
"""Longest the event loop is kept by reading on."""
READ_BYTES = 128 * 1024


class Following:
    """All followed logs of one session."""

    def __init__(
        self,
        logs: LogBook,
        links: Mapping[str, NodeLink],
        learnt: Callable[[RunKey], RunRecord],
        told: Callable[[], None],
    ) -> None:
        self._logs = logs
        self._links = links
        self._learnt = learnt
        self._told = told
        self._followed: dict[str, set[RunKey]] = {}
        self._behind: set[RunKey] = set()
        self._wake = asyncio.Event()

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
        for deployment, engine in {(key.deployment, key.engine) for key in record.runs}:
            run = picture.current_run(record, deployment, engine)
            if run is None or run.verdict is RunVerdict.PREPARED:
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
                followed.add(run.key)
                link.follow(run.key, copy.size, copy.fingerprint())

    def store(self, node: str, chunk: LogChunk) -> None:
        """Keep the bytes, give their credit back, read them.

        Raises ConsoleError when they cannot be kept; then no credit is given, and the log is followed anew.
        """
        copy = self._logs.of(chunk.key)
        learnt = self._learnt(chunk.key)
        if chunk.restarted:
            learnt.log, learnt.fed = LaunchLog(), 0
        try:
            copy.store(chunk)
        except ConsoleError:
            self._followed.get(node, set()).discard(chunk.key)
            raise
        self._links[node].credit(chunk.key, len(chunk.data))
        now = time.time()
        learnt.log_line_at = now
        if learnt.fed == chunk.offset:
            learnt.log.feed(chunk.data, now)
            learnt.fed += len(chunk.data)
        elif learnt.fed < copy.size:
            self._lag(chunk.key)

    def read_on(self, limit_s: float) -> bool:
        """Read for at most `limit_s`; whether everything has been read then."""
        end = time.monotonic() + limit_s
        for key in tuple(self._behind):
            copy, learnt = self._logs.of(key), self._learnt(key)
            while learnt.fed < copy.size and time.monotonic() < end:
                data = copy.read(learnt.fed, READ_BYTES)
                if not data:
                    break
                learnt.log.feed(data, time.time())
                learnt.fed += len(data)
            if learnt.fed >= copy.size:
                self._behind.discard(key)
        return not self._behind

    def _lag(self, key: RunKey) -> None:
        self._behind.add(key)
        self._wake.set()
