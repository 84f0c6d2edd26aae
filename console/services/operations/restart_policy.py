"""Decides whether a failed group is restarted, and when, or why not. Pure; restarts nothing.

The newest run of each rank records the times of earlier restarts by policy, so a console that is opened later continues the
count of another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from console.model.durations import exact
from console.model.restart import GroupRestart, Restart, RestartState
from console.model.run import RunState
from console.model.snapshot import EngineSnapshot, EngineState

_FAILED = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)
_STOPPED = (EngineState.EXITED, EngineState.STOPPING)


@dataclass(frozen=True, slots=True)
class Member:
    """One rank of a group, with the state of its newest run as its node reports it."""

    engine: EngineSnapshot
    run: RunState | None
    ended_at: float | None = None
    """When that run ended, on this machine's clock."""

    @property
    def failed(self) -> bool:
        """Whether it ended without a stop request."""
        return self.engine.state in _FAILED and self.run is not None and not self.run.stopping

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to stop."""
        return self.engine.state in _STOPPED or (self.run is not None and self.run.stopping)

    @property
    def restarts(self) -> tuple[float, ...]:
        """Times of the restarts by policy up to this run; empty for a run that an operator started."""
        times = self.run.spec.get("restarts") if self.run else None
        return tuple(float(at) for at in times if isinstance(at, int | float)) if isinstance(times, list) else ()


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """What this console itself knows about a failure, in addition to the reports of nodes."""

    runs: frozenset[str | None]
    """The newest runs of the group when this console first saw the failure."""
    at: float
    """When this console first saw the failure."""
    launch_error: str = ""
    """Why the restart by this console failed before it launched anything."""


def policy_restarts(members: Sequence[Member]) -> tuple[float, ...]:
    """Times of the group's restarts by policy, oldest first; empty after an operator started the group."""
    return max((member.restarts for member in members), key=len, default=())


def judge_group(
    policy: Restart, group: str, members: Sequence[Member], failure: FailureFacts, forbidden: str
) -> GroupRestart:
    """The restart state of a group; `forbidden` is the reason why this console must not restart now, or empty.

    Restarts are counted back from the time of the failure, so that a given-up group stays given up.
    """
    failed = [member for member in members if member.failed]
    failed_at = min((at for member in failed if (at := _end(member)) is not None), default=failure.at)
    before = [at for at in policy_restarts(members) if at >= failed_at - policy.within]
    base = GroupRestart(group, RestartState.WATCHING, len(before), policy.budget, policy.within)
    if not failed:
        return base
    first = min(failed, key=lambda member: _end(member) or float("inf")).engine
    failed_text = f"{first.id} on {first.node} {first.state}"
    if len(before) >= policy.budget:
        return replace(
            base, state=RestartState.GAVE_UP, reason=f"{failed_text}; fix the cause, then restart {group} yourself"
        )
    if held := forbidden or _held(policy, group, members, failure, failed_at):
        return replace(base, state=RestartState.HELD, reason=f"{failed_text}; {held}")
    due = max(failed_at + policy.wait_s(len(before)), failure.at + policy.backoff)
    return replace(base, state=RestartState.WAITING, reason=failed_text, due_at=due)


def _held(policy: Restart, group: str, members: Sequence[Member], failure: FailureFacts, failed_at: float) -> str:
    """Why the state of the group forbids a restart; empty when a restart is allowed."""
    by_hand = f"restart {group} yourself if you want it"
    if any(member.stopped for member in members):
        return f"part of it was stopped on request: {by_hand}"
    if any(member.run is None and member.engine.state is EngineState.IDLE for member in members):
        return f"not all of it was started: {by_hand}"
    if unreachable := sorted({m.engine.node for m in members if m.engine.state is EngineState.UNREACHABLE}):
        return f"waits for the link to {', '.join(unreachable)}"
    if failure.launch_error:
        return f"its restart failed before the launch ({failure.launch_error}): {by_hand}"
    if failure.at - failed_at > policy.within:
        return f"the failure was {exact(round((failure.at - failed_at) / 60) * 60)} old when this console saw it: {by_hand}"
    return ""


def _end(member: Member) -> float | None:
    """When it failed: the recorded end, else the start, because the end of a lost run is unknown."""
    if member.ended_at is not None:
        return member.ended_at
    return member.engine.started_at
