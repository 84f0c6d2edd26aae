"""Checks engines over HTTP: `/health`, then the model id in `/v1/models`; for the proxy `/healthcheck`.

The helper of a node asks (`console.node.questions`). Headless engines are not asked. A refused connection of a starting engine
is no failure.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from console.model.deployment import Deployment
from console.model.polling import HEALTH, PROXY_HEALTH
from console.model.polling import MODELS as MODELS_PATH
from console.model.run import RunKey
from console.model.snapshot import NOT_ASKED, EngineSnapshot, EngineState, Grade, HealthCheck
from console.node.questions import MODELS, OPEN, STATUS, TEXT
from console.probes.sanitize import clean
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.remote.standing_questions import Question, StandingAnswer
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.records import RunRecord
from console.services.monitoring.server_questions import ServerQuestions
from console.services.monitoring.service_state import listed_counts
from console.services.serving.condition_facts import isolated_of, listable
from console.services.serving.request_auth import KEY_WANTED, LOOPBACK, question, unauthorized

STARTING_S = 2.0
TIMEOUT_S = 5.0
FAILURES = 2
"""Consecutive failures before an engine that was ready is degraded."""
HTTP, MODEL = "http", "model"

_ASKED = frozenset({EngineState.STARTING, EngineState.READY, EngineState.DEGRADED})


@dataclass(slots=True)
class _Server:
    """The newest answers of one server."""

    health: StandingAnswer | None = None
    models: StandingAnswer | None = None
    """None until the list of models was read after `/health` was last found right."""
    doubted: str = ""
    """The model name of `/metrics` for which the list of models was read again."""
    doubted_at: float = 0.0
    """When that name was read; an older list of models proves nothing about it."""


class HealthWatch:
    """Judges the health of every engine from the answers that its node gets at intervals."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], intervals: Intervals | None = None) -> None:
        self._monitor = monitor
        self._intervals = intervals or Intervals()
        self._questions = ServerQuestions(monitor, links, "health", self._wanted, self._heard)
        self._servers: dict[RunKey, _Server] = {}
        self._ready: dict[RunKey, frozenset[str | None]] = {}
        """Run of a proxy -> the runs that were ready at the last snapshot."""

    async def run(self) -> None:
        """Ask engines until cancelled."""
        await self._questions.run()

    def _wanted(self, engine: EngineSnapshot, key: RunKey) -> dict[str, Question]:
        if engine.state not in _ASKED and not engine.connecting:
            self._servers.pop(key, None)
            self._ready.pop(key, None)
            return {}
        server = self._servers.setdefault(key, _Server())
        self._ask_again(engine, key, server)
        deployment, run_record = self._monitor.deployment, self._monitor.run_record(key)
        soon_s = min(STARTING_S, self._intervals.health_s)
        well = bool(run_record.http_checks) and _all_ok(run_record.http_checks)
        every_s = self._intervals.health_s if well else soon_s
        service = deployment.layout.services.get(engine.id) if engine.role == "service" else None
        if service is not None:
            where = deployment.address(engine.node) or LOOPBACK, service.health.port or engine.port or 0
            path, want = service.health.path, STATUS if service.health.path else OPEN
            return {HTTP: Question(*where, path or "/", want, every_s, TIMEOUT_S)}
        if engine.role == "proxy":
            return {HTTP: question(deployment, engine, PROXY_HEALTH, TEXT, every_s, TIMEOUT_S)}
        wanted = {HTTP: question(deployment, engine, HEALTH, STATUS, every_s, TIMEOUT_S)}
        if server.health is not None and _health_check(server.health).grade is Grade.OK:
            known = server.models is not None and self._model(server.models).grade is Grade.OK
            every_s = self._intervals.model_s if known else soon_s
            wanted[MODEL] = question(deployment, engine, MODELS_PATH, MODELS, every_s, TIMEOUT_S)
        return wanted

    def _ask_again(self, engine: EngineSnapshot, key: RunKey, server: _Server) -> None:
        """Ask at once after a change elsewhere: a proxy may have dropped engines, an engine may serve another model."""
        if engine.role == "proxy" and self._ready_set_changed(key):
            self._questions.now(key, HTTP)
        run_record = self._monitor.run_record(key)
        if model_changed(run_record) and server.doubted != _label(run_record):
            server.doubted, server.doubted_at, server.models = _label(run_record), _label_at(run_record), None
            self._questions.now(key, MODEL)

    def _ready_set_changed(self, proxy: RunKey) -> bool:
        """Whether the set of ready engines changed since the last call."""
        engines = self._monitor.snapshot.engines.values()
        ready = frozenset(each.run for each in engines if each.state is EngineState.READY and each.role != "proxy")
        before, self._ready[proxy] = self._ready.get(proxy, ready), ready
        return before != ready

    def _heard(self, engine: EngineSnapshot, key: RunKey, name: str, answer: StandingAnswer) -> None:
        server, run_record = self._servers.setdefault(key, _Server()), self._monitor.run_record(key)
        if name == HTTP:
            server.health = answer
        elif answer.at >= server.doubted_at:
            server.models = answer
        checks = self._checks(engine, name, server, run_record)
        if checks:
            before = [(each.name, each.grade) for each in run_record.http_checks]
            self._keep_checks(run_record, checks)
            if [(each.name, each.grade) for each in run_record.http_checks] != before:
                self._monitor.touch()
            else:
                self._monitor.touch(urgent=False)
        self._questions.renew(engine.id)

    def _checks(
        self, engine: EngineSnapshot, name: str, server: _Server, run_record: RunRecord
    ) -> tuple[HealthCheck, ...]:
        """The checks after a new answer; none while an answer to another question is awaited."""
        health = server.health
        if health is None:
            return ()
        if engine.role == "service":
            service = self._monitor.deployment.layout.services.get(engine.id)
            path, port = (service.health.path, service.health.port) if service is not None else ("", None)
            skipped = HealthCheck(MODEL, Grade.SKIPPED, "a service has no model list", health.at)
            return _service_check(health, port or engine.port or 0, path), skipped
        if engine.role == "proxy":
            check = _proxy_check(health)
            self._forget_isolated(run_record, check)
            return check, HealthCheck(MODEL, Grade.SKIPPED, "the proxy has no model list", health.at)
        check = _health_check(health)
        if check.grade is not Grade.OK:
            server.models = None
            return () if name == MODEL else (check,)
        if server.models is None:
            return ()
        model = self._model(server.models)
        if model.grade is Grade.OK:
            if not run_record.metrics_model or server.models.at >= _label_at(run_record):
                run_record.metrics_model = _label(run_record)
        elif name == HTTP:
            return ()
        return check, model

    def _model(self, answer: StandingAnswer) -> HealthCheck:
        return _model_check(answer, expected_model(self._monitor.deployment))

    def _forget_isolated(self, run_record: RunRecord, check: HealthCheck) -> None:
        """Forget isolated engines that the proxy no longer counts."""
        snapshot = self._monitor.snapshot
        for role, count in listed_counts(check).items():
            mine = {each.id for each in listable(snapshot, role)}
            if count <= len(mine - run_record.isolated):
                run_record.isolated -= isolated_of(snapshot, run_record.isolated, role)

    def _keep_checks(self, run_record: RunRecord, checks: tuple[HealthCheck, ...]) -> None:
        """Keep the new checks. A failure counts only when it repeats; before the engine was ready it is waiting."""
        if _all_ok(checks):
            run_record.http_failures = 0
            run_record.http_checks = checks
            return
        run_record.http_failures += 1
        started = run_record.ready_at is not None or run_record.log_state.ready
        if started and run_record.http_failures >= FAILURES:
            run_record.http_checks = checks
        elif not started:
            run_record.http_checks = tuple(
                HealthCheck(
                    check.name, Grade.WAIT if check.grade is Grade.FAIL else check.grade, check.evidence, check.at
                )
                for check in checks
            )


def model_changed(run_record: RunRecord) -> bool:
    """Whether `/metrics` names another model than when the model list was last known to be right."""
    return bool(run_record.metrics_model) and _label(run_record) not in ("", run_record.metrics_model)


def _label(run_record: RunRecord) -> str:
    scrape = run_record.metrics.scrape
    return scrape.model if scrape else ""


def _label_at(run_record: RunRecord) -> float:
    """When the newest metrics were read, seconds since the epoch; 0 before the first."""
    scrape = run_record.metrics.scrape
    return scrape.at if scrape else 0.0


def expected_model(deployment: Deployment) -> str:
    """The id that `/v1/models` must list: the served name, else the model path (vLLM's default)."""
    return deployment.layout.model.served_name or deployment.layout.model.path


def _all_ok(checks: tuple[HealthCheck, ...]) -> bool:
    return all(check.grade in (Grade.OK, Grade.SKIPPED) for check in checks)


def unknown_check(name: str, answer: HttpAnswer) -> HealthCheck:
    """The health check of an engine whose node told no answer: unknown."""
    return HealthCheck(name, Grade.UNKNOWN, f"{NOT_ASKED}: {clean(answer.error)}", time.time())


def _health_check(answer: StandingAnswer) -> HealthCheck:
    if answer.error:
        return HealthCheck(HTTP, Grade.FAIL, clean(answer.error), answer.at)
    if answer.status == 200:
        return HealthCheck(HTTP, Grade.OK, f"/health 200 in {answer.took_s * 1000:.0f} ms", answer.at)
    meaning = "; the engine behind the server is dead" if answer.status == 503 else ""
    return HealthCheck(HTTP, Grade.FAIL, f"/health {answer.status}{meaning}", answer.at)


def _service_check(answer: StandingAnswer, port: int, path: str) -> HealthCheck:
    """The check of a service: a page with a status below 400, or without a page an open port."""
    where = f"port {port}{f' {path}' if path else ''}"
    if answer.error or answer.status >= 400:
        return HealthCheck(HTTP, Grade.FAIL, f"{where}: {clean(answer.error) or answer.status}", answer.at)
    what = str(answer.status) if path else "open"
    return HealthCheck(HTTP, Grade.OK, f"{where} {what} in {answer.took_s * 1000:.0f} ms", answer.at)


def _proxy_check(answer: StandingAnswer) -> HealthCheck:
    if answer.error:
        return HealthCheck(HTTP, Grade.FAIL, clean(answer.error), answer.at)
    grade = Grade.OK if answer.status == 200 else Grade.FAIL
    return HealthCheck(HTTP, grade, f"/healthcheck {answer.status} {clean(answer.text)[:120]}", answer.at)


def _model_check(answer: StandingAnswer, expected: str) -> HealthCheck:
    if unauthorized(answer.status):
        return HealthCheck(MODEL, Grade.SKIPPED, f"/v1/models 401: {KEY_WANTED}", answer.at)
    if answer.error or answer.status != 200:
        return HealthCheck(MODEL, Grade.FAIL, clean(answer.error) or f"/v1/models {answer.status}", answer.at)
    if answer.models is None:
        return HealthCheck(MODEL, Grade.FAIL, "/v1/models is not a list of models", answer.at)
    shown = clean(", ".join(answer.models))[:120]
    if expected in answer.models:
        return HealthCheck(MODEL, Grade.OK, shown, answer.at)
    return HealthCheck(MODEL, Grade.FAIL, f"serves {shown or 'nothing'}, not {clean(expected)}", answer.at)
