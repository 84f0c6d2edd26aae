"""Starts a failed group again where its layout asks for that: as one plan, under the lease, within a budget.

Only an open console with write access acts. Where a group stands is judged in `standing`; whether something failed, in `states`.
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
from console.services.operations.restart_policy import FailureFacts, Member, longest, stand
from console.services.operations.shared_notes import SharedNotes

EVERY_S = 0.5
DRAIN_S = 5.0
"""What is left of requests on a condemned group mostly waits for the dead rank."""
BUSY_S = 10.0
"""How long to stand back after another operator's lease stood in the way; the snapshot names the holder well before."""
FRESH_S = 15.0
"""How long a node may take to list its runs again (it does every four seconds) before a restart is put off."""


class PlanObserver(Protocol):
    """Who is shown the plans of a policy as they run."""

    def begin(self, plan: Plan) -> None:
        """A plan is about to run."""

    def note(self, event: StepEvent) -> None:
        """A step of it has news."""

    def end(self, result: PlanResult) -> None:
        """It ended."""

    def refuse(self, why: str) -> None:
        """It did not run."""


class RestartWatch:
    """Watches the groups of one session; restarts only when enabled."""

    def __init__(
        self, monitor: Monitor, operator: Operator, *, enabled: bool, notes: SharedNotes | None = None
    ) -> None:
        """`enabled` says whether this console may act by itself; a read-only one never does."""
        self._monitor = monitor
        self._operator = operator
        self._notes = notes
        self._enabled = enabled and not monitor.read_only
        self.paused = False
        """Set by an operator who wants no restarts from this console for now."""
        self.witness: PlanObserver | None = None
        self.informed = False
        """Whether the last look knew what other consoles had tried, or could not know it."""
        self._sights: dict[str, FailureFacts] = {}
        self._busy = (0.0, "")
        """Until when (monotonic) another operator is taken to be at work, and the words of it."""
        self._acting: tuple[str, asyncio.Task[None]] | None = None

    @property
    def acts(self) -> bool:
        """Whether this console restarts groups at present."""
        return self._enabled and not self.paused

    async def run(self) -> None:
        """Look and act until cancelled; a restart that is at work is left to the nodes as it is."""
        try:
            while True:
                self.look(time.time())
                await asyncio.sleep(EVERY_S)
        finally:
            if self._acting is not None:
                self._acting[1].cancel()
                await asyncio.gather(self._acting[1], return_exceptions=True)

    def judge(self) -> None:
        """Look now and take a snapshot of it, for whoever leaves right after: a standing may be older than the states it is
        of."""
        self.look(time.time())
        self._monitor.publish()

    def look(self, now: float) -> None:
        """Judge every group with a policy, tell what changed, and start a restart that is due."""
        self.informed = self._notes is None or not self._notes.awaited
        seen: dict[str, GroupRestart] = {}
        for name, group in self._monitor.deployment.layout.groups.items():
            if group.restart.policy == "on-failure" and (members := self._members(name)):
                seen[name] = self._standing(name, group.restart, members, now)
        before, self._monitor.restarts = self._monitor.restarts, seen
        for name, standing in seen.items():
            self._tell(before.get(name), standing, now)
        if seen != before:
            self._monitor.touch()
        due = [each for each in seen.values() if each.due_at is not None and each.due_at <= now]
        if due and self.informed and self._acting is None:
            name = due[0].group
            self._acting = (name, asyncio.create_task(self._restart(name), name=f"restart {name}"))

    def _standing(self, name: str, policy: Restart, members: Sequence[Member], now: float) -> GroupRestart:
        if self._acting is not None and self._acting[0] == name:
            used = sum(at >= now - policy.within for at in longest(members))
            return GroupRestart(name, RestartState.RESTARTING, used, policy.budget, policy.within)
        runs = frozenset(member.engine.run for member in members)
        sight = self._sights.get(name)
        if not any(member.failed for member in members):
            self._sights.pop(name, None)
            sight = FailureFacts(runs, now)
        elif sight is None or sight.runs != runs:
            sight = self._sights[name] = FailureFacts(runs, now)
        if not sight.broken and self._notes is not None:
            sight = replace(sight, broken=self._notes.vain(name, runs))
        found = stand(policy, name, members, sight, self._forbidden())
        return found if self.acts or found.standing is not RestartState.WAITING else replace(found, due_at=None)

    def _forbidden(self) -> str:
        if self.paused:
            return "restarts are paused in this console"
        if self._operator.running is not None:
            return f"a {self._operator.running.verb} is at work here"
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

    def _tell(self, before: GroupRestart | None, after: GroupRestart, now: float) -> None:
        if before is not None and before.standing is after.standing:
            return
        quiet = after.standing is RestartState.WATCHING
        if quiet and (before is None or before.standing is not RestartState.RESTARTING):
            return
        level = EventLevel.ERROR if after.standing is RestartState.GAVE_UP else EventLevel.WARNING
        text = f"restart policy of {after.group}: {after.words(now)}"
        self._monitor.note(EventLevel.INFO if quiet else level, text)

    async def _restart(self, group: str) -> None:
        """One restart of a group as one plan; what it came to is told and journaled."""
        sight = self._sights[group]
        try:
            broken = _broken(await self._carry_out(group, sight))
        except Busy as error:
            self._busy = (time.monotonic() + BUSY_S, str(error))
            self._sights[group] = replace(sight, at=time.time())
            self._refused(error)
        except ConsoleError as error:
            await self._give_up(group, sight, str(error))
            self._refused(error)
        else:
            if broken:
                await self._give_up(group, sight, broken)
        finally:
            self._acting = None

    async def _give_up(self, group: str, sight: FailureFacts, why: str) -> None:
        """A restart that did not get to its launch leaves no run behind that would tell of it."""
        if self._notes is not None:
            await self._notes.keep_vain(group, sight.runs, why)
        self._sights[group] = replace(sight, broken=why)

    async def _carry_out(self, group: str, sight: FailureFacts) -> PlanResult:
        """Raises Busy when somebody else is at work or has been there since."""
        policy = self._monitor.deployment.layout.groups[group].restart
        members = self._members(group)
        plan = await self._operator.prepare("restart", [members[0].engine.id], drain_s=DRAIN_S)
        plan = replace(plan, restarts=(*longest(members), time.time())[-policy.budget :])
        witness = self.witness
        if witness is not None:
            witness.begin(plan)
        notice = witness.note if witness is not None else _unseen
        result = await self._operator.run(
            plan, notice, confirmed=plan.confirm.expected, still=lambda: self._still(group, sight)
        )
        if witness is not None:
            witness.end(result)
        return result

    def _refused(self, error: ConsoleError) -> None:
        if self.witness is not None:
            self.witness.refuse(f"by the restart policy: {error}")

    async def _still(self, group: str, sight: FailureFacts) -> None:
        """With the lease in hand: nobody has touched the group since it was looked at. Raises Busy."""
        asked, end = time.time(), time.monotonic() + FRESH_S
        records = [self._monitor.nodes[member.engine.node] for member in self._members(group)]
        while any((record.runs_at or 0.0) <= asked for record in records):
            if time.monotonic() > end:
                raise Busy("a node has not listed its runs lately")
            await asyncio.sleep(0.1)
        self._monitor.publish()
        members = self._members(group)
        if frozenset(each.engine.run for each in members) != sight.runs or any(each.stopped for each in members):
            raise Busy("somebody has acted on it meanwhile")


def _unseen(event: StepEvent) -> None:
    """Where nobody looks: what matters of a step is told as an event of its engine."""


def _broken(result: PlanResult) -> str:
    """Why a plan did not get to its launch; empty when it did, however the engines fared then."""
    wrong = [step for step, outcome in result.outcomes.items() if outcome in (Outcome.FAILED, Outcome.UNKNOWN)]
    launched = any(outcome is Outcome.DONE for step, outcome in result.outcomes.items() if step.startswith("launch:"))
    return "; ".join(result.messages.get(step, step) for step in wrong) if wrong and not launched else ""
