"""What the monitor remembers of each node and run between two snapshots. Mutable, owned by the event loop, never handed out."""

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
    """The runs of one list by what they are looked for: a snapshot asks many times for each of them."""

    def __init__(self, runs: Mapping[RunKey, RunState]) -> None:
        self.of = runs
        self.current: dict[tuple[str, str], RunState] = {}
        """(deployment, engine) -> its newest run; a live one wins over a newer one that was only prepared."""
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
    """The newest word of one node."""

    node: Node
    link: Link = field(default_factory=Link)
    hello: Hello | None = None
    clock_offset_s: float | None = None
    """Node clock minus ours."""
    _offsets: list[tuple[float, float]] = field(default_factory=list)
    """When it was measured of late, and what came out."""
    runs: dict[RunKey, RunState] = field(default_factory=dict)
    runs_at: float | None = None
    """When its list of runs last arrived, our clock."""
    heard: bool = False
    """Whether it has listed its runs since the link came up."""
    host_asked: bool = False
    """Whether the probe of its host has ended once, well or not."""
    complete: bool = False
    """Whether its first sample since the link came up is complete; see `completeness`."""
    awaited: str = ""
    """What the first sample lacks, in words."""
    unread: set[RunKey] = field(default_factory=set)
    """Running engines whose state cannot be told yet though the rest of the node is known."""
    table: NpuTable | None = None
    """The last complete NPU table."""
    table_at: float | None = None
    table_error: str = ""
    table_asked_at: float | None = None
    """When the npu-smi started that ended last, with a table or without; our clock."""
    host: Host = field(default_factory=Host)
    unmanaged: tuple[UnmanagedProcess, ...] = ()
    """As the node told them: times by its clock, without what npu-smi says."""
    _index: RunIndex | None = None

    def measure_clock(self, clock: float, now: float) -> None:
        """Learn how far the node's clock is ahead: `clock` is what it said in a message that arrived `now`, by ours.

        A message that was late makes it less, never more, so the most of the last half minute is nearest to the truth.
        """
        recent = [(at, offset) for at, offset in self._offsets if 0 <= now - at < OFFSETS_S]
        self._offsets = [*recent[-MOST_OFFSETS:], (now, clock - now)]
        self.clock_offset_s = max(offset for _, offset in self._offsets)

    @property
    def awaiting(self) -> bool:
        """Whether the node, or an engine on it, is shown as connecting until more is known."""
        return not self.complete or bool(self.unread)

    @property
    def index(self) -> RunIndex:
        """The runs by what they are looked for."""
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
    """Label -> since when it has had running requests and moved no token."""
    moved: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Label -> the two scrapes between which it moved tokens last: it did so after the first, whenever that was."""
    rested_at: float | None = None
    """Until when it had moved tokens when it was last found to rest."""

    @property
    def moved_at(self) -> float | None:
        """When tokens were last seen to have moved."""
        return max((at for _, at in self.moved.values()), default=None)

    @property
    def rests(self) -> bool:
        """Whether the newest scrape shows no token though one before it did."""
        return self.scrape is not None and self.moved_at is not None and self.scrape.at > self.moved_at

    def moves(self, label: str, since: float) -> bool:
        """Whether a rank was seen to have moved tokens since; every rank counts where `label` is not known."""
        own = [self.moved[label]] if label in self.moved else []
        return any(at >= since for _, at in (own if label in self.loads else self.moved.values()))

    def keep(self, scrape: Scrape, loads: Mapping[str, Load]) -> None:
        """Take a scrape that could be read, and the loads since the one before it."""
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
    """What was learnt about one run beyond its node's verdict."""

    key: RunKey
    log: LaunchLog = field(default_factory=LaunchLog)
    fed: int = 0
    """Bytes of the local copy that `log` has seen."""
    log_line_at: float | None = None
    rungs: tuple[HealthCheck, ...] = ()
    http_failures: int = 0
    named: str = ""
    """What `/metrics` called the model when the list of models was last known to be right."""
    ready_at: float | None = None
    log_refused: bool = False
    """Whether its node could not read the log."""
    stuck: bool = False
    metrics: MetricsRecord = field(default_factory=MetricsRecord)
    works: HealthCheck | None = None
    """The last completion of a few tokens; of a process with several ranks the worst."""
    proof: HealthCheck | None = None
    """What `verify` found wrong; it stands until `verify` finds the engine right."""
    hang: HealthCheck | None = None
    """Why it is called hanging; None while it is not."""
    facts: dict[str, str] = field(default_factory=dict)
    """Facts of the table of signatures that the console itself saw -> what it saw."""
    signature: str = ""
    died_at: float | None = None
    """When its log says that it died, on this machine's clock; None while the log says nothing, or its zone is not known."""
    isolated: set[str] = field(default_factory=set)
    """Of a proxy: engines it was told to use no more and still counts."""

    @property
    def answers(self) -> tuple[HealthCheck, ...]:
        """The health checks above the log: http, model, works, verify.

        A headless engine has only what its server was asked for it.
        """
        return tuple(rung for rung in (*self.rungs, self.hang or self.works, self.proof) if rung is not None)

    @property
    def served_at(self) -> float | None:
        """Since when it is known to have served last: it moved tokens after that, or answered a test request; None when never."""
        answered = [self.works.at] if self.works is not None and self.works.grade is Grade.OK else []
        moved = (begin for begin, _ in self.metrics.moved.values())
        return max((at for at in (*answered, *moved) if at is not None), default=None)

    @property
    def answering(self) -> bool:
        """Whether the HTTP health checks hold."""
        return bool(self.rungs) and all(rung.grade in (Grade.OK, Grade.SKIPPED) for rung in self.rungs)

    @property
    def asked(self) -> bool:
        """Whether its server's answers say how it is; a single failure of an engine that was ready does not."""
        started = self.ready_at is not None or self.log_state.ready
        settled = any(rung.grade in (Grade.FAIL, Grade.UNKNOWN) for rung in self.rungs)
        return self.answering or settled or (bool(self.rungs) and not started)

    @property
    def log_state(self) -> LogState:
        """The start as its log tells it."""
        return self.log.state
