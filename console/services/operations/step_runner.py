"""Runs the steps of a plan, one method per kind of step, and decides the outcome of a step after a lost link."""

from __future__ import annotations

import time

from console.model.errors import ConsoleError, LinkLost
from console.model.plan import Outcome, Stage, Step
from console.model.run import RunKey, RunVerdict
from console.model.snapshot import EventLevel
from console.services.operations.proxy_steps import ProxySteps
from console.services.operations.start_steps import StartSteps
from console.services.operations.step_context import Report, StepContext
from console.services.operations.stop_steps import StopSteps

SETTLE_S = 60.0
"""How long to wait for a lost link before the outcome of a step stays unknown."""


class StepRunner:
    """Runs the steps of one plan."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        start, stop, proxy = StartSteps(context), StopSteps(context), ProxySteps(context)
        self._methods = {
            "check": start.check,
            "prepare": start.prepare,
            "launch": start.launch,
            "wait-ready": start.wait_ready,
            "stop": stop.stop,
            "kill": stop.kill,
            "verify": stop.verify,
            "end": stop.end,
            "join": proxy.join,
            "drain": proxy.drain,
            "leave": proxy.leave,
            "reassign": proxy.reassign,
        }

    async def run(self, step: Step, report: Report) -> str:
        """Run the step; gives a line about the result. Raises ConsoleError when it failed, LinkLost when nobody knows."""
        return await self._methods[step.act](step, report)

    async def discard(self, stage: Stage) -> None:
        """Remove the runs that a failed prepare stage has written."""
        for step in stage.steps:
            for launch in step.launches:
                try:
                    await self._context.link(step).discard(launch.key)
                except ConsoleError as error:
                    engine = launch.rank.id
                    self._context.monitor.note(
                        EventLevel.INFO, f"not discarded: {error}", node=step.node, engine=engine
                    )

    async def settle(self, step: Step, lost: LinkLost) -> tuple[Outcome, str]:
        """Wait for the node to come back, then read the outcome of the step from the node's list of runs."""
        link = self._context.link(step)
        asked_at = time.time()
        if not await link.wait_up(SETTLE_S):
            return Outcome.UNKNOWN, f"{lost}; the node has not come back, check its state before you try again"
        record = self._context.monitor.nodes[step.node]
        reported = await self._context.wait_until(lambda: (record.runs_at or 0.0) > asked_at, SETTLE_S)
        if not reported:
            return Outcome.UNKNOWN, f"{lost}; the node is back but has not reported"
        return self._verdict(step)

    def _verdict(self, step: Step) -> tuple[Outcome, str]:
        if step.act == "launch":
            alive = [launch for launch in step.launches if self._alive(launch.key, step.node)]
            if len(alive) == len(step.launches):
                return Outcome.DONE, "the link was lost; the engines run and are adopted"
            return Outcome.FAILED, f"the link was lost; {len(alive)} of {len(step.launches)} engines run"
        if step.act in ("stop", "kill"):
            left = [engine for engine in step.engines if self._context.runs_now(engine)]
            if not left:
                return Outcome.DONE, "the link was lost; none of these engines runs any more"
            return (
                Outcome.UNKNOWN,
                f"the link was lost; still running: {', '.join(left)}. If you are sure, stop them again",
            )
        return Outcome.UNKNOWN, "the link was lost; nothing was started"

    def _alive(self, key: RunKey, node: str) -> bool:
        state = self._context.run_state(key, node)
        return state is not None and state.verdict is RunVerdict.RUNNING
