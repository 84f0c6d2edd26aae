"""Reads `/metrics` of every API server at intervals, and keeps the loads and their history.

Headless engines have no server; the server on node 0 of their group reports them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from console.model.polling import METRICS
from console.model.role import BESIDE_ENGINES
from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot, EngineState
from console.probes.metrics import loads, parse_metrics
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.poller import Poller

TIMEOUT_S = 5.0
AT_ONCE = 8

_ASKED = frozenset({EngineState.READY, EngineState.DEGRADED})


class MetricsWatch:
    """Scrapes each server through the link of its node, never twice at the same time."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], intervals: Intervals | None = None) -> None:
        self._monitor = monitor
        self._every_s = (intervals or Intervals()).metrics_s
        step = min(0.5, self._every_s / 2)
        self._poller = Poller(monitor, links, "metrics", states=_ASKED, at_once=AT_ONCE, step_s=step)

    async def run(self) -> None:
        """Scrape until cancelled; cancels running requests at the end."""
        await self._poller.run(self._visit)

    def _visit(self, engine: EngineSnapshot, key: RunKey) -> None:
        link = self._poller.link(engine.node)
        if engine.role not in BESIDE_ENGINES and link is not None and self._poller.due(key):
            self._poller.schedule(key, self._every_s)
            self._poller.start(key, self._scrape(engine, key, link))

    async def _scrape(self, engine: EngineSnapshot, key: RunKey, link: NodeLink) -> None:
        address = self._monitor.deployment.address(engine.node) or "127.0.0.1"
        answer = await link.http().get(address, engine.port or 0, METRICS, TIMEOUT_S)
        kept = self._monitor.learnt(key).metrics
        if answer.error or answer.status != 200:
            kept.error = clean(answer.error) or f"/metrics {answer.status}"
        else:
            scrape = parse_metrics(answer.body, time.time(), kept.scrape)
            if scrape.error:
                kept.error = clean(scrape.error)
            else:
                kept.keep(scrape, loads(kept.scrape, scrape))
