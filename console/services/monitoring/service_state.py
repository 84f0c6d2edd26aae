"""Decides whether the endpoint of a deployment answers requests: one state for the whole deployment. Pure.

`/health` does not prove this. A recent completion or recent tokens do; `console.services.serving` requests them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from console.model.deployment import Deployment
from console.model.durations import stepped
from console.model.service import Service, ServiceState
from console.model.snapshot import EngineSnapshot, EngineState, Grade, HealthCheck
from console.services.monitoring.engine_states import is_dead
from console.services.monitoring.intervals import Intervals

PROOF_S = Intervals().works_s + Intervals().works_timeout_s + 10.0
"""How long an answer counts as proof: until the next test request must have been answered."""
ROLES = ("prefill", "decode", "mixed")
_NOT_RUNNING = (EngineState.IDLE, EngineState.EXITED)
_STATE_TEXT = {
    EngineState.LAUNCHING: "starts",
    EngineState.STARTING: "starts",
    EngineState.STOPPING: "stops",
    EngineState.IDLE: "not started",
    EngineState.EXITED: "stopped",
}

_COUNT = re.compile(r'"(prefill|decode|dp)_instances": ?(\d{1,6})')
StateReason = tuple[ServiceState, str]


def service(
    deployment: Deployment, engines: Sequence[EngineSnapshot], started_at: Mapping[str, float], now: float
) -> Service | None:
    """The state of the service; None without an endpoint or without a launched engine. `started_at`: engine -> start time."""
    members = [each for each in engines if "@" not in each.id]
    endpoints = endpoint_engines(members)
    if not endpoints:
        return None
    endpoint = next((each for each in endpoints if each.state is EngineState.READY), endpoints[0])
    where = f"http://{deployment.address(endpoint.node)}:{endpoint.port}"
    model = deployment.layout.model.served_name or deployment.layout.model.path
    awaited = tuple(dict.fromkeys(each.node for each in members if each.connecting))
    connecting = f"connecting to {', '.join(awaited)}" if len(awaited) < 4 else f"connecting to {len(awaited)} nodes"
    if not any(_launched(each) for each in members if each.role != "service"):
        if awaited:
            return Service(ServiceState.UNKNOWN, where, model, connecting)
        unseen = all(each.state is EngineState.UNREACHABLE for each in endpoints)
        return Service(ServiceState.UNKNOWN, where, model, f"{endpoint.node} unreachable") if unseen else None
    proof, evidence = _proof(endpoints, _since(members, started_at), now)
    problems = [problem for role in ROLES if (problem := _role_problem(role, members, proven=proof)) is not None]
    problems += [(ServiceState.PART, f"{each.id} {each.state}") for each in members if _service_down(each)]
    problems += (
        [problem] if endpoint.role == "proxy" and (problem := _proxy_problem(endpoint, members)) is not None else []
    )
    down = next((reason for state, reason in problems if state is ServiceState.DOWN), "")
    unknown = next((reason for state, reason in problems if state is ServiceState.UNKNOWN), "")
    if down:
        return Service(ServiceState.DOWN, where, model, down)
    if awaited or unknown:
        return Service(ServiceState.UNKNOWN, where, model, connecting if awaited else unknown)
    part = ", ".join(reason for _, reason in problems)
    if not proof:
        return Service(ServiceState.UNPROVEN, where, model, part or evidence)
    return Service(ServiceState.PART if part else ServiceState.UP, where, model, part)


def endpoint_engines(engines: Iterable[EngineSnapshot]) -> list[EngineSnapshot]:
    """The engines that receive user requests: the proxy, else each engine with its own server. None of another deployment."""
    mine = [each for each in engines if "@" not in each.id]
    return [each for each in mine if each.role == "proxy"] or [
        each for each in mine if each.role == "mixed" and each.port is not None and not each.headless
    ]


def _launched(engine: EngineSnapshot) -> bool:
    """Whether it was started and not stopped, by its last known state."""
    state = engine.stale_of if engine.state is EngineState.UNREACHABLE else engine.state
    return state is not None and state not in _NOT_RUNNING


def _role_problem(role: str, engines: Sequence[EngineSnapshot], *, proven: bool) -> StateReason | None:
    """The problem of the engines of a role; None without a problem or without engines.

    Ranks without a server serve through the ranks with a server, so only those decide.
    """
    mine = [each for each in engines if each.role == role]
    ready = sum(each.state is EngineState.READY for each in mine)
    if ready == len(mine):
        return None
    servers = [each for each in mine if each.port is not None and not each.headless] or mine
    if any(each.state is EngineState.READY for each in servers):
        return ServiceState.PART, f"{ready} of {len(mine)} {role}"
    states = [each.state for each in servers]
    if any(_may_serve(each) for each in servers) and proven:
        return ServiceState.PART, f"{role} degraded"
    if EngineState.UNREACHABLE in states:
        return ServiceState.UNKNOWN, f"{role} unreachable"
    orphans = {each.id: each for each in mine if each.state is EngineState.STUCK}
    held = next((orphans[each.after] for each in servers if each.after in orphans and not is_dead(each)), None)
    if held is not None:
        return ServiceState.UNKNOWN, f"{role} has not served since {held.id} lost its main process"
    hanging = {each.id for each in mine if _hangs(each)}
    if any(each.id in hanging or each.after in hanging for each in servers):
        return ServiceState.DOWN, f"{role} hangs"
    transition = next(
        (_STATE_TEXT[state] for state in states if state in _STATE_TEXT and state not in _NOT_RUNNING), ""
    )
    return ServiceState.DOWN, f"{role} {transition}" if transition else f"no {role}"


def _service_down(engine: EngineSnapshot) -> bool:
    """Whether it is a service beside the engines that is not ready."""
    return engine.role == "service" and engine.state is not EngineState.READY


def _may_serve(engine: EngineSnapshot) -> bool:
    """Whether a degraded engine may still answer: not if it hangs, its core died, or it waits for another engine."""
    return engine.state is EngineState.DEGRADED and not engine.after and not _hangs(engine) and not is_dead(engine)


def _hangs(engine: EngineSnapshot) -> bool:
    return engine.state is EngineState.DEGRADED and engine.cause.startswith("hangs: ")


def _proxy_problem(proxy: EngineSnapshot, engines: Sequence[EngineSnapshot]) -> StateReason | None:
    """The problem of the proxy; None without one."""
    if proxy.state is EngineState.READY:
        http = next((check for check in proxy.health if check.name == "http"), None)
        counts = listed_counts(http) if http is not None else {}
        left = {
            role: count - sum(each.role == role and each.id in proxy.isolated for each in engines)
            for role, count in counts.items()
        }
        none = [role for role in ROLES if left.get(role, 1) <= 0 and any(each.role == role for each in engines)]
        return (ServiceState.DOWN, f"the proxy has no {none[0]} engine") if none else None
    if proxy.state is EngineState.UNREACHABLE:
        return ServiceState.UNKNOWN, f"{proxy.node} unreachable"
    works = _works(proxy)
    if proxy.state is EngineState.DEGRADED and works is not None and works.grade is Grade.FAIL:
        return ServiceState.DOWN, "completions fail"
    failed = {check.name for check in proxy.health if check.grade is Grade.FAIL}
    if proxy.state is EngineState.DEGRADED and failed == {"verify"}:  # completions are answered, some chats are not
        return ServiceState.PART, "verify failed through the proxy"
    return ServiceState.DOWN, f"proxy {_STATE_TEXT.get(proxy.state, proxy.state)}"


def listed_counts(check: HealthCheck) -> dict[str, int]:
    """The number of engines per role in the proxy's list, from the `/healthcheck` evidence; empty when not reported."""
    kinds = {"dp": "mixed"}
    return {kinds.get(kind, kind): int(number) for kind, number in _COUNT.findall(check.evidence)}


def _works(engine: EngineSnapshot) -> HealthCheck | None:
    return next((check for check in engine.health if check.name == "works"), None)


def _since(engines: Sequence[EngineSnapshot], started_at: Mapping[str, float]) -> float:
    """Since when each role has an engine that is ready now; older answers came from other engines."""
    ready = [each for each in engines if each.state is EngineState.READY]
    roles = {each.role: [started_at.get(other.id, 0.0) for other in ready if other.role == each.role] for each in ready}
    return max((min(starts) for starts in roles.values()), default=0.0)


def _proof(endpoints: Sequence[EngineSnapshot], since: float, now: float) -> tuple[bool, str]:
    """(whether an endpoint answered recently, else what is missing as text)."""
    checks = [works for each in endpoints if (works := _works(each)) is not None]
    found = [check.at for check in checks if check.at is not None and check.grade is Grade.OK]
    if not found:
        why = next((check.evidence for check in checks if check.grade is Grade.SKIPPED and check.evidence), "")
        return False, why or "this console has not seen an answer yet"
    age = now - max(found)
    return age <= PROOF_S and max(found) >= since, f"last answer {stepped(age)} ago"
