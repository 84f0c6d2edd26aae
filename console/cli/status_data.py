"""The data that `status -o json` prints; its keys are a contract. An unknown value is None, never 0 or an empty text."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import TypedDict

from console.model.restart import GroupRestart, RestartState
from console.model.service import Service, ServiceState
from console.model.snapshot import (
    ClusterSnapshot,
    Device,
    Diagnosis,
    EngineSnapshot,
    EngineState,
    Grade,
    LinkState,
    NodeSnapshot,
    Process,
    Task,
)
from console.model.start_timing import StartProgress, StartSkew
from console.model.unmanaged_process import UnmanagedProcess, UnmanagedReason
from console.probes.sanitize import clean


class ServiceData(TypedDict):
    """Whether requests are answered."""

    state: ServiceState
    """UP: every part answers; PART: some parts answer; UNPROVEN: nothing is wrong, but no request was answered lately."""
    endpoint: str
    """Where requests go, `http://HOST:PORT`."""
    model: str | None
    """The name of the model that requests give; null when it is unknown."""
    reason: str | None
    """Why the service is not UP; null when it is."""


class InterruptedPlanData(TypedDict):
    """A plan that stops engines, and whose console ended before the plan did."""

    verb: str
    by: str
    """Who started it, `USER@HOST`."""
    age_s: int
    """Since it started."""
    left: list[str]
    """The engines of the plan that still run."""


class DeviceData(TypedDict):
    """An NPU: a chip on A2, a die on A3."""

    id: int
    health: str | None
    """As npu-smi reports it, for example `OK`."""
    aicore_percent: int | None
    hbm_used_mib: int | None
    hbm_total_mib: int | None
    temperature_c: int | None
    power_w: float | None
    """Power of the whole card; on A3 only its first die reports it."""
    processes: list[Process] | None
    rank: str | None
    """The engine of this deployment that uses the device; null when there is none."""


class UnmanagedData(TypedDict):
    """A process that this console does not manage: vLLM, or a holder of HBM."""

    pid: int
    """Its pid on the node, outside containers."""
    owner: str | None
    age_s: int | None
    command: str | None
    why: UnmanagedReason
    """vllm: vLLM without a run; other-base: another console manages it; hbm: it holds HBM; gone: the process has ended, and its
    HBM is still held."""
    base: str | None
    """Base directory of the console that manages it."""
    container: str | None
    """Short id of its container; null on the host."""
    below: list[int]
    """Pids of its descendants of the same kind."""
    hbm_mib: int | None
    """HBM of the process and its descendants."""
    devices: list[int]
    """Devices on which they hold HBM."""


class NodeData(TypedDict):
    """A node."""

    link: LinkState
    age_s: float | None
    """Age of the NPU data."""
    reason: str | None
    """Why there is no link, or no fresh NPU data; null when there is both."""
    devices: list[DeviceData]
    unmanaged: list[UnmanagedData]


class NodeLine(NodeData):
    """A node with its name."""

    node: str


class HealthData(TypedDict):
    """A health check."""

    grade: Grade
    evidence: str
    """What was seen."""


class ExitData(TypedDict):
    """How the main process of an engine ended."""

    code: int | None
    signal: int | None


class StopRequestData(TypedDict):
    """Who requested the stop of an engine, and when."""

    by: str | None
    at: float | None


class EngineData(TypedDict):
    """An engine, a service or the proxy."""

    id: str
    node: str
    state: EngineState
    phase: str | None
    """The phase of its start, from its log: config, distributed, load, memory, graph, ready …"""
    progress: float | None
    """Share of the whole start that is done, 0 to 1."""
    start_left_s: int | None
    """Expected time until its group is ready, from earlier starts."""
    age_s: float | None
    """Time since its node last reported its state."""
    health: dict[str, HealthData]
    """By name of the check: link, process, log, http, model, works, verify."""
    run: str | None
    """Id of its newest run."""
    pid: int | None
    exit: ExitData | None
    """Null while its main process lives."""
    cause: str | None
    """The reason for a bad state."""
    held_up: str | None
    """What its start waits for."""
    stop_request: StopRequestData | None
    """Null when nobody requested a stop of this run."""
    signature: str | None
    """Id of the first known failure in its own log."""
    differs: list[str]
    """How its newest run differs from the current layout and assignment."""


class DiagnosisData(TypedDict):
    """A known failure that was seen."""

    signature: str
    """Its id, for example `A11`."""
    severity: str
    """fatal, running or advice."""
    title: str
    first: bool
    """Whether it is the first cause, which explains the others."""
    consequence: bool
    """Whether another failure explains it."""
    engine: str
    node: str
    at: float
    seen: str
    """The line of the log, or what was measured."""
    remedy: str
    where: str | None
    """File, line and value of the settings that the remedy is about."""


class StartData(TypedDict):
    """The running start of a group."""

    elapsed_s: int
    left_s: int | None
    """Expected time until the group is ready, from earlier starts."""
    typical_s: int | None
    """Median duration of earlier starts."""
    earlier_starts: int
    """Number of earlier starts that are recorded."""


class SkewData(TypedDict):
    """The time between the first and the last start of the ranks of a group."""

    seconds: float
    last: str
    """The engine that started last."""
    limit_s: float
    """The ranks fail when the time is longer than this."""
    hccl_s: float
    """HCCL_CONNECT_TIMEOUT of the group."""


class RestartData(TypedDict):
    """State of a group under its restart policy."""

    state: RestartState
    used: int
    """Restarts by the policy within `within_s`."""
    budget: int
    """Restarts that it may make within `within_s`."""
    within_s: float
    due_s: float | None
    """Time until its next restart; null when none is due."""
    reason: str | None


class StatusData(TypedDict):
    """The state of a cluster."""

    cluster: str
    deployment: str | None
    """Null without a layout."""
    service: ServiceData | None
    """Null while nothing of the deployment is launched, and when it has no endpoint."""
    interrupted_plan: InterruptedPlanData | None
    """Null when no plan was interrupted."""
    nodes: dict[str, NodeData]
    """By name."""
    engines: list[EngineData]
    """In the order of the layout, the proxy last; engines that are not in the layout follow."""
    causes: list[DiagnosisData]
    """The known failures that were found, in the order in which they happened."""
    tasks: list[Task]
    """Processes of this console that are not engines, for example evaluations."""
    starts: dict[str, StartData]
    """By group."""
    skews: dict[str, SkewData]
    """By group of several ranks."""
    restarts: dict[str, RestartData]
    """By group that has a restart policy."""


def status_data(snapshot: ClusterSnapshot) -> StatusData:
    """The whole document."""
    return {
        "cluster": snapshot.cluster,
        "deployment": snapshot.deployment or None,
        "service": service_data(snapshot.service),
        "interrupted_plan": _interrupted_plan(snapshot),
        "nodes": {name: _node(node, snapshot.at) for name, node in snapshot.nodes.items()},
        "engines": [_engine(engine) for engine in snapshot.engines.values()],
        "causes": [_cause(each) for each in snapshot.diagnoses],
        "tasks": list(snapshot.tasks),
        "starts": {name: _start(each) for name, each in snapshot.start_progress.items()},
        "skews": {name: _skew(each) for name, each in snapshot.skews.items()},
        "restarts": {name: _restart(each, snapshot.at) for name, each in snapshot.restarts.items()},
    }


def status_lines(whole: StatusData) -> Iterator[NodeLine | EngineData | Task]:
    """The nodes, engines and tasks of the document, one by one."""
    for name, node in whole["nodes"].items():
        yield {"node": name, **node}
    yield from whole["engines"]
    yield from whole["tasks"]


def _cause(each: Diagnosis) -> DiagnosisData:
    return {
        "signature": each.signature,
        "severity": each.severity,
        "title": each.title,
        "first": each.first,
        "consequence": each.consequence,
        "engine": each.engine,
        "node": each.node,
        "at": round(each.at, 1),
        "seen": clean(each.text),
        "remedy": each.remedy,
        "where": each.where or None,
    }


def service_data(each: Service | None) -> ServiceData | None:
    """Whether requests are answered; None when there is no service."""
    if each is None:
        return None
    return {"state": each.state, "endpoint": each.endpoint, "model": each.model or None, "reason": each.reason or None}


def _interrupted_plan(snapshot: ClusterSnapshot) -> InterruptedPlanData | None:
    each = snapshot.interrupted_plan
    if each is None:
        return None
    age = round(max(0.0, snapshot.at - each.work.since))
    return {"verb": each.work.verb, "by": each.work.holder, "age_s": age, "left": list(each.left)}


def _start(each: StartProgress) -> StartData:
    left = None if each.left_s is None else round(each.left_s)
    typical = None if each.typical_s is None else round(each.typical_s)
    return {"elapsed_s": round(each.elapsed_s), "left_s": left, "typical_s": typical, "earlier_starts": each.of}


def _skew(each: StartSkew) -> SkewData:
    return {"seconds": round(each.seconds, 2), "last": each.last, "limit_s": each.limit_s, "hccl_s": each.hccl_s}


def _restart(each: GroupRestart, now: float) -> RestartData:
    return {
        "state": each.state,
        "used": each.used,
        "budget": each.budget,
        "within_s": each.within_s,
        "due_s": None if each.due_at is None else round(max(0.0, each.due_at - now), 1),
        "reason": each.reason or None,
    }


def _node(node: NodeSnapshot, now: float) -> NodeData:
    age = node.age_s(now)
    return {
        "link": node.link.state,
        "age_s": None if age is None else round(age, 1),
        "reason": node.link.reason or node.devices_error or None,
        "devices": [_device(device) for device in node.devices],
        "unmanaged": [_unmanaged(each, now) for each in node.unmanaged],
    }


def _unmanaged(process: UnmanagedProcess, now: float) -> UnmanagedData:
    age = process.age_s(now)
    return {
        "pid": process.pid,
        "owner": process.owner or None,
        "age_s": None if age is None else round(age),
        "command": process.command or None,
        "why": process.why,
        "base": process.base or None,
        "container": process.container or None,
        "below": list(process.below),
        "hbm_mib": process.mib,
        "devices": list(process.devices),
    }


def _device(device: Device) -> DeviceData:
    return {
        "id": device.id,
        "health": device.health,
        "aicore_percent": device.aicore_percent,
        "hbm_used_mib": device.hbm_used_mib,
        "hbm_total_mib": device.hbm_total_mib,
        "temperature_c": device.temperature_c,
        "power_w": device.power_w,
        "processes": list(device.processes) if device.processes or device.processes_known else None,
        "rank": device.rank,
    }


def _engine(engine: EngineSnapshot) -> EngineData:
    return {
        "id": engine.id,
        "node": engine.node,
        "state": engine.state,
        "phase": engine.phase or None,
        "progress": None if engine.progress is None else round(engine.progress, 3),
        "start_left_s": None if engine.start_left_s is None else round(engine.start_left_s),
        "age_s": None if engine.age_s is None else round(engine.age_s, 1),
        "health": {check.name: {"grade": check.grade, "evidence": check.evidence} for check in engine.health},
        "run": engine.run,
        "pid": engine.pid,
        "exit": None if engine.exit is None else {"code": engine.exit.code, "signal": engine.exit.signal},
        "cause": engine.cause or None,
        "held_up": engine.held_up or None,
        "stop_request": None if engine.asked is None else {"by": engine.asked.by or None, "at": engine.asked.at},
        "signature": engine.signature or None,
        "differs": list(engine.drift),
    }
