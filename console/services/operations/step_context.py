"""What every step of a running plan needs: the plan, the snapshot, the way to a node, and how to wait for the next snapshot."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from console.model.errors import LinkLost
from console.model.plan import Outcome, Plan, Stage, Step
from console.model.run import RunKey, RunState
from console.model.snapshot import EngineState
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.operations.shared_notes import SharedNotes
from console.services.placement.live_assignment import Change
from console.services.readiness.preflight_gate import PreflightGate

Say = Callable[[str], None]
"""Takes a line of news on a step that runs."""


class Runner(Protocol):
    """Does the steps of one plan: those of engines, or those of maintenance."""

    async def run(self, step: Step, say: Say) -> str:
        """Do the step; gives a line on how it went. Raises ConsoleError when it failed, LinkLost when that is not known."""

    async def discard(self, stage: Stage) -> None:
        """Take back what a stage that failed has prepared."""

    async def settle(self, step: Step, lost: LinkLost) -> tuple[Outcome, str]:
        """What to believe of a step under which the link was lost."""


class StepContext:
    """One running plan."""

    def __init__(
        self,
        plan: Plan,
        monitor: Monitor,
        links: Mapping[str, NodeLink],
        who: str,
        cancelled: asyncio.Event,
        gate: PreflightGate | None = None,
        change: Callable[[Change], None] | None = None,
        notes: SharedNotes | None = None,
    ) -> None:
        self.plan = plan
        self.monitor = monitor
        self.who = who
        self.cancelled = cancelled
        self.gate = gate
        self.change = change
        self.notes = notes
        self._links = links

    def link(self, step: Step) -> NodeLink:
        """The way to the step's node."""
        return self._links[step.node]

    def link_to(self, node: str) -> NodeLink:
        """The way to a node."""
        return self._links[node]

    def run_state(self, key: RunKey, node: str) -> RunState | None:
        """What the node last said of a run."""
        return self.monitor.run_state(key, node)

    def runs_now(self, engine: str) -> bool:
        """Whether the engine is known to run."""
        seen = self.monitor.snapshot.engines.get(engine)
        return seen is not None and seen.state.alive and seen.state is not EngineState.UNREACHABLE

    async def until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait for a condition over the snapshots; False when it did not come true in time."""
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() >= end:
                return False
            await self.next_picture()
        return True

    async def pause(self, seconds: float) -> None:
        """Let time go by, or the operator cancel."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.cancelled.wait()

    async def next_picture(self) -> None:
        """Wait for the next snapshot, or for the operator to cancel."""
        arrived = asyncio.Event()
        leave = self.monitor.subscribe(lambda _: arrived.set())
        try:
            async with asyncio.timeout(2.0):
                await arrived.wait()
        except TimeoutError:
            return
        finally:
            leave()
