"""A snapshot: everything known about a cluster at one moment, immutable. The screen and `status` show nothing else.

None means unknown and is never replaced by 0. Times are seconds since the epoch on the clock of the jump host, if not stated
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from console.model.alert import Alert
from console.model.ongoing_work import InterruptedPlan, ObservedOperation, OngoingPlan, StopRequest
from console.model.restart import GroupRestart
from console.model.role import RankRole
from console.model.service import Service
from console.model.serving import Serving as Serving
from console.model.start_timing import StartProgress, StartSkew, UsualDuration
from console.model.state import EngineState as EngineState
from console.model.state import EventLevel as EventLevel
from console.model.state import Grade as Grade
from console.model.state import LinkState as LinkState
from console.model.unmanaged_process import UnmanagedProcess


@dataclass(frozen=True, slots=True)
class Link:
    """The link to a node, or why there is none."""

    state: LinkState = LinkState.CONNECTING
    since: float = 0.0
    reason: str = ""
    """One line for the operator; empty while up."""
    hint: str = ""
    round_trip_s: float | None = None
    retry_at: float | None = None
    question: bool = False
    """Whether it waits for the decision to trust an unknown host key; a changed host key is always refused."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a device, as npu-smi reports it, with its pid outside of containers."""

    pid: int
    name: str
    """At most 15 characters; empty when npu-smi cannot see it."""
    mib: int | None
    """HBM it holds."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device: a chip on A2, a die on A3."""

    id: int
    """Its number in `ASCEND_RT_VISIBLE_DEVICES` and `hccn_tool -i`."""
    card: int
    die: int = 0
    name: str = ""
    bus_id: str = ""
    health: str | None = None
    aicore_percent: int | None = None
    hbm_used_mib: int | None = None
    hbm_total_mib: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    """Power of the whole card; on A3 only its first die reports it."""
    processes: tuple[Process, ...] = ()
    processes_known: bool = True
    """False when the process table was missing or incomplete, so that an empty list proves nothing."""
    rank: str | None = None
    """The engine that uses the device according to the assignment."""


ZoneTable = tuple[tuple[float, float], ...]
"""A time zone: `(from, seconds ahead of UTC)` in order, seconds since the epoch; empty when it is not known."""


@dataclass(frozen=True, slots=True)
class Host:
    """The host of a node; memory and disk in MiB."""

    hostname: str = ""
    load_1m: float | None = None
    cores: int | None = None
    memory_total_mib: int | None = None
    memory_available_mib: int | None = None
    clock_offset_s: float | None = None
    """Clock of the node minus clock of the jump host."""
    boot_id: str = ""
    ssh_address: str = ""
    """The address of the node in the SSH connection; empty when the node does not report it."""
    addresses: tuple[tuple[str, str], ...] = ()
    """(IPv4 address, interface) without loopback; the interface is empty when it is unknown."""
    disk_free_mib: int | None = None
    """Free space on the disk of the runs and their logs."""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """Everything known about one node, with the age of the data."""

    name: str
    host: str
    hardware: str
    expected_devices: int
    link: Link = Link()
    """The link; its state is `connecting` until the first sample of the node is complete."""
    listed: bool = False
    """Whether the node has listed its runs since it was connected."""
    reached: bool = False
    """Whether the node was connected at any time since this console was opened."""
    sampled_at: float | None = None
    """Time of the NPU data; None without data."""
    devices: tuple[Device, ...] = ()
    devices_error: str = ""
    """Why the NPU data is missing, old or incomplete."""
    devices_whole: bool = True
    """Whether `devices` has all devices that npu-smi lists."""
    system: Host = Host()
    group: str | None = None
    role: RankRole | None = None
    ranks: tuple[str, ...] = ()
    """Ids of the ranks that the assignment gives to the node."""
    unmanaged: tuple[UnmanagedProcess, ...] = ()
    """Unmanaged vLLM processes, and processes that hold HBM and belong to no run."""

    def age_s(self, now: float) -> float | None:
        """Seconds since the NPU data was taken."""
        return None if self.sampled_at is None else max(0.0, now - self.sampled_at)


NOT_ASKED = "could not be asked"
"""The start of the evidence of a health check that could not be made."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One health check with its result, the evidence and the time."""

    name: str
    """link, process, log, http, model, works (a completion of a few tokens, or why it hangs), verify (while it failed)."""
    grade: Grade
    evidence: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How the main process of an engine ended."""

    code: int | None
    signal: int | None = None
    at: float | None = None

    def __str__(self) -> str:
        return f"signal {self.signal}" if self.signal else "unknown" if self.code is None else str(self.code)


WrittenIn = Literal["", "layout", "cluster"]
"""The file of the operator that contains a setting."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A known failure that was found, with its cause and remedy."""

    signature: str
    """Id of the signature, for example `A11`."""
    severity: str
    """fatal, running or advice."""
    title: str
    cause: str
    remedy: str
    source: str
    engine: str
    node: str
    text: str
    """The log line, or the observation of the console; untrusted."""
    at: float
    exact: bool
    """False when the time is the arrival of the line, not a time stamp of the log."""
    count: int = 1
    first: bool = False
    """Whether it is the first cause over all ranks, which explains the others."""
    consequence: bool = False
    """Whether another failure, on any engine, explains it."""
    where: str = ""
    """File, line and value of the settings of the remedy."""
    where_file: WrittenIn = ""
    where_line: int = 0
    """The line of the setting in that file; 0 when there is none."""


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """One engine: its plan, and the state that its node reports."""

    id: str
    node: str
    group: str
    role: RankRole
    state: EngineState
    dp_rank: int = 0
    devices: tuple[int, ...] = ()
    port: int | None = None
    headless: bool = False
    part: int = 0
    """Number of this part of an engine that spans nodes, from 0. Only the first part serves; the other parts end with it."""
    phase: str = ""
    """The phase of the start according to the log: config, distributed, load, memory, graph, ready …"""
    progress: float | None = None
    """Progress of the whole start, 0–1; None when unknown."""
    progress_text: str = ""
    """For example `shard 12/64`."""
    start_left_s: float | None = None
    """Estimated seconds until its group is ready, from earlier starts; None when it does not start or when it is unknown."""
    health: tuple[HealthCheck, ...] = ()
    run: str | None = None
    pid: int | None = None
    started_at: float | None = None
    """Node clock."""
    zone: ZoneTable = ()
    """The time zone of its log, else of its node; empty when unknown."""
    exit: Exit | None = None
    died_at: float | None = None
    """When its log reports its death, in whole seconds on this machine's clock (its process can still live); None without it."""
    cause: str = ""
    """The log line or fact that explains a bad state."""
    after: str = ""
    """The rank of its group that failed first, when that explains its state."""
    asked: StopRequest | None = None
    """The stop request for this run, or None."""
    log_bytes: int | None = None
    """Size of the log on the node, in bytes."""
    log_copied: int = 0
    """Bytes of the log in the local copy."""
    log_read: bool = True
    """Whether the whole log was read; before that a cause can still be found."""
    log_line_at: float | None = None
    """When its log grew last; before the first byte, when the run was started."""
    log_spoke_at: float | None = None
    """When its log last had a line that is not only a sign of waiting; else the same."""
    silent_since: float | None = None
    """`log_spoke_at`, while it starts and is silent for longer than usual; else None."""
    held_up: str = ""
    """What its start waits for: `silent 2m`, or `waits for decode-3, at load 41 %, silent 2m`; empty during progress."""
    age_s: float | None = None
    """Seconds since the node last reported on it; None when never."""
    stuck_pids: tuple[int, ...] = ()
    stale_of: EngineState | None = None
    """Last known state while the node is unreachable."""
    connecting: bool = False
    """Whether its node has not reported enough yet: then the state is `unreachable`, and nothing else is known."""
    serving: Serving | None = None
    """Its metrics; None without recent metrics."""
    serving_error: str = ""
    """Why its metrics could not be read."""
    signature: str = ""
    """Id of the first known failure in its log."""
    release: str = ""
    """The release of the layout when the newest run was started; empty when it was not recorded."""
    drift: tuple[str, ...] = ()
    """Differences between the newest run and the current plan: what a restart would change."""
    isolated: tuple[str, ...] = ()
    """For a proxy: engines that were removed from it and that it still counts."""

    @property
    def bad(self) -> bool:
        """Whether an operator must look at it; an engine of which nothing is known yet is not bad."""
        return self.state.bad and not self.connecting

    @property
    def out_of_reach(self) -> bool:
        """Whether its processes are unknown now, so that they cannot be stopped."""
        return self.state is EngineState.UNREACHABLE and not (self.connecting and self.pid is not None)

    def why(self, now: float) -> str:
        """The explanation of its state: the stop request and the cause; empty when none is needed."""
        wanted = self.asked if self.state in (EngineState.STOPPING, EngineState.EXITED) else None
        end = wanted.words(now, done=self.state is EngineState.EXITED) if wanted else ""
        return "; ".join(part for part in (end, self.cause, self.held_up) if part)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for the Events pane and the journal."""

    seq: int
    """Number of the event in the session."""
    at: float
    level: EventLevel
    text: str
    node: str = ""
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A running task of the console that is not an engine, for example an evaluation."""

    node: str
    deployment: str
    name: str
    """Its name on the node: `bench-vllm`."""
    kind: str
    """Its kind in the spec: `evaluation`."""
    run: str
    pid: int | None = None
    started_at: float | None = None
    """Node clock."""
    stopping: bool = False
    """Whether a stop was requested."""


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The snapshot of a cluster."""

    at: float
    cluster: str
    deployment: str
    read_only: bool = False
    holder: str = ""
    """The running plan and its operator, for example `ann@jump: start runs`; empty without a plan."""
    work: OngoingPlan | None = None
    """The same plan, with the engines that it stops."""
    interrupted_plan: InterruptedPlan | None = None
    """A plan that stops engines and was interrupted because its console ended."""
    service: Service | None = None
    """The service state; None while nothing of the deployment runs, or when it has no endpoint."""
    nodes: Mapping[str, NodeSnapshot] = field(default_factory=dict)
    engines: Mapping[str, EngineSnapshot] = field(default_factory=dict)
    """Engine id → engine, in layout order, the proxy last; engines on nodes that are not planned follow."""
    events: tuple[Event, ...] = ()
    """The newest few hundred, oldest first."""
    serving: Mapping[str, Serving] = field(default_factory=dict)
    """Group → metrics; the empty name is the whole deployment."""
    diagnoses: tuple[Diagnosis, ...] = ()
    """Known failures of current runs, in the order of time."""
    alerts: tuple[Alert, ...] = ()
    """The alerts that hold now, errors first."""
    start_progress: Mapping[str, StartProgress] = field(default_factory=dict)
    """Group → progress of its running start."""
    usual: Mapping[str, UsualDuration] = field(default_factory=dict)
    """Group → duration of its earlier starts; groups without a known start are missing."""
    skews: Mapping[str, StartSkew] = field(default_factory=dict)
    """Group → start skew of its running ranks; groups of one rank are missing."""
    restarts: Mapping[str, GroupRestart] = field(default_factory=dict)
    """Group → state under its restart policy; groups without a policy are missing."""
    tasks: tuple[Task, ...] = ()
    """Running tasks, of any deployment."""
    faults: tuple[str, ...] = ()
    """Parts of this console that failed and start again; their data can be old."""
    observed_operations: tuple[ObservedOperation, ...] = ()
    """Operations on runs that are still on their nodes, by any operator, oldest first."""

    @property
    def complete(self) -> bool:
        """Whether the first sample of every node is complete or the node is known to be unreachable."""
        nodes = all(each.link.state is not LinkState.CONNECTING for each in self.nodes.values())
        return nodes and not any(each.connecting for each in self.engines.values())

    def engines_on(self, node: str) -> tuple[EngineSnapshot, ...]:
        """Engines of one node, in order."""
        return tuple(engine for engine in self.engines.values() if engine.node == node)
