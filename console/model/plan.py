"""A plan: the exact commands of one act, built before anything runs; and what became of each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from console.model.findings import Finding, Severity

Verb = Literal["start", "stop", "restart", "force"]
Act = Literal["check", "prepare", "launch", "wait-ready", "drain", "stop", "force", "verify"]


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
    commands: tuple[str, ...] = ()
    """What a person would type there; secrets masked."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that run at once; the next stage waits for all of them."""

    title: str
    steps: tuple[Step, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Confirm:
    """What the operator must do to set a plan going, by how much it could break."""

    kind: Literal["key", "count", "name"]
    expected: str
    """`y`, the number of engines, or the cluster's name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an act will do, and what it was made from."""

    verb: Verb
    cluster: str
    deployment: str
    engines: tuple[str, ...]
    stages: tuple[Stage, ...]
    confirm: Confirm
    findings: tuple[Finding, ...] = ()
    losses: tuple[str, ...] = ()
    """What is lost by it, one line each, for example `decode-3: 12 running requests`."""
    basis: Mapping[str, str | None] = field(default_factory=dict)
    """Engine id → run id seen when the plan was made; a node refuses a launch when it has changed."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """Engine id → run id of the attempts this plan will make."""

    @property
    def blocked(self) -> bool:
        """Whether a finding forbids to run it."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for stage in self.stages for step in stage.steps)


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A step changed its outcome, or has news."""

    step: str
    outcome: Outcome
    message: str = ""
    at: float = 0.0


    restarts: tuple[float, ...] = ()
    """When a restart policy started these engines in a row, this time last; empty when an operator does."""
@dataclass(frozen=True, slots=True)
class PlanResult:
    """How a plan ended."""

    outcomes: Mapping[str, Outcome]
    messages: Mapping[str, str]
    cancelled: bool = False

    @property
    def ok(self) -> bool:
        """Whether every step is done."""
        return not self.cancelled and all(outcome is Outcome.DONE for outcome in self.outcomes.values())
