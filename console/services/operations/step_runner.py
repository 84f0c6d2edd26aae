"""Runs the steps of a plan: one method per act, chosen from a table, and what to believe after a lost link."""

from __future__ import annotations

import time

from console.model.errors import ConsoleError, LinkLost
from console.model.plan import Outcome, Stage, Step
from console.model.run import RunKey, RunVerdict
from console.model.snapshot import EventLevel
from console.services.operations.proxy_steps import ProxySteps
from console.services.operations.start_steps import StartSteps
from console.services.operations.step_context import Say, StepContext
from console.services.operations.stop_steps import StopSteps

SETTLE_S = 60.0
"""How long a lost link may stay away before a step's outcome is left unknown."""


class StepRunner:
    """Runs the steps of one plan."""

    def __init__(self, scope: StepContext) -> None:
        self._scope = scope
        up, down, behind = StartSteps(scope), StopSteps(scope), ProxySteps(scope)
        self._acts = {
            "check": up.check,
            "prepare": up.prepare,
            "launch": up.launch,
            "wait-ready": up.wait_ready,
            "stop": down.stop,
            "kill": down.kill,
            "verify": down.verify,
            "end": down.end,
            "join": behind.join,
            "drain": behind.drain,
            "leave": behind.leave,
            "reassign": behind.reassign,
        }

    async def run(self, step: Step, say: Say) -> str:
        """Do the step; gives a line on how it went. Raises ConsoleError when it failed, LinkLost when that is not known."""
        return await self._acts[step.act](step, say)

    async def discard(self, stage: Stage) -> None:
        """Take back what a failed prepare stage wrote, so that no half-made run is left."""
        for step in stage.steps:
            for launch in step.launches:
                try:
                    await self._scope.link(step).discard(launch.key)
                except ConsoleError as error:
                    engine = launch.rank.id
                    self._scope.monitor.note(EventLevel.INFO, f"not discarded: {error}", node=step.node, engine=engine)

    async def settle(self, step: Step, lost: LinkLost) -> tuple[Outcome, str]:
        """After a lost link: wait for the node and read what became of the step from its own list of runs."""
        link = self._scope.link(step)
        asked = time.time()
        if not await link.wait_up(SETTLE_S):
            return Outcome.UNKNOWN, f"{lost}; the node has not come back, check its state before you try again"
        record = self._scope.monitor.nodes[step.node]
        heard = await self._scope.until(lambda: (record.runs_at or 0.0) > asked, SETTLE_S)
        if not heard:
            return Outcome.UNKNOWN, f"{lost}; the node is back but has not reported"
        return self._verdict(step)

    def _verdict(self, step: Step) -> tuple[Outcome, str]:
        if step.act == "launch":
            alive = [launch for launch in step.launches if self._alive(launch.key, step.node)]
            if len(alive) == len(step.launches):
                return Outcome.DONE, "the link was lost; the engines run and are adopted"
            return Outcome.FAILED, f"the link was lost; {len(alive)} of {len(step.launches)} engines run"
        if step.act in ("stop", "kill"):
            left = [engine for engine in step.engines if self._scope.runs_now(engine)]
            if not left:
                return Outcome.DONE, "the link was lost; nothing of it runs any more"
            return Outcome.UNKNOWN, f"the link was lost; still there: {', '.join(left)}. Stop again when you are sure"
        return Outcome.UNKNOWN, "the link was lost; nothing was started"

    def _alive(self, key: RunKey, node: str) -> bool:
        state = self._scope.run_state(key, node)
        return state is not None and state.verdict is RunVerdict.RUNNING
