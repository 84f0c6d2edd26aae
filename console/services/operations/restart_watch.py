"""Restarts failed groups whose layout has a restart policy: each as one plan, while holding the lease, within a budget.

Only an open console with write access restarts groups. `restart_policy` decides about each group.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from console.model.errors import Busy, ConsoleError
from console.model.plan import Outcome, Plan, PlanResult, StepEvent
from console.model.restart import GroupRestart, Restart, RestartState
from console.model.snapshot import EventLevel
from console.services.monitoring.monitor import Monitor
from console.services.operations.operator import Operator
from console.services.operations.restart_policy import FailureFacts, Member, judge_group, policy_restarts
from console.services.operations.shared_notes import SharedNotes

EVERY_S = 0.5
DRAIN_S = 5.0
"""Short, because most remaining requests on a degraded group wait for the dead rank."""
BUSY_S = 10.0
"""Time without a new attempt after another operator held the lease; the snapshot shows the holder well before that."""
FRESH_S = 15.0
"""How long a node may take to list its runs again (it does so every four seconds) before the restart is postponed."""


class PlanObserver(Protocol):
    """Shows the plans of restart policies while they run."""

    def begin(self, plan: Plan) -> None:
        """A plan starts."""

    def note(self, event: StepEvent) -> None:
        """A step of the plan changed or has news."""

    def end(self, result: PlanResult) -> None:
        """The plan ended."""

    def refuse(self, why: str) -> None:
        """The plan was not run."""


class RestartWatch:
    """Watches the groups of one session, and restarts them when enabled."""

    def __init__(
        self, monitor: Monitor, operator: Operator, *, enabled: bool, notes: SharedNotes | None = None
    ) -> None:
        """`enabled`: whether this console may restart groups; a read-only console never does."""
        self._monitor = monitor
        self._operator = operator
        self._notes = notes
        self._enabled = enabled and not monitor.read_only
        self.paused = False
        """Set by an operator to pause restarts by this console."""
        self.observer: PlanObserver | None = None
        self.notes_known = False
        """Whether the last evaluation had the notes of other consoles, or could not get them."""
        self._failures: dict[str, FailureFacts] = {}
        self._busy = (0.0, "")
        """Until when (monotonic) to expect another operator's plan, and its description."""
        self._restarting: tuple[str, asyncio.Task[None]] | None = None

    @property
    def active(self) -> bool:
        """Whether this console restarts groups now."""
        return self._enabled and not self.paused

    async def run(self) -> None:
        """Evaluate the groups until cancelled. Cancelling leaves the engines of a running restart as they are."""
        try:
            while True:
                self.evaluate(time.time())
                await asyncio.sleep(EVERY_S)
        finally:
            if self._restarting is not None:
                self._restarting[1].cancel()
                await asyncio.gather(self._restarting[1], return_exceptions=True)

    def publish_now(self) -> None:
        """Evaluate now and publish a snapshot, so that restart states match the engine states of a one-shot command."""
        self.evaluate(time.time())
        self._monitor.publish()

    def evaluate(self, now: float) -> None:
        """Evaluate every group with a policy, report changes, and start a restart that is due."""
        self.notes_known = self._notes is None or not self._notes.pending
        seen: dict[str, GroupRestart] = {}
        for name, group in self._monitor.deployment.layout.groups.items():
            if group.restart.policy == "on-failure" and (members := self._members(name)):
                seen[name] = self._group_state(name, group.restart, members, now)
        before, self._monitor.restarts = self._monitor.restarts, seen
        for name, state in seen.items():
            self._report(before.get(name), state, now)
        if seen != before:
            self._monitor.touch()
        due = [each for each in seen.values() if each.due_at is not None and each.due_at <= now]
        if due and self.notes_known and self._restarting is None:
            name = due[0].group
            self._restarting = (name, asyncio.create_task(self._restart(name), name=f"restart {name}"))

    def _group_state(self, name: str, policy: Restart, members: Sequence[Member], now: float) -> GroupRestart:
        if self._restarting is not None and self._restarting[0] == name:
            used = sum(at >= now - policy.within for at in policy_restarts(members))
            return GroupRestart(name, RestartState.RESTARTING, used, policy.budget, policy.within)
        runs = frozenset(member.engine.run for member in members)
        failure = self._failures.get(name)
        if not any(member.failed for member in members):
            self._failures.pop(name, None)
            failure = FailureFacts(runs, now)
        elif failure is None or failure.runs != runs:
            failure = self._failures[name] = FailureFacts(runs, now)
        if not failure.launch_error and self._notes is not None:
            failure = replace(failure, launch_error=self._notes.failed_restart(name, runs))
        decided = judge_group(policy, name, members, failure, self._forbidden())
        return decided if self.active or decided.state is not RestartState.WAITING else replace(decided, due_at=None)

    def _forbidden(self) -> str:
        if self.paused:
            return "restarts are paused in this console"
        if self._operator.running is not None:
            return f"a {self._operator.running.verb} runs in this console"
        if self._monitor.work:
            return f"held by {self._monitor.work.words()}"
        return self._busy[1] if time.monotonic() < self._busy[0] else ""

    def _members(self, group: str) -> list[Member]:
        found = []
        for rank in self._monitor.deployment.ranks():
            engine = self._monitor.snapshot.engines.get(rank.id) if rank.group == group else None
            if engine is None:
                continue
            key = self._monitor.current(rank.id)
            offset = self._monitor.nodes[rank.node].clock_offset_s or 0.0
            at = engine.exit.at if engine.exit else None
            started = None if engine.started_at is None else engine.started_at - offset
            seen = replace(engine, started_at=started)
            run = self._monitor.run_state(key, rank.node) if key else None
            found.append(Member(seen, run, None if at is None else at - offset))
        return found

    def _report(self, before: GroupRestart | None, after: GroupRestart, now: float) -> None:
        if before is not None and before.state is after.state:
            return
        quiet = after.state is RestartState.WATCHING
        if quiet and (before is None or before.state is not RestartState.RESTARTING):
            return
        level = EventLevel.ERROR if after.state is RestartState.GAVE_UP else EventLevel.WARNING
        text = f"restart policy of {after.group}: {after.words(now)}"
        self._monitor.note(EventLevel.INFO if quiet else level, text)

    async def _restart(self, group: str) -> None:
        """Restart a group as one plan; report and record the result."""
        failure = self._failures[group]
        try:
            launch_error = _launch_error(await self._run_plan(group, failure))
        except Busy as error:
            self._busy = (time.monotonic() + BUSY_S, str(error))
            self._failures[group] = replace(failure, at=time.time())
            self._refused(error)
        except ConsoleError as error:
            await self._give_up(group, failure, str(error))
            self._refused(error)
        else:
            if launch_error:
                await self._give_up(group, failure, launch_error)
        finally:
            self._restarting = None

    async def _give_up(self, group: str, failure: FailureFacts, why: str) -> None:
        """Save the error of a restart that failed before the launch, because no run on the nodes records it."""
        if self._notes is not None:
            await self._notes.save_failed_restart(group, failure.runs, why)
        self._failures[group] = replace(failure, launch_error=why)

    async def _run_plan(self, group: str, failure: FailureFacts) -> PlanResult:
        """Prepare and run the restart. Raises Busy when another plan runs, or ran since the failure was seen."""
        policy = self._monitor.deployment.layout.groups[group].restart
        members = self._members(group)
        plan = await self._operator.prepare("restart", [members[0].engine.id], drain_s=DRAIN_S)
        plan = replace(plan, restarts=(*policy_restarts(members), time.time())[-policy.budget :])
        observer = self.observer
        if observer is not None:
            observer.begin(plan)
        notice = observer.note if observer is not None else _ignore
        result = await self._operator.run(
            plan, notice, confirmed=plan.confirm.expected, recheck=lambda: self._recheck(group, failure)
        )
        if observer is not None:
            observer.end(result)
        return result

    def _refused(self, error: ConsoleError) -> None:
        if self.observer is not None:
            self.observer.refuse(f"by the restart policy: {error}")

    async def _recheck(self, group: str, failure: FailureFacts) -> None:
        """Check, with the lease held, that nobody changed the group since it was evaluated. Raises Busy."""
        asked, end = time.time(), time.monotonic() + FRESH_S
        records = [self._monitor.nodes[member.engine.node] for member in self._members(group)]
        while any((record.runs_at or 0.0) <= asked for record in records):
            if time.monotonic() > end:
                raise Busy("a node has not listed its runs in time")
            await asyncio.sleep(0.1)
        self._monitor.publish()
        members = self._members(group)
        if frozenset(each.engine.run for each in members) != failure.runs or any(each.stopped for each in members):
            raise Busy("somebody started or stopped its engines meanwhile")


def _ignore(event: StepEvent) -> None:
    """Drop step events when there is no observer; important ones are events of the engine as well."""


def _launch_error(result: PlanResult) -> str:
    """Why a plan failed before its launch; empty when it launched engines, whatever happened afterwards."""
    wrong = [step for step, outcome in result.outcomes.items() if outcome in (Outcome.FAILED, Outcome.UNKNOWN)]
    launched = any(outcome is Outcome.DONE for step, outcome in result.outcomes.items() if step.startswith("launch:"))
    return "; ".join(result.messages.get(step, step) for step in wrong) if wrong and not launched else ""
