"""What is known about a cluster at one moment, frozen: the only thing a screen or `status` ever draws.

None means unknown and is never replaced by 0. Times are seconds since the epoch on the jump host's clock unless said otherwise.
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
    """How a node is reached, or why not."""

    state: LinkState = LinkState.CONNECTING
    since: float = 0.0
    reason: str = ""
    """One line for the operator; empty while up."""
    hint: str = ""
    round_trip_s: float | None = None
    retry_at: float | None = None
    question: bool = False
    """It waits for whether an unknown host key is to be trusted; a changed one is no question."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a device, as npu-smi names it, with its pid outside containers."""

    pid: int
    name: str
    """At most 15 characters; empty when npu-smi cannot see it."""
    mib: int | None
    """HBM it holds."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device: a chip on A2, a die on A3."""

    id: int
    """What `ASCEND_RT_VISIBLE_DEVICES` and `hccn_tool -i` call it."""
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
    """Of the whole card, reported on its first die only (A3)."""
    processes: tuple[Process, ...] = ()
    processes_known: bool = True
    """False when the process table was missing or cut, so that an empty list proves nothing."""
    rank: str | None = None
    """Engine of ours that the device is given to."""


ZoneTable = tuple[tuple[float, float], ...]
"""A time zone: `(from, seconds ahead of UTC)` in order, seconds since the epoch; empty when it is not known."""


@dataclass(frozen=True, slots=True)
class Host:
    """The machine itself; MiB and counts."""

    hostname: str = ""
    load_1m: float | None = None
    cores: int | None = None
    memory_total_mib: int | None = None
    memory_available_mib: int | None = None
    clock_offset_s: float | None = None
    """Node clock minus jump host clock."""
    boot_id: str = ""
    ssh_address: str = ""
    """The node's own address of the SSH connection; empty when it does not tell."""
    addresses: tuple[tuple[str, str], ...] = ()
    """(IPv4 address, interface) without loopback; the interface is empty where it cannot be told."""
    disk_free_mib: int | None = None
    """Where the runs and their logs are kept."""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """Everything known about one node, with the age of what is shown."""

    name: str
    host: str
    hardware: str
    expected_devices: int
    link: Link = Link()
    """Its state is `connecting` until the first sample of the node is complete."""
    listed: bool = False
    """Whether it has listed its runs since it was connected."""
    reached: bool = False
    """Whether it was connected at any time since this console was opened."""
    sampled_at: float | None = None
    """When the NPU data was taken; None when never."""
    devices: tuple[Device, ...] = ()
    devices_error: str = ""
    """Why there is no fresh NPU data, or only a part of it."""
    devices_whole: bool = True
    """Whether a device that is not among them is one that npu-smi does not list."""
    system: Host = Host()
    group: str | None = None
    role: RankRole | None = None
    ranks: tuple[str, ...] = ()
    """Ids of the ranks the assignment gives it."""
    unmanaged: tuple[UnmanagedProcess, ...] = ()
    """Unmanaged vLLM processes, and holders of HBM that nothing of ours explains."""

    def age_s(self, now: float) -> float | None:
        """Seconds since the NPU data was taken."""
        return None if self.sampled_at is None else max(0.0, now - self.sampled_at)


NOT_ASKED = "could not be asked"
"""How the evidence of a health check starts that says nothing about the engine."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One health check, with what was seen and when."""

    name: str
    """link, process, log, http, model, works (a completion of a few tokens, or why it hangs), verify (while it failed)."""
    grade: Grade
    evidence: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How an engine's main process ended."""

    code: int | None
    signal: int | None = None
    at: float | None = None

    def __str__(self) -> str:
        return f"signal {self.signal}" if self.signal else "unknown" if self.code is None else str(self.code)


WrittenIn = Literal["", "layout", "cluster"]
"""Which of an operator's files a setting is in."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A known failure that was seen, with what to do about it."""

    signature: str
    """Id in the table of signatures, for example `A11`."""
    severity: str
    """fatal, running or advice."""
    title: str
    cause: str
    remedy: str
    source: str
    engine: str
    node: str
    text: str
    """The log line, or what the console saw; untrusted."""
    at: float
    exact: bool
    """False when the time is that of the arrival here, not one from the log."""
    count: int = 1
    first: bool = False
    """Whether it explains the others: the first cause over all ranks."""
    consequence: bool = False
    """Whether another failure of its engine or of another one explains it."""
    where: str = ""
    """File, line and value of the settings that the remedy is about."""
    where_file: WrittenIn = ""
    where_line: int = 0
    """The file to open for it, and the line in it; 0 when there is none."""


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """One engine: what it should be (from the plan) and what its node says it is."""

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
    """Which part of an engine that spans nodes it is, from 0: further parts serve through the first, and die with it."""
    phase: str = ""
    """Where the start is, as the log says: config, distributed, load, memory, graph, ready …"""
    progress: float | None = None
    """0–1 inside the whole start; None when it cannot be told."""
    progress_text: str = ""
    """For example `shard 12/64`."""
    start_left_s: float | None = None
    """Until its group should be ready, by earlier starts; None when it does not start, or when nobody knows."""
    health: tuple[HealthCheck, ...] = ()
    run: str | None = None
    pid: int | None = None
    started_at: float | None = None
    """Node clock."""
    zone: ZoneTable = ()
    """The zone in which its log is stamped, else the zone of its node, as far as they tell."""
    exit: Exit | None = None
    died_at: float | None = None
    """When it died by its own log, whole seconds on this machine's clock; its process may live on. None when it says nothing."""
    cause: str = ""
    """The log line or fact that explains a bad state."""
    after: str = ""
    """The rank of its group that broke first, where its own end or trouble is laid to that."""
    asked: StopRequest | None = None
    """Who asked this run to end; None when nobody did."""
    log_bytes: int | None = None
    """Size of the log on the node."""
    log_copied: int = 0
    """Bytes of it in the local copy."""
    log_read: bool = True
    """Whether all of it has been read; until then a cause may still be found in it."""
    log_line_at: float | None = None
    """When its log grew last, as far as is known here; before its first byte, when it was started."""
    log_spoke_at: float | None = None
    """When its log last said more than that it still waits; else the same."""
    silent_since: float | None = None
    """The latter, while it starts and has said nothing for longer than usual."""
    held_up: str = ""
    """What its start waits for: `silent 2m`, or `waits for decode-3, at load 41 %, silent 2m`; empty while it goes on."""
    age_s: float | None = None
    """Seconds since the node last reported on it; None when never."""
    stuck_pids: tuple[int, ...] = ()
    stale_of: EngineState | None = None
    """Last known state while the node is unreachable."""
    connecting: bool = False
    """Whether its node may answer and has not told enough yet: it is `unreachable` here, and nothing else is claimed of it."""
    serving: Serving | None = None
    """None while no metrics were read lately."""
    serving_error: str = ""
    """Why its metrics could not be read."""
    signature: str = ""
    """Id of the known failure that its own log shows first."""
    release: str = ""
    """What its layout named when the newest run was started; empty where that is not recorded."""
    drift: tuple[str, ...] = ()
    """Where the newest run, live or ended, differs from what is planned now: what a restart would change."""
    isolated: tuple[str, ...] = ()
    """Of a proxy: engines it was told to use no more and still counts."""

    @property
    def unasked(self) -> str:
        """Why nobody could ask it over HTTP, so that its health is not known; empty when it was asked, or needs not be."""
        http = next((rung for rung in self.health if rung.name == "http" and rung.grade is Grade.UNKNOWN), None)
        return http.evidence if http is not None and http.evidence.startswith(NOT_ASKED) else ""

    @property
    def bad(self) -> bool:
        """Whether an operator must look; one of which nothing is known yet is not bad."""
        return self.state.bad and not self.connecting

    @property
    def out_of_reach(self) -> bool:
        """Whether nothing is known now of its processes: a stop cannot be aimed at them."""
        return self.state is EngineState.UNREACHABLE and not (self.connecting and self.pid is not None)

    def why(self, now: float) -> str:
        """What explains its state in words: who wanted its end, and the cause; empty when it needs no explanation."""
        wanted = self.asked if self.state in (EngineState.STOPPING, EngineState.EXITED) else None
        end = wanted.words(now, done=self.state is EngineState.EXITED) if wanted else ""
        return "; ".join(part for part in (end, self.cause, self.held_up) if part)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for the events pane and the journal."""

    seq: int
    """Grows by one with each event of a session."""
    at: float
    level: EventLevel
    text: str
    node: str = ""
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A live run of this console that is no engine, for example an evaluation."""

    node: str
    deployment: str
    name: str
    """Under what name it lives on its node: `bench-vllm`."""
    kind: str
    """What its spec calls it: `evaluation`."""
    run: str
    pid: int | None = None
    started_at: float | None = None
    """Node clock."""
    stopping: bool = False
    """Whether it was asked to end."""


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The whole snapshot at one moment."""

    at: float
    cluster: str
    deployment: str
    read_only: bool = False
    holder: str = ""
    """Who is at work on the deployment, for example `ann@jump: start runs`; empty when nobody is."""
    work: OngoingPlan | None = None
    """The same, with what it takes down."""
    cut_off: InterruptedPlan | None = None
    """A stop, or what else takes engines down, that came to no end because its console is gone."""
    service: Service | None = None
    """Whether requests are answered; None while nothing of the deployment is launched, or when it has no door."""
    nodes: Mapping[str, NodeSnapshot] = field(default_factory=dict)
    engines: Mapping[str, EngineSnapshot] = field(default_factory=dict)
    """By engine id, in layout order, the proxy last; engines found on nodes but not in the plan follow."""
    events: tuple[Event, ...] = ()
    """The newest few hundred, oldest first."""
    serving: Mapping[str, Serving] = field(default_factory=dict)
    """By group; the whole deployment is under the empty name."""
    diagnoses: tuple[Diagnosis, ...] = ()
    """Known failures that current runs show, in the order in which they happened."""
    alerts: tuple[Alert, ...] = ()
    """What holds and must be known of though nobody looks, errors first."""
    paces: Mapping[str, StartProgress] = field(default_factory=dict)
    """How far the starts are that run now, by group."""
    usual: Mapping[str, UsualDuration] = field(default_factory=dict)
    """How long the start of a group took before; groups that nobody has watched are not in it."""
    skews: Mapping[str, StartSkew] = field(default_factory=dict)
    """How far apart the living ranks of a group were started; groups of one rank are not in it."""
    restarts: Mapping[str, GroupRestart] = field(default_factory=dict)
    """Where the groups stand that have a restart policy; groups without one are not in it."""
    tasks: tuple[Task, ...] = ()
    """Live runs that are no engines, of any deployment."""
    faults: tuple[str, ...] = ()
    """Parts of this console that died and are started again; what they look after may be old."""
    sightings: tuple[ObservedOperation, ...] = ()
    """What was done to runs that are still on their nodes, oldest first, by whomever."""

    @property
    def complete(self) -> bool:
        """Whether everything is known that nodes can tell: the first sample of each is complete, or it is out of reach."""
        nodes = all(each.link.state is not LinkState.CONNECTING for each in self.nodes.values())
        return nodes and not any(each.connecting for each in self.engines.values())

    def engines_on(self, node: str) -> tuple[EngineSnapshot, ...]:
        """Engines of one node, in order."""
        return tuple(engine for engine in self.engines.values() if engine.node == node)
