"""What every step of a running plan needs: the plan, the monitor, links to nodes, and waiting for snapshots."""

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

Report = Callable[[str], None]
"""Receives a progress line of a running step."""


class Runner(Protocol):
    """Runs the steps of one plan."""

    async def run(self, step: Step, report: Report) -> str:
        """Run the step; gives a line about the result. Raises ConsoleError when it failed, LinkLost when nobody knows."""

    async def discard(self, stage: Stage) -> None:
        """Remove what a failed stage has prepared."""

    async def settle(self, step: Step, lost: LinkLost) -> tuple[Outcome, str]:
        """The outcome of a step during which the link was lost, and its message."""


class StepContext:
    """The context of one running plan."""

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
        """The link to the step's node."""
        return self._links[step.node]

    def link_to(self, node: str) -> NodeLink:
        """The link to a node."""
        return self._links[node]

    def run_state(self, key: RunKey, node: str) -> RunState | None:
        """The state of a run as its node last reported it."""
        return self.monitor.run_state(key, node)

    def runs_now(self, engine: str) -> bool:
        """Whether the engine is known to run."""
        seen = self.monitor.snapshot.engines.get(engine)
        return seen is not None and seen.state.alive and seen.state is not EngineState.UNREACHABLE

    async def wait_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait until a condition on the snapshot holds; False when the time limit passed first."""
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() >= end:
                return False
            await self.next_snapshot()
        return True

    async def pause(self, seconds: float) -> None:
        """Wait for a time, or until the operator cancels."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.cancelled.wait()

    async def next_snapshot(self) -> None:
        """Wait for the next snapshot, at most 2 s."""
        arrived = asyncio.Event()
        unsubscribe = self.monitor.subscribe(lambda _: arrived.set())
        try:
            async with asyncio.timeout(2.0):
                await arrived.wait()
        except TimeoutError:
            return
        finally:
            unsubscribe()
