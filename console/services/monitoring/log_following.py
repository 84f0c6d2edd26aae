"""Follows the logs of current runs: stores their bytes in local copies and reads the copies.

Bytes are stored before they are read. A copy that grew faster than it was read, or was written by another console, is read
later in short slices, so that the event loop stays responsive.
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
"""Logs of one node that are followed at the same time; a node has a few dozen engines at most."""
SLICE_S = 0.01
"""Longest time that one slice of reading blocks the event loop."""
READ_BYTES = 16 * 1024
"""Bytes read in one step; error lines take a hundred times as long as other lines."""
MOST_WARNED = 256


class LogFollowing:
    """All followed logs of one session."""

    def __init__(
        self,
        logs: LogBook,
        links: Mapping[str, NodeLink],
        runs: dict[RunKey, RunRecord],
        planned: Callable[[RunKey], str],
        on_read: Callable[[], None],
        warn: Callable[[str, str], None],
    ) -> None:
        """`planned`: the planned node of a run's engine, or empty. `warn(node, text)` adds a warning about a node."""
        self._logs = logs
        self._links = links
        self._runs = runs
        self._planned = planned
        self._on_read = on_read
        self._warn = warn
        self._quota = Quota(logs.root)
        self._owners: dict[RunKey, str] = {}
        """Run -> the node whose log is used: two nodes may list the same run."""
        self._warned: set[tuple[str, str]] = set()
        self._followed: dict[str, set[RunKey]] = {}
        self._behind: set[RunKey] = set()
        self._rereading: dict[RunKey, tuple[LaunchLog, int]] = {}
        """Copies that are read again: the new reader, and the bytes it has read."""
        self._wake = asyncio.Event()
        self._waiting: tuple[bytes, ...] = ()

    def set_waiting_patterns(self, waiting: tuple[bytes, ...]) -> None:
        """Set the patterns of lines that only say that an engine waits; such lines are no activity.

        Reads all logs again when the patterns change.
        """
        if waiting != self._waiting:
            self._waiting = waiting
            for key, run_record in self._runs.items():
                if run_record.bytes_read:
                    self.reread(key)

    async def run(self) -> None:
        """Read the copies that are not read to their end, until cancelled."""
        while True:
            await self._wake.wait()
            if self.read_behind(SLICE_S):
                self._wake.clear()
            self._on_read()
            await asyncio.sleep(SLICE_S / 2)

    def forget(self, node: str) -> None:
        """Follow no log of the node, because its link went down or is new."""
        self._followed.pop(node, None)

    def update(self, node: str, record: NodeRecord) -> None:
        """Follow the log of each engine's current run until the run has ended and its log is copied completely."""
        followed = self._followed.setdefault(node, set())
        link = self._links[node]
        for key in [key for key, owner in self._owners.items() if owner == node and key not in record.runs]:
            self._drop(key)
        for run in record.index.current.values():
            if run.verdict is RunVerdict.PREPARED or not self._owns(node, run.key):
                continue
            copy = self._logs.of(run.key)
            if self._run_record(run.key).bytes_read < copy.size:
                self._mark_behind(run.key)
            ended = run.verdict in (RunVerdict.EXITED, RunVerdict.LOST)
            if run.key in followed:
                if ended and copy.size >= run.log_size:
                    followed.discard(run.key)
                    link.unfollow(run.key)
                    copy.close()
            elif not ended or copy.size < run.log_size:
                if len(followed) >= MOST_FOLLOWED:
                    self._warn_once(node, f"has more than {MOST_FOLLOWED} logs to follow; the others are not followed")
                    continue
                followed.add(run.key)
                link.follow(run.key, copy.size, copy.fingerprint())

    def store(self, node: str, chunk: LogChunk) -> None:
        """Store the bytes, return their credit, read them.

        Raises ConsoleError when the bytes cannot be stored; then no credit is returned, and the log is followed again.
        """
        if self._owners.get(chunk.key) != node:
            return
        copy = self._logs.of(chunk.key)
        run_record = self._run_record(chunk.key)
        if chunk.restarted:
            run_record.log, run_record.bytes_read = self._reader(), 0
            self._rereading.pop(chunk.key, None)
        try:
            if gone := self._quota.take(node, copy, len(chunk.data), lambda: self._of_node(node)):
                self._warn(node, gone)
            copy.store(chunk)
        except ConsoleError:
            self._followed.get(node, set()).discard(chunk.key)
            raise
        self._links[node].credit(chunk.key, len(chunk.data))
        now = time.time()
        run_record.log_line_at = now
        if run_record.bytes_read == chunk.offset:
            run_record.log.feed(chunk.data[:READ_BYTES], now)
            run_record.bytes_read += len(chunk.data[:READ_BYTES])
        if run_record.bytes_read < copy.size:
            self._mark_behind(chunk.key)

    def reread(self, key: RunKey) -> None:
        """Read a changed copy again; the earlier result is used until that is done."""
        self._rereading[key] = (self._reader(), 0)
        self._wake.set()

    def read_behind(self, limit_s: float) -> bool:
        """Read for at most `limit_s`. Gives whether everything has been read."""
        end = time.monotonic() + limit_s
        for key in tuple(self._behind):
            copy, run_record = self._logs.of(key), self._run_record(key)
            while run_record.bytes_read < copy.size and time.monotonic() < end:
                run_record.bytes_read = copy.present(run_record.bytes_read)
                data = copy.read(run_record.bytes_read, READ_BYTES)
                if not data:
                    break
                run_record.log.feed(data, time.time())
                run_record.bytes_read += len(data)
            if run_record.bytes_read >= copy.size:
                self._behind.discard(key)
        for key in tuple(self._rereading):
            self._reread(key, end)
        return not self._behind and not self._rereading

    def _reread(self, key: RunKey, end: float) -> None:
        copy, run_record = self._logs.of(key), self._run_record(key)
        log, bytes_read = self._rereading[key]
        while bytes_read < run_record.bytes_read and time.monotonic() < end:
            bytes_read = copy.present(bytes_read)
            data = copy.read(bytes_read, min(READ_BYTES, run_record.bytes_read - bytes_read))
            if not data:
                break
            log.feed(data, time.time())
            bytes_read += len(data)
        self._rereading[key] = (log, bytes_read)
        if bytes_read >= run_record.bytes_read:
            run_record.log = log
            del self._rereading[key]

    def _owns(self, node: str, key: RunKey) -> bool:
        """Whether a node owns a run that it lists. Of two nodes the planned node of the engine owns it, else the first one."""
        owner = self._owners.setdefault(key, node)
        if owner != node and self._planned(key) == node:
            if key in self._followed.get(owner, set()):
                self._followed[owner].discard(key)
                self._links[owner].unfollow(key)
            owner, self._owners[key] = node, node
        if owner != node:
            self._warn_once(
                node, f"lists run {key.run} of {key.engine}, which belongs to {owner}; the log of {owner} is used"
            )
        return owner == node

    def _of_node(self, node: str) -> list[LogCopy]:
        return [self._logs.of(key) for key, owner in self._owners.items() if owner == node]

    def _drop(self, key: RunKey) -> None:
        """Forget a run that its node no longer lists."""
        del self._owners[key]
        self._behind.discard(key)
        self._runs.pop(key, None)
        self._logs.forget(key)

    def _run_record(self, key: RunKey) -> RunRecord:
        if key not in self._runs:
            self._runs[key] = RunRecord(key)
        run_record = self._runs[key]
        if not run_record.bytes_read:
            run_record.log.activity.waiting = self._waiting
        return run_record

    def _reader(self) -> LaunchLog:
        return LaunchLog(Activity(self._waiting))

    def _warn_once(self, node: str, text: str) -> None:
        if len(self._warned) < MOST_WARNED and (node, text) not in self._warned:
            self._warned.add((node, text))
            self._warn(node, text)

    def _mark_behind(self, key: RunKey) -> None:
        self._behind.add(key)
        self._wake.set()
