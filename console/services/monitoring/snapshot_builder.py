"""Builds a snapshot from the records of nodes and runs. Pure: no task, no clock, no link."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import get_args

from console.model.alert import Alert
from console.model.deployment import Deployment, Rank
from console.model.ongoing_work import InterruptedPlan, OngoingPlan
from console.model.restart import GroupRestart
from console.model.role import BESIDE_ENGINES, RankRole
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import (
    ClusterSnapshot,
    Device,
    Diagnosis,
    EngineSnapshot,
    EngineState,
    Event,
    Link,
    LinkState,
    NodeSnapshot,
    Task,
)
from console.model.start_timing import StartProgress, StartSkew, UsualDuration, skew_of
from console.probes.engine_log import Phase
from console.services.monitoring import engine_states, unmanaged_watch
from console.services.monitoring.drift import DriftCache
from console.services.monitoring.health_checks import health_checks, log_active_at, log_grew_at, log_read
from console.services.monitoring.loads import Loads
from console.services.monitoring.records import ALIVE, NodeRecord, RunRecord
from console.services.monitoring.run_history import observed_operations, stop_request
from console.services.monitoring.service_state import service
from console.services.monitoring.stall_detection import held_up


@dataclass(frozen=True, slots=True)
class SnapshotInputs:
    """All inputs of a snapshot."""

    deployment: Deployment
    nodes: Mapping[str, NodeRecord]
    runs: Mapping[RunKey, RunRecord]
    copied: Callable[[RunKey], int]
    """Bytes of a run's log in the local copy."""
    events: tuple[Event, ...]
    read_only: bool
    work: OngoingPlan | None
    abandoned: OngoingPlan | None
    """A plan that did not return its lease."""
    previous: Mapping[str, EngineSnapshot]
    diagnoses: tuple[Diagnosis, ...] = ()
    alerts: tuple[Alert, ...] = ()
    restarts: Mapping[str, GroupRestart] = field(default_factory=dict)
    start_progress: Mapping[str, StartProgress] = field(default_factory=dict)
    usual: Mapping[str, UsualDuration] = field(default_factory=dict)
    drifts: DriftCache = field(default_factory=DriftCache)
    loads: Loads = field(default_factory=Loads)
    log_gaps: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Group -> phase -> the longest time without a log line in earlier starts."""


def current_run(record: NodeRecord, deployment: str, engine: str) -> RunState | None:
    """The newest run of an engine on a node; a live run has priority over a newer one that was only prepared."""
    return record.index.current.get((deployment, engine))


def build_snapshot(inputs: SnapshotInputs, now: float) -> ClusterSnapshot:
    """The snapshot at `now` (seconds since the epoch on this machine)."""
    ranks = inputs.deployment.ranks()
    planned = inputs.deployment.processes()
    engines = {rank.id: _engine(inputs, rank, now) for rank in planned}
    engines.update(_unplanned_engines(inputs, planned, now))
    engines.update(engine_states.ready_by_group(engines, _quiet_engines(inputs, engines)))
    first = next((each.engine for each in inputs.diagnoses if each.first), "")
    records = {rank.id: run_record for rank in ranks if (run_record := _live_run_record(inputs, rank)) is not None}
    served = {name: at for name, run_record in records.items() if (at := run_record.served_at) is not None}
    engines = engine_states.mark_group_degraded(engines, _ended_at(inputs, engines), first, served)
    if inputs.work is None:
        engines.update(engine_states.degraded_by_stop(engines, _ended_at(inputs, engines), now))
    single, grouped = inputs.loads.serving(ranks, records, now)
    for name, engine in engines.items():
        if engine.state is EngineState.STARTING and (pace := inputs.start_progress.get(engine.group)) is not None:
            engines[name] = replace(engine, start_left_s=pace.left_s)
    engines.update(held_up(engines, inputs.log_gaps, now))
    engines.update(_failing_starts(engines, inputs.diagnoses))
    starting = {each.group for each in engines.values() if each.state is EngineState.STARTING}
    for name, serving in single.items():
        engines[name] = replace(engines[name], serving=serving)
    devices = {(rank.node, device): rank.id for rank in ranks for device in rank.devices}
    nodes = {name: _node(inputs, record, planned, devices) for name, record in inputs.nodes.items()}
    return ClusterSnapshot(
        at=now,
        cluster=inputs.deployment.cluster.name,
        deployment=inputs.deployment.name,
        read_only=inputs.read_only,
        holder=inputs.work.words() if inputs.work else "",
        work=inputs.work,
        interrupted_plan=_interrupted_plan(inputs, engines),
        service=service(inputs.deployment, tuple(engines.values()), _started_at(inputs, engines), now),
        nodes=nodes,
        engines=engines,
        events=inputs.events,
        serving=grouped,
        diagnoses=inputs.diagnoses,
        alerts=inputs.alerts,
        tasks=_tasks(inputs),
        observed_operations=observed_operations(inputs.nodes, inputs.deployment.name),
        restarts=inputs.restarts,
        start_progress={name: each for name, each in inputs.start_progress.items() if name in starting},
        usual=inputs.usual,
        skews=_skews(inputs, engines),
    )


def _quiet_engines(inputs: SnapshotInputs, engines: Mapping[str, EngineSnapshot]) -> frozenset[str]:
    """Headless engines whose settings silence their logs."""
    headless = [each for each in engines.values() if each.headless and each.node in inputs.nodes]
    runs = {each.id: current_run(inputs.nodes[each.node], inputs.deployment.name, each.id) for each in headless}
    return frozenset(name for name, run in runs.items() if run is not None and run.quiet)


def _started_at(inputs: SnapshotInputs, engines: Mapping[str, EngineSnapshot]) -> dict[str, float]:
    """The start times of engines where known, on this machine's clock."""
    return {
        each.id: each.started_at - (inputs.nodes[each.node].clock_offset_s or 0.0)
        for each in engines.values()
        if each.started_at is not None and each.node in inputs.nodes
    }


def _interrupted_plan(inputs: SnapshotInputs, engines: Mapping[str, EngineSnapshot]) -> InterruptedPlan | None:
    """The interrupted plan and its engines that still run; None when all were stopped or another plan runs now."""
    work, began = inputs.abandoned, _started_at(inputs, engines)
    if work is None or inputs.work is not None:
        return None
    left = tuple(
        each.id for each in engines.values() if each.state.alive and work.takes_down(each.id, began.get(each.id))
    )
    return InterruptedPlan(work, left) if left else None


def _skews(inputs: SnapshotInputs, engines: Mapping[str, EngineSnapshot]) -> dict[str, StartSkew]:
    """The start skew of the running ranks of each group."""
    found, known = {}, _started_at(inputs, engines)
    for name, group in inputs.deployment.layout.groups.items():
        began = {each: at for each, at in known.items() if engines[each].group == name and engines[each].state.alive}
        if (skew := skew_of(name, began, {**inputs.deployment.layout.env, **group.env})) is not None:
            found[name] = skew
    return found


def _failing_starts(engines: Mapping[str, EngineSnapshot], diagnoses: Iterable[Diagnosis]) -> dict[str, EngineSnapshot]:
    """Starting engines whose log has a fatal failure, with the failure as their cause."""
    found: dict[str, Diagnosis] = {}
    for each in diagnoses:
        if each.severity == "fatal" and (each.engine not in found or each.first):
            found[each.engine] = each
    return {
        name: replace(engines[name], cause=f"{each.signature} {each.title}: {each.text}")
        for name, each in found.items()
        if name in engines and engines[name].state is EngineState.STARTING and not engines[name].cause
    }


def _live_run_record(inputs: SnapshotInputs, rank: Rank) -> RunRecord | None:
    """The record of the running run of a rank, or None."""
    record = inputs.nodes.get(rank.node)
    run = current_run(record, inputs.deployment.name, rank.id) if record else None
    return inputs.runs.get(run.key) if run and run.verdict is RunVerdict.RUNNING else None


def _engine(inputs: SnapshotInputs, rank: Rank, now: float) -> EngineSnapshot:
    base = EngineSnapshot(
        id=rank.id,
        node=rank.node,
        group=rank.group,
        role=rank.role,
        state=EngineState.IDLE,
        dp_rank=rank.dp_rank,
        devices=rank.devices,
        port=rank.port,
        headless=rank.headless,
        part=rank.part,
    )
    record = inputs.nodes.get(rank.node)
    if record is None:
        return replace(base, state=EngineState.UNREACHABLE, cause="the node is not in the cluster file")
    run = current_run(record, inputs.deployment.name, rank.id)
    seen = _with_state(inputs, base, record, run, now)
    if run is None or rank.role in BESIDE_ENGINES or seen.connecting:
        return seen
    return replace(seen, drift=inputs.drifts.of(inputs.deployment, rank, run.key, run.spec))


def _with_state(
    inputs: SnapshotInputs, base: EngineSnapshot, record: NodeRecord, run: RunState | None, now: float
) -> EngineSnapshot:
    if missing := _missing(record, run):
        return _connecting(inputs, base, record, run, missing, now)
    run_record = inputs.runs.get(run.key) if run else None
    verdict = engine_states.judge(_evidence(inputs, base, record, run, run_record, now))
    age = _age(record, now)
    stale = _last_known(inputs, base.id) if verdict.state is EngineState.UNREACHABLE else None
    if run is None:
        return replace(base, state=verdict.state, cause=verdict.cause, age_s=age, stale_of=stale)
    log, plain = run_record.log_state if run_record else None, base.role == "service"
    running = run.verdict is RunVerdict.RUNNING and not run.stopping
    silent_log = bool(log and not log.ready and run.quiet and verdict.state is EngineState.READY)
    return replace(
        base,
        state=verdict.state,
        cause=verdict.cause,
        asked=stop_request(run, record.clock_offset_s or 0.0),
        phase=str(Phase.SERVING if silent_log else log.phase) if log and running and not plain else "",
        progress=(1.0 if silent_log else log.progress) if log and running and not plain else None,
        progress_text=log.progress_text if log and running else "",
        health=health_checks(record, run, run_record, plain=plain, part=base.part > 0),
        run=run.key.run,
        release=str(run.spec.get("release") or ""),
        pid=run.pid,
        started_at=run.started_at,
        zone=run.zone or (record.hello.zone if record.hello else ()),
        exit=run.exit,
        died_at=run_record.died_at if run_record and not run.stopping and not plain else None,
        log_bytes=run.log_size,
        log_copied=inputs.copied(run.key),
        log_read=log_read(run, run_record),
        log_line_at=log_grew_at(record, run, run_record),
        log_spoke_at=log_active_at(record, run, run_record),
        age_s=age,
        stuck_pids=run.pids if verdict.state is EngineState.STUCK else (),
        stale_of=stale,
        serving_error=run_record.metrics.error if run_record and running else "",
        signature=run_record.signature if run_record else "",
        isolated=tuple(sorted(run_record.isolated)) if run_record else (),
    )


def _age(record: NodeRecord, now: float) -> float | None:
    return None if record.runs_at is None else max(0.0, now - record.runs_at)


def _last_known(inputs: SnapshotInputs, engine: str) -> EngineState | None:
    """The state before its node became unreachable; None without one."""
    before = inputs.previous.get(engine)
    stale = (before.stale_of or before.state) if before else None
    return None if stale is EngineState.UNREACHABLE else stale


def _missing(record: NodeRecord, run: RunState | None) -> str:
    """What is missing to decide the state of a run on a connected node, as text; empty when nothing is missing."""
    if record.link.state is LinkState.CONNECTING:
        return "the link"
    if record.link.state not in (LinkState.UP, LinkState.STALE):
        return ""
    if not record.complete:
        return record.missing or "its first report"
    return "its log and health" if run is not None and run.key in record.unknown_runs else ""


def _connecting(
    inputs: SnapshotInputs, base: EngineSnapshot, record: NodeRecord, run: RunState | None, missing: str, now: float
) -> EngineSnapshot:
    """An engine whose state is unknown yet; its run is given, so that its log and its server can be read."""
    return replace(
        base,
        state=EngineState.UNREACHABLE,
        connecting=True,
        cause=record.link.reason or f"connecting: waits for {missing}",
        stale_of=_last_known(inputs, base.id),
        run=run.key.run if run else None,
        pid=run.pid if run and run.verdict in ALIVE and record.runs_listed else None,
        age_s=_age(record, now),
    )


def _evidence(
    inputs: SnapshotInputs,
    base: EngineSnapshot,
    record: NodeRecord,
    run: RunState | None,
    run_record: RunRecord | None,
    now: float,
) -> engine_states.Evidence:
    plain = base.role == "service"
    log = run_record.log_state if run_record else None
    log_state = None if plain else log
    return engine_states.Evidence(
        link=record.link,
        run=run,
        headless=base.headless or base.port is None,
        part=base.part > 0,
        plain=plain,
        log_ready=bool(log_state and log_state.ready),
        log_current=run_record is not None and log_read(run, run_record),
        log_ends_s=now - log_state.ends_since if log_state and log_state.ends_since is not None else None,
        log_dead=log_state.dead if log_state else "",
        first_error=log.first_error if log else "",
        checks=run_record.answer_checks if run_record else (),
        was_ready=bool(run_record and run_record.ready_at is not None),
        stuck=bool(run_record and run_record.stuck),
        stop_age_s=_since(record, run.stop_at if run else None, now) or 0.0,
        exit_age_s=_since(record, run.exit.at if run and run.exit else None, now),
    )


def _since(record: NodeRecord, at: float | None, now: float) -> float | None:
    """Seconds since a time on the node's clock; None when the time is unknown."""
    return None if at is None else now + (record.clock_offset_s or 0.0) - at


def _is_task(run: RunState) -> bool:
    """Whether a run is a task and not an engine, by the role in its spec. A run without a role is an engine."""
    return str(run.spec.get("role", "mixed")) not in get_args(RankRole)


def _tasks(inputs: SnapshotInputs) -> tuple[Task, ...]:
    """Live runs that are tasks and not engines."""
    return tuple(
        Task(name, key.deployment, key.engine, str(run.spec["role"]), key.run, run.pid, run.started_at, run.stopping)
        for name, record in inputs.nodes.items()
        for key, run in record.runs.items()
        if run.verdict in ALIVE and _is_task(run)
    )


def _unplanned_engines(inputs: SnapshotInputs, planned: Iterable[Rank], now: float) -> dict[str, EngineSnapshot]:
    """Live runs that the deployment does not plan: engines of another deployment, or engines on another node than planned."""
    known = {(inputs.deployment.name, rank.id, rank.node) for rank in planned}
    found: dict[str, EngineSnapshot] = {}
    for name, record in inputs.nodes.items():
        for key, run in record.runs.items():
            if run.verdict not in ALIVE or _is_task(run) or (key.deployment, key.engine, name) in known:
                continue
            # Group names contain no slash, so a group of another deployment never equals a group of this one.
            prefix = "" if key.deployment == inputs.deployment.name else f"{key.deployment}/"
            label = f"{prefix}{key.engine}@{name}"
            if not record.complete and label not in inputs.previous:
                continue
            base = EngineSnapshot(
                id=label,
                node=name,
                group=f"{prefix}{run.spec.get('group', '')}",
                role="mixed",
                state=EngineState.IDLE,
                headless=bool(run.spec.get("headless")),
            )
            found[label] = _with_state(inputs, base, record, run, now)
    return found


def _ended_at(inputs: SnapshotInputs, engines: Mapping[str, EngineSnapshot]) -> dict[str, float]:
    """The end times of engines that ended, on this machine's clock."""
    ended = {}
    for engine in engines.values():
        record = inputs.nodes.get(engine.node)
        if engine.exit is not None and engine.exit.at is not None and record is not None:
            ended[engine.id] = engine.exit.at - (record.clock_offset_s or 0.0)
    return ended


def _shown_link(record: NodeRecord) -> Link:
    """The link as shown: `connecting` until the first sample is complete."""
    if record.complete or record.link.state is not LinkState.UP:
        return record.link
    return replace(record.link, state=LinkState.CONNECTING, reason=f"waits for {record.missing or 'its first report'}")


def _node(
    inputs: SnapshotInputs, record: NodeRecord, planned: Iterable[Rank], owners: Mapping[tuple[str, int], str]
) -> NodeSnapshot:
    node = record.node
    mine = [rank for rank in planned if rank.node == node.name]
    first = next((rank for rank in mine if rank.role not in BESIDE_ENGINES), mine[0] if mine else None)
    table = record.table
    found: tuple[Device, ...] = table.devices if table is not None else ()
    devices = tuple(replace(device, rank=owners.get((node.name, device.id))) for device in found)
    return NodeSnapshot(
        name=node.name,
        host=node.host,
        hardware=node.hardware.name,
        expected_devices=node.hardware.devices,
        link=_shown_link(record),
        listed=record.runs_listed,
        reached=record.hello is not None,
        sampled_at=record.table_at,
        devices=devices,
        devices_error=record.table_error,
        devices_whole=table is None or table.complete,
        system=replace(record.host, clock_offset_s=record.clock_offset_s),
        group=first.group if first else inputs.deployment.assignment.group_of(node.name),
        role=first.role if first else None,
        ranks=tuple(rank.id for rank in mine),
        unmanaged=unmanaged_watch.unmanaged_processes(record),
    )
