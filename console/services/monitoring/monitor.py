"""Receives what nodes report, keeps the newest reports, and publishes a snapshot after changes, at most four times a second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from console.model.alert import Alert
from console.model.deployment import Deployment
from console.model.errors import ConsoleError
from console.model.ongoing_work import OngoingPlan
from console.model.restart import GroupRestart
from console.model.run import Hello, LogChunk, RunKey, RunState, Sample
from console.model.snapshot import (
    ClusterSnapshot,
    Diagnosis,
    EngineSnapshot,
    EngineState,
    Event,
    EventLevel,
    Link,
    LinkState,
)
from console.model.start_timing import StartProgress, UsualDuration
from console.model.unmanaged_process import UnmanagedProcess
from console.probes.host import host_probe, parse_host
from console.probes.npu_details import with_all_processes
from console.probes.npu_smi import info_probe, read_info
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.background_tasks import FAULTS, fault_text
from console.services.logs.copies import LogBook
from console.services.monitoring import completeness, snapshot_builder
from console.services.monitoring.current_deployment import CurrentDeployment
from console.services.monitoring.drift import DriftCache
from console.services.monitoring.event_limit import EventLimit
from console.services.monitoring.loads import Loads
from console.services.monitoring.log_following import LogFollowing
from console.services.monitoring.node_isolation import NodeIsolation
from console.services.monitoring.publishing import HEARTBEAT_S, is_due
from console.services.monitoring.records import NodeRecord, RunRecord
from console.services.monitoring.snapshot_events import EngineEvents, link_event

FRAME_S = 0.25
"""Shortest time between two snapshots."""
KEPT_EVENTS = 500


class Monitor:
    """Receives the reports of all links of one session."""

    def __init__(
        self, deployment: Deployment, logs: LogBook, links: Mapping[str, NodeLink], *, read_only: bool
    ) -> None:
        self.read_only = read_only
        self.work: OngoingPlan | None = None
        """The plan that runs in this console, or the plan of the lease's holder."""
        self.abandoned: OngoingPlan | None = None
        """The plan that held the lease last and did not return it."""
        self.diagnoses: tuple[Diagnosis, ...] = ()
        self.alerts: tuple[Alert, ...] = ()
        self.restarts: Mapping[str, GroupRestart] = {}
        self.start_progress: Mapping[str, StartProgress] = {}
        self.usual: Mapping[str, UsualDuration] = {}
        self.log_gaps: Mapping[str, Mapping[str, float]] = {}
        self.nodes = {name: NodeRecord(node) for name, node in deployment.cluster.nodes.items()}
        self.current_deployment = CurrentDeployment(deployment, self.nodes, self.note)
        self.runs: dict[RunKey, RunRecord] = {}
        self._logs = logs
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._event_limit = EventLimit()
        self._engine_events = EngineEvents()
        self._drifts = DriftCache()
        self._loads = Loads()
        self._seq = 0
        self._listeners: list[Callable[[ClusterSnapshot], None]] = []
        self._dirty = asyncio.Event()
        self._changed = True
        self.faults: Mapping[str, str] = {}
        """Failed parts of this console, which are restarted -> their error."""
        self._isolation = NodeIsolation(
            lambda node, fault: self.on_remark(node, f"sent a report that cannot be shown: {fault}")
        )
        self.following = LogFollowing(
            logs, links, self.runs, lambda key: _planned(self.deployment, key), self.touch, self.on_remark
        )
        self.snapshot = self._build()

    @property
    def deployment(self) -> Deployment:
        """The current cluster, layout and assignment."""
        return self.current_deployment.current

    def subscribe(self, listener: Callable[[ClusterSnapshot], None]) -> Callable[[], None]:
        """Call `listener` with each new snapshot. Gives a function that unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def current(self, engine: str) -> RunKey | None:
        """The run of an engine of the snapshot."""
        seen = self.snapshot.engines.get(engine)
        return _key_of(self.nodes, seen) if seen else None

    def run_state(self, key: RunKey, node: str) -> RunState | None:
        """The state of a run as its node last reported it."""
        record = self.nodes.get(node)
        return record.runs.get(key) if record else None

    def run_record(self, key: RunKey) -> RunRecord:
        """The record of a run, created at first use."""
        return self.runs.setdefault(key, RunRecord(key))

    def note(self, level: EventLevel, text: str, *, node: str = "", engine: str = "") -> None:
        """Add an event to the snapshot. The events of one node are limited."""
        now = time.time()
        kept = self._event_limit.admit(node, text, now) if node else text
        if kept is None:
            return
        self._seq += 1
        self._events.append(Event(self._seq, now, level, kept, node, engine))
        self.touch()

    def touch(self, *, urgent: bool = True) -> None:
        """Request a snapshot: now for a change that a person waits for, else within seconds."""
        self._changed = True
        if urgent:
            self._dirty.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._dirty.wait()
            except TimeoutError:
                others = self.work, self.diagnoses, self.alerts, self.restarts
                if not is_due(self.snapshot, others, time.time(), changed=self._changed):
                    continue
            self._dirty.clear()
            self.publish()
            await asyncio.sleep(FRAME_S)

    def publish(self) -> None:
        """Build a snapshot now and pass it to all listeners."""
        self._changed = False
        before = self.snapshot.engines
        after = self._build()
        for event in self._engine_events.collect(before, after.engines, time.time()):
            self.note(event.level, event.text, node=event.node, engine=event.engine)
        for engine in after.engines.values():
            key = _key_of(self.nodes, engine) if engine.state is EngineState.READY else None
            if key is not None and self.run_record(key).ready_at is None:
                self.run_record(key).ready_at = time.time()
        self.snapshot = after if len(self._events) == len(after.events) else self._build()
        for listener in tuple(self._listeners):
            try:
                listener(self.snapshot)
            except FAULTS as error:
                self.failed(f"a listener ({getattr(listener, '__qualname__', listener)!s:.80})", fault_text(error))

    # Called by links; each method returns at once.

    def on_link(self, node: str, link: Link) -> None:
        """Handle a new state of a node's link."""
        record = self.nodes[node]
        if (event := link_event(record.link, link)) is not None:
            self.note(event[0], event[1], node=node)
        measured = link.state is record.link.state is LinkState.UP and link.since == record.link.since
        record.link = replace(link, reason=clean(link.reason), hint=clean(link.hint))
        completeness.update(self.deployment, {node: record}, self.runs, time.time())
        if link.state is not LinkState.UP:
            self.following.forget(node)
        if not measured:  # else only its round trip is new, which the next snapshot shows
            self.touch()

    def on_hello(self, node: str, hello: Hello) -> None:
        """Handle the start of a helper on a node."""
        record = self.nodes[node]
        record.hello = hello
        record.measure_clock(hello.clock, time.time())
        self.following.forget(node)
        self.touch()

    def on_sample(self, node: str, sample: Sample) -> None:
        """Handle the answer of a probe."""
        if _SAMPLES.get(sample.probe, _ignore)(self.nodes[node], sample):
            self.touch(urgent=False)
        self.current_deployment.learn_address(self.nodes[node])
        if self.nodes[node].awaiting:
            self.touch()

    def on_runs(
        self, node: str, runs: tuple[RunState, ...], unmanaged: tuple[UnmanagedProcess, ...], clock: float
    ) -> None:
        """Handle a node's list of runs and of unmanaged processes; `clock` is the node's time of the list."""
        record = self.nodes[node]
        now = time.time()
        listed = {run.key: run for run in runs}
        news = not record.runs_listed or unmanaged != record.unmanaged or not _equal_except_logs(listed, record.runs)
        if listed != record.runs:
            record.runs = listed
        record.runs_at, record.runs_listed = now, True
        record.measure_clock(clock, now)
        record.unmanaged = unmanaged
        self.following.update(node, record)
        if news or record.awaiting:
            self.touch()

    def on_log(self, node: str, chunk: LogChunk) -> None:
        """Handle bytes of a log: store them, then read them."""
        before = _log_facts(self.runs.get(chunk.key))
        try:
            self.following.store(node, chunk)
        except ConsoleError as error:
            self.note(EventLevel.ERROR, str(error), node=node, engine=chunk.key.engine)
        self.touch(urgent=False)
        if _log_facts(self.runs.get(chunk.key)) != before or self.nodes[node].awaiting:
            self.touch()

    def on_log_error(self, node: str, key: RunKey, message: str) -> None:
        """Handle a log that cannot be read on its node."""
        self.run_record(key).log_refused = True
        self.note(EventLevel.ERROR, f"log: {clean(message)}", node=node, engine=key.engine)

    def on_stop(self, node: str, key: RunKey, stage: str) -> None:
        """Handle the next stage of a stop."""
        self._engine_events.stage(node, key.engine, stage, time.time())

    def on_remark(self, node: str, text: str) -> None:
        """Add a warning about a node, for example about a report that was accepted only in part."""
        self.note(EventLevel.WARNING, clean(text), node=node)

    def failed(self, name: str, fault: str) -> None:
        """Report that a part of this console failed (`fault` is the error) or recovered (`fault` is empty)."""
        if self.faults.get(name, "") == fault:
            return
        others = {each: why for each, why in self.faults.items() if each != name}
        self.faults = {**others, name: fault} if fault else others
        text = f"failed and is restarted: {clean(fault)}" if fault else "runs again"
        self.note(EventLevel.ERROR if fault else EventLevel.INFO, f"this console's {name} {text}")
        self.snapshot = replace(self.snapshot, faults=tuple(self.faults), events=tuple(self._events))

    def _build(self) -> ClusterSnapshot:
        now = time.time()

        def build(nodes: Mapping[str, NodeRecord]) -> ClusterSnapshot:
            completeness.update(self.deployment, nodes, self.runs, now)
            inputs = snapshot_builder.SnapshotInputs(
                deployment=self.deployment,
                nodes=nodes,
                runs=self.runs,
                copied=lambda key: self._logs.of(key).size,
                events=tuple(self._events),
                read_only=self.read_only,
                work=self.work,
                abandoned=self.abandoned,
                previous=self.snapshot.engines if hasattr(self, "snapshot") else {},
                diagnoses=self.diagnoses,
                alerts=self.alerts,
                restarts=self.restarts,
                start_progress=self.start_progress,
                usual=self.usual,
                log_gaps=self.log_gaps,
                drifts=self._drifts,
                loads=self._loads,
            )
            return snapshot_builder.build_snapshot(inputs, now)

        built = self._isolation.build(self.nodes, build)
        return replace(built, faults=tuple(self.faults)) if self.faults else built


def _log_facts(known: RunRecord | None) -> tuple[object, ...]:
    """The facts of a run's log that matter for its engine's state, without progress."""
    state = known.log_state if known is not None else None
    return () if state is None else (state.phase, state.ready, state.dead, state.first_error)


def _equal_except_logs(after: Mapping[RunKey, RunState], before: Mapping[RunKey, RunState]) -> bool:
    """Whether two lists of runs are equal except for the growth of logs."""
    return after.keys() == before.keys() and all(
        run is before[key] or replace(run, log_size=before[key].log_size, log_at=before[key].log_at) == before[key]
        for key, run in after.items()
    )


def _planned(deployment: Deployment, key: RunKey) -> str:
    """The planned node of a run's engine; empty when the deployment has no such engine."""
    if key.deployment != deployment.name:
        return ""
    return next((rank.node for rank in deployment.processes() if rank.id == key.engine), "")


def _key_of(nodes: Mapping[str, NodeRecord], engine: EngineSnapshot) -> RunKey | None:
    """The run of an engine of the snapshot, whose id is `decode-3`, `decode-3@d0` or `other/decode-3@d0`."""
    record = nodes.get(engine.node)
    if record is None or engine.run is None:
        return None
    return record.index.keys.get((engine.id.partition("@")[0].rpartition("/")[2], engine.run))


def _npu_sample(record: NodeRecord, sample: Sample) -> bool:
    """Keep a complete NPU table; gives whether it is news.

    An incomplete table is kept only until the first complete one, with its error.
    """
    ended = sample.at - (record.clock_offset_s or 0.0)
    record.table_started_at = ended - sample.took_s
    if sample.stdout is record.table_text:
        record.table_at = ended
        return False
    table = with_all_processes(read_info(sample), sample.stdout)
    record.table_error = table.error if table.complete else table.error or "the table of npu-smi was cut off"
    had_complete = record.table is not None and record.table.complete
    record.table_text = sample.stdout if table.complete else None
    if table.complete or (table.devices and not had_complete):
        record.table = table
        record.table_at = ended
    return True


def _host_sample(record: NodeRecord, sample: Sample) -> bool:
    record.host_sampled = True
    if sample.exit_code == 0:
        record.host = parse_host(sample.stdout)
    return True


def _ignore(record: NodeRecord, sample: Sample) -> bool:
    """Ignore a probe that is not part of the snapshot; its requester receives the answer."""
    return False


_SAMPLES: dict[str, Callable[[NodeRecord, Sample], bool]] = {
    info_probe().name: _npu_sample,
    host_probe().name: _host_sample,
}
