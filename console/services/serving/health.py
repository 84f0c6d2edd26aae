"""Checks engines over HTTP: `/health`, then the model id in `/v1/models`; for the proxy `/healthcheck`.

Headless engines are not asked. A refused connection of a starting engine is no failure.
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
from console.services.serving.request_auth import KEY_WANTED, client, unauthorized

STARTING_S = 2.0
TIMEOUT_S = 5.0
FAILURES = 2
"""Consecutive failures before an engine that was ready is degraded."""
AT_ONCE = 8

_ASKED = frozenset({EngineState.STARTING, EngineState.READY, EngineState.DEGRADED})


class HealthWatch:
    """Runs the HTTP health checks of every engine at intervals, never two at the same time for one engine."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], intervals: Intervals | None = None) -> None:
        self._monitor = monitor
        self._intervals = intervals or Intervals()
        step = min(0.5, self._intervals.health_s / 2)
        self._poller = Poller(monitor, links, "health", states=_ASKED, at_once=AT_ONCE, step_s=step, connecting=True)
        self._ready: dict[RunKey, frozenset[str | None]] = {}
        """Run of a proxy -> the runs that were ready at its last visit."""

    async def run(self) -> None:
        """Check engines until cancelled; cancels running requests at the end."""
        await self._poller.run(self._visit)

    def _visit(self, engine: EngineSnapshot, key: RunKey) -> None:
        link = self._poller.link(engine.node)
        if engine.role == "proxy" and self._ready_set_changed(key):
            self._poller.schedule(key, 0.0)
        if model_changed(self._monitor.learnt(key)):
            self._poller.schedule(key, 0.0)
        if link is not None and self._poller.due(key):
            self._poller.start(key, self._run_checks(engine, key, link))

    def _ready_set_changed(self, proxy: RunKey) -> bool:
        """Whether the set of ready engines changed since the last call, because the proxy may have dropped engines."""
        engines = self._monitor.snapshot.engines.values()
        ready = frozenset(each.run for each in engines if each.state is EngineState.READY and each.role != "proxy")
        before, self._ready[proxy] = self._ready.get(proxy, ready), ready
        return before != ready

    async def _run_checks(self, engine: EngineSnapshot, key: RunKey, link: NodeLink) -> None:
        learnt = self._monitor.learnt(key)
        deployment = self._monitor.deployment
        address = deployment.address(engine.node) or "127.0.0.1"
        port = engine.port or 0
        http = client(link, deployment.layout, engine.group)
        service = deployment.layout.services.get(engine.id) if engine.role == "service" else None
        if service is not None:
            checks: tuple[HealthCheck, ...] = (
                await _service_check(link.http(), address, service.health.port or port, service.health.path),
                HealthCheck("model", Grade.SKIPPED, "a service has no model list", time.time()),
            )
        elif engine.role == "proxy":
            checks = (_proxy_check(await http.get(address, port, PROXY_HEALTH, TIMEOUT_S)),)
            self._forget_isolated(learnt, checks[0])
            checks = (*checks, HealthCheck("model", Grade.SKIPPED, "the proxy has no model list", time.time()))
        else:
            health = await http.get(address, port, HEALTH, TIMEOUT_S)
            checks = (_health_check(health),)
            known = self._known_model(learnt)
            if checks[0].grade is Grade.OK and known is None:
                models = await http.get(address, port, MODELS, TIMEOUT_S)
                known = _model_check(models, expected_model(deployment))
            if checks[0].grade is Grade.OK and known is not None:
                checks = (*checks, known)
            if known is not None and known.grade is Grade.OK:
                learnt.metrics_model = _label(learnt)
        before = [(each.name, each.grade, each.evidence) for each in learnt.http_checks]
        self._keep_checks(learnt, checks)
        every_s = self._intervals.health_s
        self._poller.schedule(
            key, every_s if learnt.http_checks and _all_ok(learnt.http_checks) else min(STARTING_S, every_s)
        )
        if [(each.name, each.grade, each.evidence) for each in learnt.http_checks] != before:
            self._monitor.touch()

    def _known_model(self, learnt: RunRecord) -> HealthCheck | None:
        """The last model check, while it passed, is recent, and `/metrics` names no other model."""
        known = next((check for check in learnt.http_checks if check.name == "model" and check.grade is Grade.OK), None)
        if known is None or model_changed(learnt) or time.time() - (known.at or 0.0) >= self._intervals.model_s:
            return None
        return known

    def _forget_isolated(self, learnt: RunRecord, check: HealthCheck) -> None:
        """Forget isolated engines that the proxy no longer counts."""
        snapshot = self._monitor.snapshot
        for role, count in listed_counts(check).items():
            mine = {each.id for each in listable(snapshot, role)}
            if count <= len(mine - learnt.isolated):
                learnt.isolated -= isolated_of(snapshot, learnt.isolated, role)

    def _keep_checks(self, learnt: RunRecord, checks: tuple[HealthCheck, ...]) -> None:
        """Keep the new checks. A failure counts only when it repeats; before the engine was ready it is waiting."""
        if _all_ok(checks) or any(check.grade is Grade.UNKNOWN for check in checks):
            learnt.http_failures = 0
            learnt.http_checks = checks
            return
        learnt.http_failures += 1
        started = learnt.ready_at is not None or learnt.log_state.ready
        if started and learnt.http_failures >= FAILURES:
            learnt.http_checks = checks
        elif not started:
            learnt.http_checks = tuple(
                HealthCheck(
                    check.name, Grade.WAIT if check.grade is Grade.FAIL else check.grade, check.evidence, check.at
                )
                for check in checks
            )


def model_changed(learnt: RunRecord) -> bool:
    """Whether `/metrics` names another model than when the model list was last known to be right."""
    return bool(learnt.metrics_model) and _label(learnt) not in ("", learnt.metrics_model)


def _label(learnt: RunRecord) -> str:
    scrape = learnt.metrics.scrape
    return scrape.model if scrape else ""


def expected_model(deployment: Deployment) -> str:
    """The id that `/v1/models` must list: the served name, else the model path (vLLM's default)."""
    return deployment.layout.model.served_name or deployment.layout.model.path


def _all_ok(checks: tuple[HealthCheck, ...]) -> bool:
    return all(check.grade in (Grade.OK, Grade.SKIPPED) for check in checks)


def unknown_check(name: str, answer: HttpAnswer) -> HealthCheck:
    """The health check of an engine whose node allowed no request: unknown."""
    return HealthCheck(name, Grade.UNKNOWN, f"{NOT_ASKED}: {clean(answer.error)}", time.time())


def _health_check(answer: HttpAnswer) -> HealthCheck:
    now = time.time()
    if not answer.asked:
        return unknown_check("http", answer)
    if answer.error:
        return HealthCheck("http", Grade.FAIL, clean(answer.error), now)
    if answer.status == 200:
        return HealthCheck("http", Grade.OK, f"/health 200 in {answer.took_s * 1000:.0f} ms", now)
    meaning = "; the engine behind the server is dead" if answer.status == 503 else ""
    return HealthCheck("http", Grade.FAIL, f"/health {answer.status}{meaning}", now)


async def _service_check(http: AsyncHttp, address: str, port: int, path: str) -> HealthCheck:
    """The check of a service: a page with a status below 400, or without a page an open port."""
    answer = await (http.get(address, port, path, TIMEOUT_S) if path else http.connect(address, port, TIMEOUT_S))
    now, where = time.time(), f"port {port}{f' {path}' if path else ''}"
    if not answer.asked:
        return unknown_check("http", answer)
    if answer.error or answer.status >= 400:
        return HealthCheck("http", Grade.FAIL, f"{where}: {clean(answer.error) or answer.status}", now)
    what = str(answer.status) if path else "open"
    return HealthCheck("http", Grade.OK, f"{where} {what} in {answer.took_s * 1000:.0f} ms", now)


def _proxy_check(answer: HttpAnswer) -> HealthCheck:
    now = time.time()
    if not answer.asked:
        return unknown_check("http", answer)
    if answer.error:
        return HealthCheck("http", Grade.FAIL, clean(answer.error), now)
    counts = clean(answer.body.decode("utf-8", "replace"))[:120]
    grade = Grade.OK if answer.status == 200 else Grade.FAIL
    return HealthCheck("http", grade, f"/healthcheck {answer.status} {counts}", now)


def _model_check(answer: HttpAnswer, expected: str) -> HealthCheck:
    now = time.time()
    if not answer.asked:
        return unknown_check("model", answer)
    if unauthorized(answer):
        return HealthCheck("model", Grade.SKIPPED, f"/v1/models 401: {KEY_WANTED}", now)
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
