"""Reads `/metrics` of every API server on a cadence and keeps loads and their history. What they mean is judged elsewhere.

Headless engines have no server; node 0 of their group tells of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot, EngineState, LinkState
from console.probes.metrics import loads, parse_metrics
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.cadences import Cadences
from console.services.monitor import Monitor

TIMEOUT_S = 5.0
AT_ONCE = 8

_ASKED = (EngineState.READY, EngineState.DEGRADED)


class MetricsWatch:
    """Scrapes each server through its node's link, never twice at once."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], cadences: Cadences | None = None) -> None:
        self._monitor = monitor
        self._links = links
        self._cadences = cadences or Cadences()
        self._due: dict[RunKey, float] = {}
        self._busy: dict[RunKey, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Scrape until cancelled; leaves no question open."""
        try:
            while True:
                for engine in self._monitor.snapshot.engines.values():
                    self._ask(engine)
                await asyncio.sleep(min(0.5, self._cadences.metrics_s / 2))
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _ask(self, engine: EngineSnapshot) -> None:
        if engine.headless or engine.port is None or engine.role == "proxy" or engine.state not in _ASKED:
            return
        key = self._monitor.current(engine.id)
        link = self._links[engine.node]
        if key is None or key in self._busy or link.link.state is not LinkState.UP:
            return
        if time.monotonic() < self._due.get(key, 0.0):
            return
        self._due[key] = time.monotonic() + self._cadences.metrics_s
        task = asyncio.create_task(self._scrape(engine, key, link), name=f"metrics {engine.id}")
        self._busy[key] = task
        task.add_done_callback(lambda _: self._busy.pop(key, None))

    async def _scrape(self, engine: EngineSnapshot, key: RunKey, link: NodeLink) -> None:
        async with self._gate:
            address = self._monitor.deployment.address(engine.node) or "127.0.0.1"
            answer = await link.http().get(address, engine.port or 0, "/metrics", TIMEOUT_S)
        kept = self._monitor.learnt(key).metrics
        if answer.error or answer.status != 200:
            kept.error = clean(answer.error) or f"/metrics {answer.status}"
        else:
            scrape = parse_metrics(answer.body, time.time())
            if scrape.error:
                kept.error = clean(scrape.error)
            else:
                kept.keep(scrape, loads(kept.scrape, scrape))
        self._monitor.touch()
