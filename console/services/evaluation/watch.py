"""Watches running evaluations: progress, NPU use, and the record at the end.

Everything comes from reports of nodes and log copies, so any console can do this at any time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from console.evaluation.progress import Progress, ProgressLog
from console.evaluation.records import NpuSample, Record, ServedSample
from console.evaluation.result_store import ResultStore
from console.model.errors import ConsoleError
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import ClusterSnapshot, EventLevel, NodeSnapshot
from console.services.evaluation.results import record_of, spec_of
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor

READ_BYTES = 256 * 1024
STATS_S = 15.0
"""Age limit of a statistics line; a busy engine prints one every 10 s (VLLM_LOG_STATS_INTERVAL)."""
SERVED_EVERY_S = 2.0
_GENERATE = ("decode", "mixed")
_ALIVE = (RunVerdict.RUNNING, RunVerdict.ORPHANS, RunVerdict.FOREIGN)


class EvaluationWatch:
    """The evaluations of one session's deployment."""

    def __init__(self, monitor: Monitor, logs: LogBook, store: ResultStore) -> None:
        self.store = store
        self._monitor = monitor
        self._logs = logs
        self._bars: dict[RunKey, tuple[ProgressLog, int]] = {}
        self._sampled: dict[tuple[str, str], float] = {}
        self._kept: set[str] = set()
        self._trouble = ""
        self._trusted_from = time.time() + STATS_S  # until then old lines are read and would look new

    def running(self) -> tuple[tuple[str, RunState], ...]:
        """(node, run) of every running evaluation of this deployment."""
        return tuple(
            (name, state)
            for name, record in self._monitor.nodes.items()
            for state in record.runs.values()
            if state.key.deployment == self._monitor.deployment.name
            and state.verdict in _ALIVE
            and spec_of(state) is not None
        )

    def progress(self, key: RunKey) -> Progress | None:
        """The progress of a run by its log copy; None before the first progress bar."""
        bars, offset = self._bars.get(key) or (ProgressLog(), 0)
        copy = self._logs.of(key)
        while data := copy.read(offset, READ_BYTES):
            bars.feed(data.decode("utf-8", "replace"), time.monotonic())
            offset += len(data)
        self._bars[key] = (bars, offset)
        return bars.newest

    def collect(self) -> tuple[Record, ...]:
        """Keep the record of every ended run with a complete log copy. Gives the new records."""
        fresh = []
        for name, node in self._monitor.nodes.items():
            for state in tuple(node.runs.values()):
                record = self._collected(name, state)
                if record is not None and self.keep(record):
                    fresh.append(record)
        return tuple(fresh)

    def update(self, snapshot: ClusterSnapshot) -> tuple[Record, ...]:
        """Sample the NPUs of running evaluations, and keep records of ended ones. Called with each snapshot."""
        for _, state in self.running():
            self.sample(state.key.run, snapshot)
        return self.collect()

    def on_snapshot(self, snapshot: ClusterSnapshot) -> None:
        """`update` for a session's snapshots; a storage error becomes an event once."""
        try:
            self.update(snapshot)
            self._trouble = ""
        except ConsoleError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._monitor.note(EventLevel.ERROR, f"evaluations: {error}")

    async def wait(self, key: RunKey, on_progress: Callable[[Progress | None], None]) -> Record:
        """Wait until a run has ended and its record is kept; `on_progress` gets its progress. Cancelling does not stop the
        run.
        """
        arrived = asyncio.Event()
        unsubscribe = self._monitor.subscribe(lambda _: arrived.set())
        try:
            while True:
                self.update(self._monitor.snapshot)
                if key.run in self._kept:
                    return self.store.get(key.run)
                on_progress(self.progress(key))
                arrived.clear()
                await arrived.wait()
        finally:
            unsubscribe()

    def _collected(self, node: str, state: RunState) -> Record | None:
        """The record of an ended run, once; None before its end or without its complete log."""
        if state.key.run in self._kept or state.verdict not in (RunVerdict.EXITED, RunVerdict.LOST):
            return None
        spec = spec_of(state)
        if spec is None:
            return None
        if self.store.has(state.key.run):
            self._kept.add(state.key.run)
            return None
        copy = self._logs.of(state.key)
        if copy.size < state.log_size:
            return None
        offset = self._monitor.nodes[node].clock_offset_s or 0.0
        log = copy.read(0, copy.size)
        run = state.key.run
        return record_of(state, spec, node, log, self.store.samples(run), offset, self.store.served(run))

    def keep(self, record: Record) -> bool:
        """Keep a record and add an event; False when another console has kept it."""
        fresh = self.store.add(record)
        self._kept.add(record.run)
        if fresh:
            level = EventLevel.INFO if record.clean else EventLevel.WARNING
            text = f"{record.tool} {record.subject}: {record.ending}" + (f", {record.error}" if record.error else "")
            if record.failed_requests:
                text += f", {record.failed_requests} requests failed"
            self._monitor.note(level, text)
        return fresh

    def sample(self, run: str, snapshot: ClusterSnapshot) -> None:
        """Sample the NPUs of the deployment's nodes and the throughput of its engines, each reading once."""
        self._sample_served(run, snapshot)
        fresh = []
        for node in snapshot.nodes.values():
            at = node.sampled_at
            if at is None or not node.ranks or self._sampled.get((run, node.name), 0.0) >= at:
                continue
            self._sampled[run, node.name] = at
            fresh.append(npu_sample(node, at))
        if fresh:
            self.store.add_samples(run, fresh)

    def _sample_served(self, run: str, snapshot: ClusterSnapshot) -> None:
        """Sum the last statistics lines of all generating engines when a new line has arrived."""
        keys = [self._monitor.current(engine.id) for engine in snapshot.engines.values() if engine.role in _GENERATE]
        lines = [
            line for key in keys if key and (line := self._monitor.run_record(key).log_state.throughput) is not None
        ]
        newest = max((line.at for line in lines), default=0.0)
        if newest < self._trusted_from or newest - self._sampled.get((run, ""), 0.0) < SERVED_EVERY_S:
            return
        self._sampled[run, ""] = newest
        now = [line for line in lines if newest - line.at < STATS_S]
        tokens, running = sum(line.generation_tokens_s for line in now), sum(line.running for line in now)
        self.store.add_served(run, ServedSample(newest, tokens, running))


def npu_sample(node: NodeSnapshot, at: float) -> NpuSample:
    """The devices of one node as three figures; None where no device reported one."""
    core = [device.aicore_percent for device in node.devices if device.aicore_percent is not None]
    memory = [device.hbm_used_mib for device in node.devices if device.hbm_used_mib is not None]
    power = [device.power_w for device in node.devices if device.power_w is not None]
    return NpuSample(
        at=at,
        node=node.name,
        aicore_percent=sum(core) / len(core) if core else None,
        hbm_used_mib=max(memory, default=None),
        power_w=sum(power) if power else None,
    )
