"""Builds the snapshot of a moment from the records. Pure: no task, no clock of its own, no link."""

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
from console.services.monitoring import unmanaged_watch
from console.services.monitoring.drift import Drifts
from console.services.monitoring.engine_states import Evidence, judge, left_by, mark_group_degraded, vouched_for
from console.services.monitoring.health_checks import grew_at, health_checks, log_read, spoke_at
from console.services.monitoring.loads import Loads
from console.services.monitoring.records import ALIVE, NodeRecord, RunRecord
from console.services.monitoring.run_history import asked_of, observed_operations
from console.services.monitoring.service_state import service
from console.services.monitoring.stall_detection import held_up


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a snapshot is made of."""

    deployment: Deployment
    nodes: Mapping[str, NodeRecord]
    runs: Mapping[RunKey, RunRecord]
    copied: Callable[[RunKey], int]
    """Bytes of a run's log in the local copy."""
    events: tuple[Event, ...]
    read_only: bool
    work: OngoingPlan | None
    abandoned: OngoingPlan | None
    """A plan that never gave its lease back."""
    previous: Mapping[str, EngineSnapshot]
    diagnoses: tuple[Diagnosis, ...] = ()
    alerts: tuple[Alert, ...] = ()
    restarts: Mapping[str, GroupRestart] = field(default_factory=dict)
    paces: Mapping[str, StartProgress] = field(default_factory=dict)
    usual: Mapping[str, UsualDuration] = field(default_factory=dict)
    drifts: Drifts = field(default_factory=Drifts)
    loads: Loads = field(default_factory=Loads)
    silences: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Group -> phase -> the longest silence of earlier starts."""


def current_run(record: NodeRecord, deployment: str, engine: str) -> RunState | None:
    """The newest run of an engine on a node; a live one wins over a newer one that was only prepared."""
    return record.index.current.get((deployment, engine))


def build_snapshot(scene: Inputs, now: float) -> ClusterSnapshot:
    """The snapshot at `now` (seconds since the epoch on this machine)."""
    ranks = scene.deployment.ranks()
    planned = scene.deployment.processes()
    engines = {rank.id: _engine(scene, rank, now) for rank in planned}
    engines.update(_strays(scene, planned, now))
    engines.update(vouched_for(engines, _quiet(scene, engines)))
    first = next((each.engine for each in scene.diagnoses if each.first), "")
    records = {rank.id: learnt for rank in ranks if (learnt := _learnt(scene, rank)) is not None}
    served = {name: at for name, learnt in records.items() if (at := learnt.served_at) is not None}
    engines = mark_group_degraded(engines, _ended(scene, engines), first, served)
    if scene.work is None:
        engines.update(left_by(engines, _ended(scene, engines), now))
    single, grouped = scene.loads.serving(ranks, records, now)
    for name, engine in engines.items():
        if engine.state is EngineState.STARTING and (pace := scene.paces.get(engine.group)) is not None:
            engines[name] = replace(engine, start_left_s=pace.left_s)
    engines.update(held_up(engines, scene.silences, now))
    engines.update(_doomed(engines, scene.diagnoses))
    for name, serving in single.items():
        engines[name] = replace(engines[name], serving=serving)
    devices = {(rank.node, device): rank.id for rank in ranks for device in rank.devices}
    nodes = {name: _node(scene, record, planned, devices) for name, record in scene.nodes.items()}
    return ClusterSnapshot(
        at=now,
        cluster=scene.deployment.cluster.name,
        deployment=scene.deployment.name,
        read_only=scene.read_only,
        holder=scene.work.words() if scene.work else "",
        work=scene.work,
        cut_off=_cut_off(scene, engines),
        service=service(scene.deployment, tuple(engines.values()), _began(scene, engines), now),
        nodes=nodes,
        engines=engines,
        events=scene.events,
        serving=grouped,
        diagnoses=scene.diagnoses,
        alerts=scene.alerts,
        tasks=_tasks(scene),
        sightings=observed_operations(scene.nodes, scene.deployment.name),
        restarts=scene.restarts,
        paces={name: each for name, each in scene.paces.items() if _starts(engines, name)},
        usual=scene.usual,
        skews=_skews(scene, engines),
    )


def _quiet(scene: Inputs, engines: Mapping[str, EngineSnapshot]) -> frozenset[str]:
    """Headless engines whose runs were told to be quiet."""
    found = []
    for each in engines.values():
        record = scene.nodes.get(each.node) if each.headless else None
        run = current_run(record, scene.deployment.name, each.id) if record is not None else None
        if run is not None and run.quiet:
            found.append(each.id)
    return frozenset(found)


def _began(scene: Inputs, engines: Mapping[str, EngineSnapshot]) -> dict[str, float]:
    """When each engine was started, on this machine's clock, where that is known."""
    return {
        each.id: each.started_at - (scene.nodes[each.node].clock_offset_s or 0.0)
        for each in engines.values()
        if each.started_at is not None and each.node in scene.nodes
    }


def _cut_off(scene: Inputs, engines: Mapping[str, EngineSnapshot]) -> InterruptedPlan | None:
    """What an abandoned plan left undone; None when it took down all that it was to, or somebody else is at work now."""
    work, began = scene.abandoned, _began(scene, engines)
    if work is None or scene.work is not None:
        return None
    left = tuple(
        each.id for each in engines.values() if each.state.alive and work.takes_down(each.id, began.get(each.id))
    )
    return InterruptedPlan(work, left) if left else None


def _skews(scene: Inputs, engines: Mapping[str, EngineSnapshot]) -> dict[str, StartSkew]:
    """How far apart the ranks of each group started that live now."""
    found, known = {}, _began(scene, engines)
    for name, group in scene.deployment.layout.groups.items():
        began = {each: at for each, at in known.items() if engines[each].group == name and engines[each].state.alive}
        if (skew := skew_of(name, began, {**scene.deployment.layout.env, **group.env})) is not None:
            found[name] = skew
    return found


def _doomed(engines: Mapping[str, EngineSnapshot], diagnoses: Iterable[Diagnosis]) -> dict[str, EngineSnapshot]:
    """Engines that still start although their log shows why they will not: the failure is their cause from there on."""
    found: dict[str, Diagnosis] = {}
    for each in diagnoses:
        if each.severity == "fatal" and (each.engine not in found or each.first):
            found[each.engine] = each
    return {
        name: replace(engines[name], cause=f"{each.signature} {each.title}: {each.text}")
        for name, each in found.items()
        if name in engines and engines[name].state is EngineState.STARTING and not engines[name].cause
    }


def _starts(engines: Mapping[str, EngineSnapshot], group: str) -> bool:
    return any(each.group == group and each.state is EngineState.STARTING for each in engines.values())


def _learnt(scene: Inputs, rank: Rank) -> RunRecord | None:
    """What is remembered of the run that lives as this rank, or None."""
    record = scene.nodes.get(rank.node)
    run = current_run(record, scene.deployment.name, rank.id) if record else None
    return scene.runs.get(run.key) if run and run.verdict is RunVerdict.RUNNING else None


def _engine(scene: Inputs, rank: Rank, now: float) -> EngineSnapshot:
    bare = EngineSnapshot(
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
    record = scene.nodes.get(rank.node)
    if record is None:
        return replace(bare, state=EngineState.UNREACHABLE, cause="the node is not in the cluster file")
    run = current_run(record, scene.deployment.name, rank.id)
    seen = _seen(scene, bare, record, run, now)
    if run is None or rank.role in BESIDE_ENGINES or seen.connecting:
        return seen
    return replace(seen, drift=scene.drifts.of(scene.deployment, rank, run.key, run.spec))


def _seen(scene: Inputs, bare: EngineSnapshot, record: NodeRecord, run: RunState | None, now: float) -> EngineSnapshot:
    if lacks := _lacks(record, run):
        return _connecting(scene, bare, record, run, lacks, now)
    learnt = scene.runs.get(run.key) if run else None
    verdict = judge(_evidence(scene, bare, record, run, learnt, now))
    age = _age(record, now)
    stale = _last_known(scene, bare.id) if verdict.state is EngineState.UNREACHABLE else None
    if run is None:
        return replace(bare, state=verdict.state, cause=verdict.cause, age_s=age, stale_of=stale)
    log, plain = learnt.log_state if learnt else None, bare.role == "service"
    running = run.verdict is RunVerdict.RUNNING and not run.stopping
    unheard = bool(log and not log.ready and run.quiet and verdict.state is EngineState.READY)
    return replace(
        bare,
        state=verdict.state,
        cause=verdict.cause,
        asked=asked_of(run, record.clock_offset_s or 0.0),
        phase=str(Phase.SERVING if unheard else log.phase) if log and running and not plain else "",
        progress=(1.0 if unheard else log.progress) if log and running and not plain else None,
        progress_text=log.progress_text if log and running else "",
        health=health_checks(record, run, learnt, plain=plain, part=bare.part > 0),
        run=run.key.run,
        release=str(run.spec.get("release") or ""),
        pid=run.pid,
        started_at=run.started_at,
        zone=run.zone or (record.hello.zone if record.hello else ()),
        exit=run.exit,
        died_at=learnt.died_at if learnt and not run.stopping and not plain else None,
        log_bytes=run.log_size,
        log_copied=scene.copied(run.key),
        log_read=log_read(run, learnt),
        log_line_at=grew_at(record, run, learnt),
        log_spoke_at=spoke_at(record, run, learnt),
        age_s=age,
        stuck_pids=run.pids if verdict.state is EngineState.STUCK else (),
        stale_of=stale,
        serving_error=learnt.metrics.error if learnt and running else "",
        signature=learnt.signature if learnt else "",
        isolated=tuple(sorted(learnt.isolated)) if learnt else (),
    )


def _age(record: NodeRecord, now: float) -> float | None:
    return None if record.runs_at is None else max(0.0, now - record.runs_at)


def _last_known(scene: Inputs, engine: str) -> EngineState | None:
    """The state before its node went out of sight; None when there was none."""
    before = scene.previous.get(engine)
    stale = (before.stale_of or before.state) if before else None
    return None if stale is EngineState.UNREACHABLE else stale


def _lacks(record: NodeRecord, run: RunState | None) -> str:
    """What is awaited before the state of a run on a connected node can be told; empty when nothing is."""
    if record.link.state is LinkState.CONNECTING:
        return "the link"
    if record.link.state not in (LinkState.UP, LinkState.STALE):
        return ""
    if not record.complete:
        return record.awaited or "its first report"
    return "its log and health" if run is not None and run.key in record.unread else ""


def _connecting(
    scene: Inputs, bare: EngineSnapshot, record: NodeRecord, run: RunState | None, lacks: str, now: float
) -> EngineSnapshot:
    """An engine of which nothing is claimed yet but which run it is, so that its log and its server can be asked."""
    return replace(
        bare,
        state=EngineState.UNREACHABLE,
        connecting=True,
        cause=record.link.reason or f"connecting: waits for {lacks}",
        stale_of=_last_known(scene, bare.id),
        run=run.key.run if run else None,
        pid=run.pid if run and run.verdict in ALIVE and record.heard else None,
        age_s=_age(record, now),
    )


def _evidence(
    scene: Inputs, bare: EngineSnapshot, record: NodeRecord, run: RunState | None, learnt: RunRecord | None, now: float
) -> Evidence:
    plain = bare.role == "service"
    log = learnt.log_state if learnt else None
    told = None if plain else log
    return Evidence(
        link=record.link,
        run=run,
        headless=bare.headless or bare.port is None,
        part=bare.part > 0,
        plain=plain,
        log_ready=bool(told and told.ready),
        log_current=learnt is not None and log_read(run, learnt),
        log_ends_s=now - told.ends_since if told and told.ends_since is not None else None,
        log_dead=told.dead if told else "",
        first_error=log.first_error if log else "",
        rungs=learnt.answers if learnt else (),
        was_ready=bool(learnt and learnt.ready_at is not None),
        stuck=bool(learnt and learnt.stuck),
        stop_age_s=_since(record, run.stop_at if run else None, now) or 0.0,
        exit_age_s=_since(record, run.exit.at if run and run.exit else None, now),
    )


def _since(record: NodeRecord, at: float | None, now: float) -> float | None:
    """How long ago something was by the clock of its node; None when that is not known."""
    return None if at is None else now + (record.clock_offset_s or 0.0) - at


def _is_task(run: RunState) -> bool:
    """Whether a run is no engine: its spec says another role. A run without a role is of an older console, an engine."""
    return str(run.spec.get("role", "mixed")) not in get_args(RankRole)


def _tasks(scene: Inputs) -> tuple[Task, ...]:
    """Live runs that are no engines."""
    return tuple(
        Task(name, key.deployment, key.engine, str(run.spec["role"]), key.run, run.pid, run.started_at, run.stopping)
        for name, record in scene.nodes.items()
        for key, run in record.runs.items()
        if run.verdict in ALIVE and _is_task(run)
    )


def _strays(scene: Inputs, planned: Iterable[Rank], now: float) -> dict[str, EngineSnapshot]:
    """Live runs of ours that the plan does not name: another deployment, or an engine left on another node."""
    known = {(scene.deployment.name, rank.id, rank.node) for rank in planned}
    found: dict[str, EngineSnapshot] = {}
    for name, record in scene.nodes.items():
        for key, run in record.runs.items():
            if run.verdict not in ALIVE or _is_task(run) or (key.deployment, key.engine, name) in known:
                continue
            # No group of ours has a slash in its name, so none of another deployment is taken for one of them.
            whose = "" if key.deployment == scene.deployment.name else f"{key.deployment}/"
            label = f"{whose}{key.engine}@{name}"
            if not record.complete and label not in scene.previous:
                continue
            bare = EngineSnapshot(
                id=label,
                node=name,
                group=f"{whose}{run.spec.get('group', '')}",
                role="mixed",
                state=EngineState.IDLE,
                headless=bool(run.spec.get("headless")),
            )
            found[label] = _seen(scene, bare, record, run, now)
    return found


def _ended(scene: Inputs, engines: Mapping[str, EngineSnapshot]) -> dict[str, float]:
    """When each ended engine ended, on this machine's clock."""
    ended = {}
    for engine in engines.values():
        record = scene.nodes.get(engine.node)
        if engine.exit is not None and engine.exit.at is not None and record is not None:
            ended[engine.id] = engine.exit.at - (record.clock_offset_s or 0.0)
    return ended


def _link(record: NodeRecord) -> Link:
    """The link as it is shown: `connecting` until the first sample is complete."""
    if record.complete or record.link.state is not LinkState.UP:
        return record.link
    return replace(record.link, state=LinkState.CONNECTING, reason=f"waits for {record.awaited or 'its first report'}")


def _node(
    scene: Inputs, record: NodeRecord, planned: Iterable[Rank], owners: Mapping[tuple[str, int], str]
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
        link=_link(record),
        listed=record.heard,
        reached=record.hello is not None,
        sampled_at=record.table_at,
        devices=devices,
        devices_error=record.table_error,
        devices_whole=table is None or table.complete,
        system=replace(record.host, clock_offset_s=record.clock_offset_s),
        group=first.group if first else scene.deployment.assignment.group_of(node.name),
        role=first.role if first else None,
        ranks=tuple(rank.id for rank in mine),
        unmanaged=unmanaged_watch.of_node(record),
    )
