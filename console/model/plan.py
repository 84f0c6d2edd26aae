"""A plan: the exact steps of an operation, complete before anything runs; and the outcome of each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from console.model.counting import counted
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
"""Operations on engines, then maintenance of nodes."""
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
"""join, drain and leave change the engines of a running proxy; reassign changes which nodes run which group."""


class Outcome(StrEnum):
    """The outcome of a step. After a lost link it is unknown, not failed."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One action on one node."""

    id: str
    act: Act
    title: str
    node: str
    engines: tuple[str, ...] = ()
    payload: Payload | None = None
    """The exact content of the action: the shown text is derived from it, and nothing else is executed."""

    @property
    def launches(self) -> tuple[EngineLaunch, ...]:
        """The runs that it prepares or starts."""
        return self.payload.launches if isinstance(self.payload, EngineLaunches) else ()

    @property
    def stops(self) -> tuple[EngineStop, ...]:
        """The runs that it stops or verifies."""
        return self.payload.stops if isinstance(self.payload, EngineStops) else ()


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that run at the same time; the next stage waits for all of them."""

    title: str
    steps: tuple[Step, ...]
    group: str = ""

    @property
    def turn(self) -> str:
        """The group of this stage in a rolling restart; else empty."""
        return self.group if self.group and self.title.startswith(f"{self.group}: ") else ""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The confirmation that a plan needs; more is required when more can break."""

    kind: Literal["key", "count", "name", "pid"]
    expected: str
    """`y`, the number of engines, the name of the cluster, or the pid of an unmanaged process."""

    @property
    def what(self) -> str:
        """What the operator must type, as text."""
        return _WHAT[self.kind]


_WHAT = {"key": "y", "count": "the number of engines", "name": "the name of the cluster", "pid": "the pid"}


_EMERGENCY = frozenset(("drain", "leave", "join", "stop", "kill", "verify", "end"))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that an operation will do, and the deployment that it was made from."""

    verb: Verb
    cluster: str
    deployment: str
    engines: tuple[str, ...]
    stages: tuple[Stage, ...]
    confirm: Confirm
    findings: tuple[Finding, ...] = ()
    losses: tuple[str, ...] = ()
    """What the operation loses, one line each, for example `decode-3: 12 running requests`."""
    drain_s: float = 120.0
    """Time limit for running requests after the proxy sends no new ones, in seconds."""
    restarts: tuple[float, ...] = ()
    """The times of restarts by the restart policy, this one last; empty when an operator runs the plan."""
    purpose: tuple[tuple[str, str], ...] = ()
    """What an evaluation requests and how often, as rows of the summary: label and sentence."""
    usual: Mapping[str, UsualDuration] = field(default_factory=dict, compare=False)
    """Group → duration of its earlier starts; groups without a known start are missing."""
    by_node: bool = False
    """Whether the steps of other nodes continue after a failure on one node."""
    made_from: Deployment | None = field(default=None, repr=False, compare=False)
    """The deployment that the launches were computed from; when it has changed, the plan is outdated."""

    @property
    def blocked(self) -> bool:
        """Whether a finding prevents the plan."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def target(self) -> str:
        """The target as text: `3 engines`, `pid 4711 on d0`, or `2 nodes` for maintenance."""
        nodes = {step.node for step in self.steps}
        if self.process:
            return str(self.process)
        return engine_words(self.engines) if self.engines else counted(len(nodes), "node")

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for stage in self.stages for step in stage.steps)

    @property
    def launches(self) -> tuple[EngineLaunch, ...]:
        """Every run that it starts, in order."""
        return tuple(launch for step in self.steps if step.act == "launch" for launch in step.launches)

    @property
    def emergency(self) -> bool:
        """Whether it only stops engines or changes the proxy: such a plan runs even when the journal cannot be written."""
        return all(step.act in _EMERGENCY for step in self.steps)

    @property
    def awaited(self) -> bool:
        """Whether it waits until the started engines are ready."""
        return any(step.act == "wait-ready" for step in self.steps)

    @property
    def runs(self) -> Mapping[str, str]:
        """Engine id → id of the run that the plan starts."""
        return {launch.rank.id: launch.key.run for launch in self.launches}

    @property
    def process(self) -> ProcessId | None:
        """The unmanaged process that it stops, or None."""
        return next((step.payload.process for step in self.steps if isinstance(step.payload, ProcessEnd)), None)

    @property
    def change(self) -> AssignmentChange | None:
        """The change of the assignment, or None."""
        return next((step.payload for step in self.steps if isinstance(step.payload, AssignmentChange)), None)


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A new outcome or a new message of a step."""

    step: str
    """The id of the step."""
    outcome: Outcome
    message: str = ""
    at: float = 0.0
    """Seconds since the epoch on this machine."""


@dataclass(frozen=True, slots=True)
class PlanResult:
    """How a plan ended."""

    outcomes: Mapping[str, Outcome]
    messages: Mapping[str, str]
    cancelled: bool = False
    checks: tuple[str, ...] = ()
    """Ids of the preflight checks that stopped it; `--override` skips them."""
    unrecorded: tuple[str, ...] = ()
    """Why the journal or the assignment has no record of it."""
    taken_over: str = ""
    """The operator who took the lease over, `bob@jump (stop)`; the remaining steps were not started."""

    @property
    def ok(self) -> bool:
        """Whether every step is done."""
        return not self.cancelled and all(outcome is Outcome.DONE for outcome in self.outcomes.values())
