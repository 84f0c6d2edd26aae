"""Asks engines over HTTP whether they answer: `/health`, then the model id in `/v1/models`; the proxy its `/healthcheck`.

Headless engines are never asked. A refused connection while an engine still starts is waiting, not failure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from console.model.deployment import Deployment
from console.model.polling import HEALTH, MODELS, PROXY_HEALTH
from console.model.run import RunKey
from console.model.snapshot import NOT_ASKED, EngineSnapshot, EngineState, Grade, HealthCheck
from console.probes.sanitize import clean
from console.remote.http import AsyncHttp, HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.poller import Poller
from console.services.monitoring.records import RunRecord
from console.services.monitoring.service_state import listed_counts
from console.services.serving.condition_facts import isolated_of, listable
from console.services.serving.request_auth import WANTED, barred, client

STARTING_S = 2.0
TIMEOUT_S = 5.0
FAILURES = 2
"""Answers in a row that must fail before an engine that was ready is called degraded."""
AT_ONCE = 8

_ASKED = frozenset({EngineState.STARTING, EngineState.READY, EngineState.DEGRADED})


class HealthWatch:
    """Runs the HTTP health checks of every engine on a cadence, never two at once for one engine."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], cadences: Intervals | None = None) -> None:
        self._monitor = monitor
        self._cadences = cadences or Intervals()
        step = min(0.5, self._cadences.health_s / 2)
        self._rounds = Poller(monitor, links, "health", states=_ASKED, at_once=AT_ONCE, step_s=step, connecting=True)
        self._ready: dict[RunKey, frozenset[str | None]] = {}
        """Run of a proxy -> the runs that were ready when it was visited last."""

    async def run(self) -> None:
        """Ask until cancelled; leaves no question open."""
        await self._rounds.run(self._visit)

    def _visit(self, engine: EngineSnapshot, key: RunKey) -> None:
        link = self._rounds.link(engine.node)
        if engine.role == "proxy" and self._others_serve(key):
            self._rounds.again(key, 0.0)
        if renamed(self._monitor.learnt(key)):
            self._rounds.again(key, 0.0)
        if link is not None and self._rounds.due(key):
            self._rounds.ask(key, self._climb(engine, key, link))

    def _others_serve(self, proxy: RunKey) -> bool:
        """Whether other engines are ready than when that was asked last: a proxy may have let go of those it had."""
        engines = self._monitor.snapshot.engines.values()
        ready = frozenset(each.run for each in engines if each.state is EngineState.READY and each.role != "proxy")
        before, self._ready[proxy] = self._ready.get(proxy, ready), ready
        return before != ready

    async def _climb(self, engine: EngineSnapshot, key: RunKey, link: NodeLink) -> None:
        learnt = self._monitor.learnt(key)
        deployment = self._monitor.deployment
        address = deployment.address(engine.node) or "127.0.0.1"
        port = engine.port or 0
        http = client(link, deployment.layout, engine.group)
        service = deployment.layout.services.get(engine.id) if engine.role == "service" else None
        if service is not None:
            rungs: tuple[HealthCheck, ...] = (
                await _service_rung(link.http(), address, service.health.port or port, service.health.path),
                HealthCheck("model", Grade.SKIPPED, "a service has no model list", time.time()),
            )
        elif engine.role == "proxy":
            rungs = (_proxy_rung(await http.get(address, port, PROXY_HEALTH, TIMEOUT_S)),)
            self._forget(learnt, rungs[0])
            rungs = (*rungs, HealthCheck("model", Grade.SKIPPED, "the proxy has no model list", time.time()))
        else:
            health = await http.get(address, port, HEALTH, TIMEOUT_S)
            rungs = (_health_rung(health),)
            known = self._known_model(learnt)
            if rungs[0].grade is Grade.OK and known is None:
                models = await http.get(address, port, MODELS, TIMEOUT_S)
                known = _model_rung(models, expected_model(deployment))
            if rungs[0].grade is Grade.OK and known is not None:
                rungs = (*rungs, known)
            if known is not None and known.grade is Grade.OK:
                learnt.named = _label(learnt)
        before = [(each.name, each.grade, each.evidence) for each in learnt.rungs]
        self._settle(learnt, rungs)
        every_s = self._cadences.health_s
        self._rounds.again(key, every_s if learnt.rungs and _all_ok(learnt.rungs) else min(STARTING_S, every_s))
        if [(each.name, each.grade, each.evidence) for each in learnt.rungs] != before:
            self._monitor.touch()

    def _known_model(self, learnt: RunRecord) -> HealthCheck | None:
        """What the list of models said last, as long as that was right, is not old, and nothing says otherwise since."""
        known = next((rung for rung in learnt.rungs if rung.name == "model" and rung.grade is Grade.OK), None)
        if known is None or renamed(learnt) or time.time() - (known.at or 0.0) >= self._cadences.model_s:
            return None
        return known

    def _forget(self, learnt: RunRecord, rung: HealthCheck) -> None:
        """Engines the proxy was told to use no more are isolated only as long as it counts them."""
        snapshot = self._monitor.snapshot
        for role, count in listed_counts(rung).items():
            mine = {each.id for each in listable(snapshot, role)}
            if count <= len(mine - learnt.isolated):
                learnt.isolated -= isolated_of(snapshot, learnt.isolated, role)

    def _settle(self, learnt: RunRecord, rungs: tuple[HealthCheck, ...]) -> None:
        """Failures count only when they repeat; before an engine ever was ready they are waiting."""
        if _all_ok(rungs) or any(rung.grade is Grade.UNKNOWN for rung in rungs):
            learnt.http_failures = 0
            learnt.rungs = rungs
            return
        learnt.http_failures += 1
        started = learnt.ready_at is not None or learnt.log_state.ready
        if started and learnt.http_failures >= FAILURES:
            learnt.rungs = rungs
        elif not started:
            learnt.rungs = tuple(
                HealthCheck(rung.name, Grade.WAIT if rung.grade is Grade.FAIL else rung.grade, rung.evidence, rung.at)
                for rung in rungs
            )


def renamed(learnt: RunRecord) -> bool:
    """Whether `/metrics`, which is read more often than the list of models, names another model than when that was right."""
    return bool(learnt.named) and _label(learnt) not in ("", learnt.named)


def _label(learnt: RunRecord) -> str:
    scrape = learnt.metrics.scrape
    return scrape.model if scrape else ""


def expected_model(deployment: Deployment) -> str:
    """The id `/v1/models` must list: the served name, else the model path (vLLM's default)."""
    return deployment.layout.model.served_name or deployment.layout.model.path


def _all_ok(rungs: tuple[HealthCheck, ...]) -> bool:
    return all(rung.grade in (Grade.OK, Grade.SKIPPED) for rung in rungs)


def unasked(name: str, answer: HttpAnswer) -> HealthCheck:
    """The health check of an engine whose node let no question through: nothing is known of it."""
    return HealthCheck(name, Grade.UNKNOWN, f"{NOT_ASKED}: {clean(answer.error)}", time.time())


def _health_rung(answer: HttpAnswer) -> HealthCheck:
    now = time.time()
    if not answer.asked:
        return unasked("http", answer)
    if answer.error:
        return HealthCheck("http", Grade.FAIL, clean(answer.error), now)
    if answer.status == 200:
        return HealthCheck("http", Grade.OK, f"/health 200 in {answer.took_s * 1000:.0f} ms", now)
    meaning = "; the engine behind the server is dead" if answer.status == 503 else ""
    return HealthCheck("http", Grade.FAIL, f"/health {answer.status}{meaning}", now)


async def _service_rung(http: AsyncHttp, address: str, port: int, path: str) -> HealthCheck:
    """What a service beside the engines answers: a page below 400, or where none is named, that its port is open."""
    answer = await (http.get(address, port, path, TIMEOUT_S) if path else http.connect(address, port, TIMEOUT_S))
    now, where = time.time(), f"port {port}{f' {path}' if path else ''}"
    if not answer.asked:
        return unasked("http", answer)
    if answer.error or answer.status >= 400:
        return HealthCheck("http", Grade.FAIL, f"{where}: {clean(answer.error) or answer.status}", now)
    what = str(answer.status) if path else "open"
    return HealthCheck("http", Grade.OK, f"{where} {what} in {answer.took_s * 1000:.0f} ms", now)


def _proxy_rung(answer: HttpAnswer) -> HealthCheck:
    now = time.time()
    if not answer.asked:
        return unasked("http", answer)
    if answer.error:
        return HealthCheck("http", Grade.FAIL, clean(answer.error), now)
    counts = clean(answer.body.decode("utf-8", "replace"))[:120]
    grade = Grade.OK if answer.status == 200 else Grade.FAIL
    return HealthCheck("http", grade, f"/healthcheck {answer.status} {counts}", now)


def _model_rung(answer: HttpAnswer, expected: str) -> HealthCheck:
    now = time.time()
    if not answer.asked:
        return unasked("model", answer)
    if barred(answer):
        return HealthCheck("model", Grade.SKIPPED, f"/v1/models 401: {WANTED}", now)
    if answer.error or answer.status != 200:
        return HealthCheck("model", Grade.FAIL, clean(answer.error) or f"/v1/models {answer.status}", now)
    try:
        listed = [str(model["id"]) for model in json.loads(answer.body)["data"]]
    except (ValueError, RecursionError, KeyError, TypeError):
        return HealthCheck("model", Grade.FAIL, "/v1/models is not a list of models", now)
    shown = clean(", ".join(listed))[:120]
    if expected in listed:
        return HealthCheck("model", Grade.OK, shown, now)
    return HealthCheck("model", Grade.FAIL, f"serves {shown or 'nothing'}, not {clean(expected)}", now)
