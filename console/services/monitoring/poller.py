"""Schedules requests to the API servers of a session: one at a time for each run, a limited number in total."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Mapping

from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot, EngineState, EventLevel, LinkState
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.background_tasks import fault_text
from console.services.monitoring.monitor import Monitor

RETRY_AFTER_FAULT_S = 30.0

Visit = Callable[[EngineSnapshot, RunKey], None]


class Poller:
    """Visits the engines of one session that have an HTTP server."""

    def __init__(
        self,
        monitor: Monitor,
        links: Mapping[str, NodeLink],
        name: str,
        *,
        states: frozenset[EngineState],
        at_once: int,
        step_s: float = 0.5,
    ) -> None:
        """Engines in one of `states` are visited after each snapshot and when a request is due, `step_s` seconds apart or more.

        At most `at_once` requests run at the same time.
        """
        self._monitor = monitor
        self._links = links
        self._name = name
        self._states = states
        self._step_s = step_s
        self._due: dict[RunKey, float] = {}
        self._busy: dict[RunKey, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(at_once)

    async def run(self, visit: Visit) -> None:
        """Visit engines until cancelled; cancels running requests at the end."""
        changed = asyncio.Event()
        leave = self._monitor.subscribe(lambda _: changed.set())
        try:
            while True:
                changed.clear()
                self._pass(visit)
                await asyncio.sleep(self._step_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._until_due()):
                        await changed.wait()
        finally:
            leave()
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _until_due(self) -> float | None:
        """Seconds until the next request is due that does not run; None without one."""
        due = min((due for key, due in self._due.items() if key not in self._busy), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _pass(self, visit: Visit) -> None:
        current: set[RunKey] = set()
        for engine in self._monitor.snapshot.engines.values():
            key = self._monitor.current(engine.id)
            if key is None:
                continue
            current.add(key)
            if engine.port is not None and not engine.headless and engine.state in self._states:
                visit(engine, key)
        self._due = {key: due for key, due in self._due.items() if key in current}

    def due(self, key: RunKey, first_s: float = 0.0) -> bool:
        """Whether a request is due and none runs; the first one is due `first_s` after the first call."""
        due = self._due.setdefault(key, time.monotonic() + first_s)
        return key not in self._busy and time.monotonic() >= due

    def link(self, node: str) -> NodeLink | None:
        """The link to a node; None while it is not up."""
        link = self._links[node]
        return link if link.link.state is LinkState.UP else None

    def schedule(self, key: RunKey, after_s: float) -> None:
        """Make the next request due after that many seconds."""
        self._due[key] = time.monotonic() + after_s

    def schedule_earlier(self, key: RunKey, after_s: float) -> None:
        """Make the next request due after that many seconds, unless it is due earlier."""
        self._due[key] = min(self._due.get(key, math.inf), time.monotonic() + after_s)

    def start(self, key: RunKey, request: Coroutine[None, None, None]) -> None:
        """Start a request as soon as fewer than `at_once` run."""
        task = asyncio.create_task(self._send(request), name=f"{self._name} {key.engine}")
        self._busy[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))

    def _finished(self, key: RunKey, task: asyncio.Task[None]) -> None:
        """After a request that failed by its answer, retry later and add an event, because the figures of the engine are old."""
        self._busy.pop(key, None)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self.schedule(key, RETRY_AFTER_FAULT_S)
            text = f"its answer to {self._name} could not be used: {clean(fault_text(fault))}"
            self._monitor.note(EventLevel.ERROR, text, engine=key.engine)

    async def _send(self, request: Coroutine[None, None, None]) -> None:
        try:
            async with self._gate:
                await request
        finally:
            request.close()
