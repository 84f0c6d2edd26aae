"""Going round the API servers of a session: one question at a time for each run, a few at once over all. Knows no question."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping

from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot, EngineState, EventLevel, LinkState
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.background_tasks import fault_text
from console.services.monitoring.monitor import Monitor

AFTER_FAULT_S = 30.0

Visit = Callable[[EngineSnapshot, RunKey], None]


class Poller:
    """The round of one watch. Engines without a port are passed by: nobody answers there."""

    def __init__(
        self,
        monitor: Monitor,
        links: Mapping[str, NodeLink],
        name: str,
        *,
        states: frozenset[EngineState],
        at_once: int,
        step_s: float = 0.5,
        connecting: bool = False,
    ) -> None:
        """`states` are those in which an engine is visited, every `step_s` seconds; at most `at_once` questions are open.

        With `connecting` also engines whose state waits for the answer.
        """
        self._monitor = monitor
        self._links = links
        self._name = name
        self._states = states
        self._connecting = connecting
        self._step_s = step_s
        self._due: dict[RunKey, float] = {}
        self._busy: dict[RunKey, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(at_once)

    async def run(self, visit: Visit) -> None:
        """Visit until cancelled; leaves no question open."""
        try:
            while True:
                self._pass(visit)
                await asyncio.sleep(self._step_s)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _pass(self, visit: Visit) -> None:
        current: set[RunKey] = set()
        for engine in self._monitor.snapshot.engines.values():
            key = self._monitor.current(engine.id)
            if key is None:
                continue
            current.add(key)
            wanted = engine.state in self._states or (self._connecting and engine.connecting)
            if engine.port is not None and not engine.headless and wanted:
                visit(engine, key)
        self._due = {key: due for key, due in self._due.items() if key in current}

    def due(self, key: RunKey, first_s: float = 0.0) -> bool:
        """Whether it is time to ask and nothing is asked already; the first time is `first_s` after the first look."""
        due = self._due.setdefault(key, time.monotonic() + first_s)
        return key not in self._busy and time.monotonic() >= due

    def link(self, node: str) -> NodeLink | None:
        """The way to a node while it is up."""
        link = self._links[node]
        return link if link.link.state is LinkState.UP else None

    def again(self, key: RunKey, after_s: float) -> None:
        """Ask next when that many seconds have gone by."""
        self._due[key] = time.monotonic() + after_s

    def sooner(self, key: RunKey, after_s: float) -> None:
        """Ask next within that many seconds, if that is not to be done earlier anyhow."""
        self._due[key] = min(self._due.get(key, math.inf), time.monotonic() + after_s)

    def ask(self, key: RunKey, question: Coroutine[None, None, None]) -> None:
        """Put a question as soon as fewer than `at_once` are open."""
        task = asyncio.create_task(self._asked(question), name=f"{self._name} {key.engine}")
        self._busy[key] = task
        task.add_done_callback(lambda done: self._answered(key, done))

    def _answered(self, key: RunKey, task: asyncio.Task[None]) -> None:
        """A question that died of its answer is put again later, and is told of: its engine's figures are old."""
        self._busy.pop(key, None)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self.again(key, AFTER_FAULT_S)
            text = f"what it answered to {self._name} could not be used: {clean(fault_text(fault))}"
            self._monitor.note(EventLevel.ERROR, text, engine=key.engine)

    async def _asked(self, question: Coroutine[None, None, None]) -> None:
        try:
            async with self._gate:
                await question
        finally:
            question.close()
