"""Mutable records of nodes and runs that the monitor keeps between snapshots. Used in the event loop only."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from console.model.cluster import Node
from console.model.run import Hello, RunKey, RunState, RunVerdict
from console.model.snapshot import Grade, HealthCheck, Host, Link
from console.model.unmanaged_process import UnmanagedProcess
from console.probes.engine_log import LaunchLog, LogState
from console.probes.metrics import Load, Scrape
from console.probes.npu_smi import NpuTable

HISTORY = 60
"""Intervals kept for sparklines."""
TokenRates = tuple[float | None, float | None]
"""Prompt and generated tokens per second of one interval; None is unknown."""


ALIVE = (RunVerdict.RUNNING, RunVerdict.ORPHANS, RunVerdict.FOREIGN)


class RunIndex:
    """Indexes of a node's list of runs, because a snapshot looks up each run many times."""

    def __init__(self, runs: Mapping[RunKey, RunState]) -> None:
        self.of = runs
        self.current: dict[tuple[str, str], RunState] = {}
        """(deployment, engine) -> its newest run; a live run has priority over a newer one that was only prepared."""
        self.keys: dict[tuple[str, str], RunKey] = {}
        """(engine, run) -> its key."""
        for key, run in runs.items():
            before = self.current.get((key.deployment, key.engine))
            if before is None or _weight(run) > _weight(before):
                self.current[key.deployment, key.engine] = run
            self.keys.setdefault((key.engine, key.run), key)


def _weight(run: RunState) -> tuple[bool, str]:
    return run.verdict in ALIVE, run.key.run


OFFSETS_S = 30.0
MOST_OFFSETS = 40


@dataclass(slots=True)
class NodeRecord:
    """The newest reports of one node."""

    node: Node
    link: Link = field(default_factory=Link)
    hello: Hello | None = None
    clock_offset_s: float | None = None
    """The node's clock minus this machine's clock."""
    _offsets: list[tuple[float, float]] = field(default_factory=list)
    """(time, clock offset) of recent measurements."""
    runs: dict[RunKey, RunState] = field(default_factory=dict)
    runs_at: float | None = None
    """When its list of runs last arrived, on this machine's clock."""
    runs_listed: bool = False
    """Whether it has listed its runs since the link came up."""
    host_sampled: bool = False
    """Whether the probe of its host has ended once, successfully or not."""
    complete: bool = False
    """Whether its first sample since the link came up is complete; see `completeness`."""
    missing: str = ""
    """What the first sample lacks, as text."""
    unknown_runs: set[RunKey] = field(default_factory=set)
    """Running engines whose state is unknown although the first sample counts as complete."""
    table: NpuTable | None = None
    """The last complete NPU table."""
    table_at: float | None = None
    table_text: bytes | None = None
    """The output that `table` was read from; None when it was incomplete."""
    table_error: str = ""
    table_started_at: float | None = None
    """When the last finished npu-smi call started, on this machine's clock."""
    host: Host = field(default_factory=Host)
    unmanaged: tuple[UnmanagedProcess, ...] = ()
    """As the node reported them: times on its clock, without data of npu-smi."""
    _index: RunIndex | None = None

    def measure_clock(self, clock: float, now: float) -> None:
        """Measure the clock offset from a message with the node's time `clock` that arrived at `now` on this machine's clock.

        A delayed message can only lower the measured offset, so the highest value of the last half minute is the best one.
        """
        recent = [(at, offset) for at, offset in self._offsets if 0 <= now - at < OFFSETS_S]
        self._offsets = [*recent[-MOST_OFFSETS:], (now, clock - now)]
        self.clock_offset_s = max(offset for _, offset in self._offsets)

    @property
    def awaiting(self) -> bool:
        """Whether the node, or an engine on it, is shown as connecting until more is known."""
        return not self.complete or bool(self.unknown_runs)

    @property
    def index(self) -> RunIndex:
        """The index of the runs."""
        if self._index is None or self._index.of is not self.runs:
            self._index = RunIndex(self.runs)
        return self._index


@dataclass(slots=True)
class MetricsRecord:
    """The newest metrics of one API server."""

    scrape: Scrape | None = None
    loads: Mapping[str, Load] = field(default_factory=dict)
    """By label `engine`, the global data-parallel rank."""
    error: str = ""
    history: dict[str, deque[TokenRates]] = field(default_factory=dict)
    """By the same label, of the last HISTORY intervals, oldest first."""
    stalled_since: dict[str, float] = field(default_factory=dict)
    """Label -> since when requests run without a new token."""
    moved: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Label -> the times of the two scrapes between which tokens were last produced."""
    idle_after: float | None = None
    """The value of `moved_at` when the server was last found idle."""

    @property
    def moved_at(self) -> float | None:
        """Time of the last scrape with new tokens."""
        return max((at for _, at in self.moved.values()), default=None)

    @property
    def idle(self) -> bool:
        """Whether the newest scrape has no new token although an earlier one had."""
        return self.scrape is not None and self.moved_at is not None and self.scrape.at > self.moved_at

    def moves(self, label: str, since: float) -> bool:
        """Whether a rank produced tokens since that time; any rank when `label` is unknown."""
        own = [self.moved[label]] if label in self.moved else []
        return any(at >= since for _, at in (own if label in self.loads else self.moved.values()))

    def keep(self, scrape: Scrape, loads: Mapping[str, Load]) -> None:
        """Keep a scrape and the loads between the previous scrape and this one."""
        before = self.scrape
        self.scrape, self.loads, self.error = scrape, loads, ""
        for label, load in loads.items():
            self.history.setdefault(label, deque(maxlen=HISTORY)).append(
                (load.prompt_tokens_s, load.generation_tokens_s)
            )
            moved = (load.generation_tokens_s or 0.0) + (load.prompt_tokens_s or 0.0) > 0
            if moved and before is not None:
                self.moved[label] = before.at, scrape.at
            if before is None or load.generation_tokens_s is None or moved or not load.running:
                self.stalled_since.pop(label, None)
            else:
                self.stalled_since.setdefault(label, before.at)


@dataclass(slots=True)
class RunRecord:
    """What this console knows about one run, in addition to its node's report."""

    key: RunKey
    log: LaunchLog = field(default_factory=LaunchLog)
    bytes_read: int = 0
    """Bytes of the local copy that `log` has read."""
    log_line_at: float | None = None
    http_checks: tuple[HealthCheck, ...] = ()
    http_failures: int = 0
    metrics_model: str = ""
    """The model name in `/metrics` when the model list was last known to be right."""
    ready_at: float | None = None
    log_refused: bool = False
    """Whether its node could not read the log."""
    stuck: bool = False
    metrics: MetricsRecord = field(default_factory=MetricsRecord)
    works: HealthCheck | None = None
    """The check by the last completion of a few tokens; for a process with several ranks the worst result."""
    proof: HealthCheck | None = None
    """The failure that `verify` found, until `verify` passes."""
    hang: HealthCheck | None = None
    """The check of a hanging engine; None while the engine does not hang."""
    facts: dict[str, str] = field(default_factory=dict)
    """Facts for failure signatures that this console observed -> the observation."""
    signature: str = ""
    died_at: float | None = None
    """When it died by its log, on this machine's clock; None without such a line, or when the log's zone is unknown."""
    isolated: set[str] = field(default_factory=set)
    """For a proxy: removed engines that the proxy still counts."""

    @property
    def answer_checks(self) -> tuple[HealthCheck, ...]:
        """The health checks above the log: http, model, works, verify.

        A headless engine has only the checks that its server answered for it.
        """
        return tuple(check for check in (*self.http_checks, self.hang or self.works, self.proof) if check is not None)

    @property
    def served_at(self) -> float | None:
        """When it is last known to have served: by tokens or by the answer to a test request; None when never."""
        answered = [self.works.at] if self.works is not None and self.works.grade is Grade.OK else []
        moved = (begin for begin, _ in self.metrics.moved.values())
        return max((at for at in (*answered, *moved) if at is not None), default=None)

    @property
    def http_ok(self) -> bool:
        """Whether the HTTP health checks pass."""
        return bool(self.http_checks) and all(check.grade in (Grade.OK, Grade.SKIPPED) for check in self.http_checks)

    @property
    def http_settled(self) -> bool:
        """Whether the answers of its server decide its state; a single failure of an engine that was ready does not."""
        started = self.ready_at is not None or self.log_state.ready
        settled = any(check.grade in (Grade.FAIL, Grade.UNKNOWN) for check in self.http_checks)
        return self.http_ok or settled or (bool(self.http_checks) and not started)

    @property
    def log_state(self) -> LogState:
        """The state of the start by the log."""
        return self.log.state
