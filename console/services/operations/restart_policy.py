"""Where a failed group stands with its restart policy: restarted when, held back by what, or given up. Pure.

What was done before is read from the newest run of each rank, which carries the times of the restarts that led to it: a
console that is opened later goes on counting where another one stopped. Acting does not enter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from console.model.restart import GroupRestart, Restart, RestartState, span
from console.model.run import RunState
from console.model.snapshot import EngineSnapshot, EngineState

_FAILED = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)
_STOPPED = (EngineState.EXITED, EngineState.STOPPING)


@dataclass(frozen=True, slots=True)
class Member:
    """One rank of a group, with what its node says of its newest run."""

    engine: EngineSnapshot
    run: RunState | None
    ended_at: float | None = None
    """When that run ended, on this machine's clock."""

    @property
    def failed(self) -> bool:
        """Whether it ended and nobody had asked for that."""
        return self.engine.state in _FAILED and self.run is not None and not self.run.stopping

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to end."""
        return self.engine.state in _STOPPED or (self.run is not None and self.run.stopping)

    @property
    def restarts(self) -> tuple[float, ...]:
        """When the policy restarted it up to this run; empty for a run that an operator started."""
        told = self.run.spec.get("restarts") if self.run else None
        return tuple(float(at) for at in told if isinstance(at, int | float)) if isinstance(told, list) else ()


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """What this console knows of a failure beyond the nodes' word."""

    runs: frozenset[str | None]
    """The newest runs of the group when it was first seen."""
    at: float
    """When this console first saw it."""
    broken: str = ""
    """Why a restart by this console did not come to its launch."""


def longest(members: Sequence[Member]) -> tuple[float, ...]:
    """The restarts by policy that led to the group as it is, oldest first; none after an operator started it."""
    return max((member.restarts for member in members), key=len, default=())


def stand(policy: Restart, group: str, members: Sequence[Member], sight: FailureFacts, forbidden: str) -> GroupRestart:
    """Where a group stands; `forbidden` says why nothing may be done now.

    Restarts are counted back from the failure, not from now, so that a group that was given up stays so.
    """
    failed = [member for member in members if member.failed]
    failed_at = min((at for member in failed if (at := _end(member)) is not None), default=sight.at)
    before = [at for at in longest(members) if at >= failed_at - policy.within]
    made = GroupRestart(group, RestartState.WATCHING, len(before), policy.budget, policy.within)
    if not failed:
        return made
    first = min(failed, key=lambda member: _end(member) or float("inf")).engine
    what = f"{first.id} on {first.node} {first.state}"
    if len(before) >= policy.budget:
        return replace(
            made, standing=RestartState.GAVE_UP, reason=f"{what}; fix the cause, then restart {group} by hand"
        )
    if held := forbidden or _held(policy, group, members, sight, failed_at):
        return replace(made, standing=RestartState.HELD, reason=f"{what}; {held}")
    due = max(failed_at + policy.wait_s(len(before)), sight.at + policy.backoff)
    return replace(made, standing=RestartState.WAITING, reason=what, due_at=due)


def _held(policy: Restart, group: str, members: Sequence[Member], sight: FailureFacts, failed_at: float) -> str:
    """What about the group itself forbids a restart; empty when nothing does."""
    by_hand = f"restart {group} by hand when you want it"
    if any(member.stopped for member in members):
        return f"part of it was stopped on request: {by_hand}"
    if any(member.run is None and member.engine.state is EngineState.IDLE for member in members):
        return f"not all of it was started: {by_hand}"
    if away := sorted({m.engine.node for m in members if m.engine.state is EngineState.UNREACHABLE}):
        return f"waits for {', '.join(away)}"
    if sight.broken:
        return f"its restart did not get to the launch ({sight.broken}): {by_hand}"
    if sight.at - failed_at > policy.within:
        return f"that was {span(round((sight.at - failed_at) / 60) * 60)} before this console looked: {by_hand}"
    return ""


def _end(member: Member) -> float | None:
    """When it failed: its recorded end, else its start, as nobody knows more of a lost run."""
    if member.ended_at is not None:
        return member.ended_at
    return member.engine.started_at
