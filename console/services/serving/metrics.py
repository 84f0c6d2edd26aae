"""Keeps the figures of every API server, which the helper of its node reads from `/metrics`, and the loads and their history.

Headless engines have no server; the server on node 0 of their group reports them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from console.model.polling import METRICS
from console.model.role import BESIDE_ENGINES
from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot, EngineState
from console.node.questions import FIGURES
from console.probes.metrics import loads
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.remote.standing_questions import Question, StandingAnswer
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.server_questions import ServerQuestions
from console.services.serving.request_auth import question

TIMEOUT_S = 5.0

_ASKED = frozenset({EngineState.READY, EngineState.DEGRADED})


class MetricsWatch:
    """The figures of all servers of a session."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], intervals: Intervals | None = None) -> None:
        self._monitor = monitor
        self._every_s = (intervals or Intervals()).metrics_s
        self._questions = ServerQuestions(monitor, links, "metrics", self._wanted, self._heard)

    async def run(self) -> None:
        """Read figures until cancelled."""
        await self._questions.run()

    def _wanted(self, engine: EngineSnapshot, key: RunKey) -> dict[str, Question]:
        if engine.role in BESIDE_ENGINES or engine.state not in _ASKED:
            return {}
        return {METRICS: question(self._monitor.deployment, engine, METRICS, FIGURES, self._every_s, TIMEOUT_S)}

    def _heard(self, engine: EngineSnapshot, key: RunKey, name: str, answer: StandingAnswer) -> None:
        kept, found = self._monitor.run_record(key).metrics, answer.figures
        self._monitor.touch(urgent=False)
        if answer.error or answer.status != 200:
            kept.error = clean(answer.error) or f"{METRICS} {answer.status}"
        elif found is None or found.error:
            kept.error = clean(found.error) if found is not None else "the node sent no figures"
        else:
            scrape = replace(found, at=answer.at)
            load = loads(kept.scrape, scrape)
            kept.keep(scrape, kept.loads if load == kept.loads else load)
