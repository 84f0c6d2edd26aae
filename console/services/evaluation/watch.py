"""Evaluations that run: how far they are, what the NPUs do meanwhile, and their record when they have ended.

Everything is read from what the nodes say of their runs and from the log copies, so that any console can do it at any time.
Beginning and cancelling do not enter here.
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
"""A busy engine prints its statistics every 10 s (VLLM_LOG_STATS_INTERVAL); an older line is of an engine that is idle."""
SERVED_EVERY_S = 2.0
_GENERATE = ("decode", "mixed")
_ALIVE = (RunVerdict.RUNNING, RunVerdict.ORPHANS, RunVerdict.FOREIGN)


class EvaluationWatch:
    """The runs of one session's deployment."""

    def __init__(self, monitor: Monitor, logs: LogBook, store: ResultStore) -> None:
        self.store = store
        self._monitor = monitor
        self._logs = logs
        self._bars: dict[RunKey, tuple[ProgressLog, int]] = {}
        self._sampled: dict[tuple[str, str], float] = {}
        self._kept: set[str] = set()
        self._trouble = ""
        self._trusted_from = time.time() + STATS_S  # until then lines of long ago are read, and look new

    def running(self) -> tuple[tuple[str, RunState], ...]:
        """(node, run) of every evaluation of this deployment that lives, on any node."""
        return tuple(
            (name, state)
            for name, record in self._monitor.nodes.items()
            for state in record.runs.values()
            if state.key.deployment == self._monitor.deployment.name
            and state.verdict in _ALIVE
            and spec_of(state) is not None
        )

    def progress(self, key: RunKey) -> Progress | None:
        """How far a run is, by its log as far as it is here; None before the first bar."""
        bars, offset = self._bars.get(key) or (ProgressLog(), 0)
        copy = self._logs.of(key)
        while data := copy.read(offset, READ_BYTES):
            bars.feed(data.decode("utf-8", "replace"), time.monotonic())
            offset += len(data)
        self._bars[key] = (bars, offset)
        return bars.newest

    def collect(self) -> tuple[Record, ...]:
        """Keep the record of every run that has ended and whose log is here whole; gives those that are new."""
        fresh = []
        for name, node in self._monitor.nodes.items():
            for state in tuple(node.runs.values()):
                record = self._collected(name, state)
                if record is not None and self.keep(record):
                    fresh.append(record)
        return tuple(fresh)

    def look(self, picture: ClusterSnapshot) -> tuple[Record, ...]:
        """With each snapshot: note what the NPUs do while a run goes, and keep what has ended."""
        for _, state in self.running():
            self.sample(state.key.run, picture)
        return self.collect()

    def attend(self, picture: ClusterSnapshot) -> None:
        """`look` for a session's snapshots: trouble with the store becomes an event, once, and never ends the snapshots."""
        try:
            self.look(picture)
            self._trouble = ""
        except ConsoleError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._monitor.note(EventLevel.ERROR, f"evaluations: {error}")

    async def wait(self, key: RunKey, told: Callable[[Progress | None], None]) -> Record:
        """Until a run has ended and its record is kept; its progress with each snapshot. Leaving it leaves the run alone."""
        arrived = asyncio.Event()
        leave = self._monitor.subscribe(lambda _: arrived.set())
        try:
            while True:
                self.look(self._monitor.snapshot)
                if key.run in self._kept:
                    return self.store.get(key.run)
                told(self.progress(key))
                arrived.clear()
                await arrived.wait()
        finally:
            leave()

    def _collected(self, node: str, state: RunState) -> Record | None:
        """The record of a run that has ended, once; None while it goes on, or its log is not here whole."""
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
        """Keep a record and say so; False when another console was first."""
        fresh = self.store.add(record)
        self._kept.add(record.run)
        if fresh:
            level = EventLevel.INFO if record.clean else EventLevel.WARNING
            text = f"{record.tool} {record.subject}: {record.ending}" + (f", {record.error}" if record.error else "")
            if record.failed_requests:
                text += f", {record.failed_requests} requests failed"
            self._monitor.note(level, text)
        return fresh

    def sample(self, run: str, picture: ClusterSnapshot) -> None:
        """Note what the NPUs of the deployment's nodes did and what its engines served, each reading once."""
        self._sample_served(run, picture)
        fresh = []
        for node in picture.nodes.values():
            at = node.sampled_at
            if at is None or not node.ranks or self._sampled.get((run, node.name), 0.0) >= at:
                continue
            self._sampled[run, node.name] = at
            fresh.append(npu_sample(node, at))
        if fresh:
            self.store.add_samples(run, fresh)

    def _sample_served(self, run: str, picture: ClusterSnapshot) -> None:
        """The last statistics lines of all engines that generate, summed when a new one has come."""
        keys = [self._monitor.current(engine.id) for engine in picture.engines.values() if engine.role in _GENERATE]
        lines = [line for key in keys if key and (line := self._monitor.learnt(key).log_state.throughput) is not None]
        newest = max((line.at for line in lines), default=0.0)
        if newest < self._trusted_from or newest - self._sampled.get((run, ""), 0.0) < SERVED_EVERY_S:
            return
        self._sampled[run, ""] = newest
        now = [line for line in lines if newest - line.at < STATS_S]
        tokens, running = sum(line.generation_tokens_s for line in now), sum(line.running for line in now)
        self.store.add_served(run, ServedSample(newest, tokens, running))


def npu_sample(node: NodeSnapshot, at: float) -> NpuSample:
    """One node's devices in three figures; what no device reported is None."""
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
