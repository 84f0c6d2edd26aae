"""A plan: the exact commands of one operation, built before anything runs; and what became of each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from console.model.deployment import Deployment, engine_words
from console.model.findings import Finding, Severity
from console.model.payload import (
    AssignmentChange,
    EngineLaunch,
    EngineLaunches,
    EngineStop,
    EngineStops,
    Payload,
    ProcessEnd,
)
from console.model.payload import ProcessId as ProcessId
from console.model.start_timing import UsualDuration

Verb = Literal["start", "stop", "restart", "kill", "scale", "sync-proxy", "containers", "tune", "weights"]
"""Acts on engines, then maintenance of nodes, which touches no engine."""
Act = Literal[
    "check",
    "prepare",
    "launch",
    "wait-ready",
    "join",
    "drain",
    "leave",
    "stop",
    "kill",
    "verify",
    "end",
    "reassign",
    "maintenance",
]
"""join, drain and leave tell a running proxy who is behind it; reassign changes which node runs which group."""


class Outcome(StrEnum):
    """What became of a step. A lost link makes it unknown, never failed."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done on one node."""

    id: str
    act: Act
    title: str
    node: str
    engines: tuple[str, ...] = ()
    payload: Payload | None = None
    """What is done, to the last byte: what is shown is derived from it, and nothing else is executed."""

    @property
    def launches(self) -> tuple[EngineLaunch, ...]:
        """The runs it is about, when it brings engines up."""
        return self.payload.launches if isinstance(self.payload, EngineLaunches) else ()

    @property
    def stops(self) -> tuple[EngineStop, ...]:
        """The runs it ends or looks after, when it takes engines down."""
        return self.payload.stops if isinstance(self.payload, EngineStops) else ()


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that run at once; the next stage waits for all of them."""

    title: str
    steps: tuple[Step, ...]
    group: str = ""

    @property
    def turn(self) -> str:
        """The group whose turn it is, where groups are restarted one after another; else empty."""
        return self.group if self.group and self.title.startswith(f"{self.group}: ") else ""


@dataclass(frozen=True, slots=True)
class Confirm:
    """What the operator must do to set a plan going, by how much it could break."""

    kind: Literal["key", "count", "name", "pid"]
    expected: str
    """`y`, the number of engines, the cluster's name, or the pid of an unmanaged process."""

    @property
    def what(self) -> str:
        """What is to be typed, in words."""
        return _WHAT[self.kind]


_WHAT = {"key": "y", "count": "the number of engines", "name": "the cluster's name", "pid": "the pid"}


_EMERGENCY = frozenset(("drain", "leave", "join", "stop", "kill", "verify", "end"))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an operation will do, and what it was made from."""

    verb: Verb
    cluster: str
    deployment: str
    engines: tuple[str, ...]
    stages: tuple[Stage, ...]
    confirm: Confirm
    findings: tuple[Finding, ...] = ()
    losses: tuple[str, ...] = ()
    """What is lost by it, one line each, for example `decode-3: 12 running requests`."""
    drain_s: float = 120.0
    """How long requests may go on after their engine was taken out of the proxy."""
    restarts: tuple[float, ...] = ()
    """When a restart policy started these engines in a row, this time last; empty when an operator does."""
    usual: Mapping[str, UsualDuration] = field(default_factory=dict, compare=False)
    """How long the start of its groups took before; groups whose start nobody has watched are not in it."""
    by_node: bool = False
    """Whether a failure on one node leaves the steps of the others alone."""
    made_from: Deployment | None = field(default=None, repr=False, compare=False)
    """What its launches were computed from: where that has changed, they are not what the operator wants any more."""

    @property
    def blocked(self) -> bool:
        """Whether a finding forbids to run it."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def target(self) -> str:
        """What it acts on, in words: `3 engines`, `pid 4711 on d0`, or `2 nodes` for upkeep."""
        nodes = {step.node for step in self.steps}
        if self.process:
            return str(self.process)
        return engine_words(self.engines) if self.engines else f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for stage in self.stages for step in stage.steps)

    @property
    def launches(self) -> tuple[EngineLaunch, ...]:
        """Every run it will start, in order."""
        return tuple(launch for step in self.steps if step.act == "launch" for launch in step.launches)

    @property
    def emergency(self) -> bool:
        """Whether it only takes something down, or out of the proxy: no lack of a record may stand in its way."""
        return all(step.act in _EMERGENCY for step in self.steps)

    @property
    def awaited(self) -> bool:
        """Whether it waits until what it starts is ready."""
        return any(step.act == "wait-ready" for step in self.steps)

    @property
    def runs(self) -> Mapping[str, str]:
        """Engine id → run id of the attempts this plan will make."""
        return {launch.rank.id: launch.key.run for launch in self.launches}

    @property
    def process(self) -> ProcessId | None:
        """What is ended when it is no engine of ours."""
        return next((step.payload.process for step in self.steps if isinstance(step.payload, ProcessEnd)), None)

    @property
    def change(self) -> AssignmentChange | None:
        """How it changes which nodes run what, when it does."""
        return next((step.payload for step in self.steps if isinstance(step.payload, AssignmentChange)), None)


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A step changed its outcome, or has news."""

    step: str
    """Id of the step."""
    outcome: Outcome
    message: str = ""
    at: float = 0.0
    """When, seconds since the epoch on this machine."""


@dataclass(frozen=True, slots=True)
class PlanResult:
    """How a plan ended."""

    outcomes: Mapping[str, Outcome]
    messages: Mapping[str, str]
    cancelled: bool = False
    checks: tuple[str, ...] = ()
    """Ids of the preflight's checks that stopped it; it may be run again with these passed over."""
    unrecorded: tuple[str, ...] = ()
    """Why the journal, or the assignment, lacks a record of it."""
    taken_over: str = ""
    """Who took the deployment over meanwhile, `bob@jump (stop)`: no further step was started then."""

    @property
    def ok(self) -> bool:
        """Whether every step is done."""
        return not self.cancelled and all(outcome is Outcome.DONE for outcome in self.outcomes.values())
