"""Whether requests are answered at the endpoint of a deployment: the one word that stands for all of its engines. Pure.

`/health` is no proof of it. A completion that was answered lately is, or requests that move tokens; asking for them is
`serving`'s job.
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
"""How long an answer proves that the next one will come: until it must have been asked for again, and answered."""
ROLES = ("prefill", "decode", "mixed")
_REST = (EngineState.IDLE, EngineState.EXITED)
_ON_THE_WAY = {
    EngineState.LAUNCHING: "starts",
    EngineState.STARTING: "starts",
    EngineState.STOPPING: "stops",
    EngineState.IDLE: "not started",
    EngineState.EXITED: "stopped",
}

_COUNT = re.compile(r'"(prefill|decode|dp)_instances": ?(\d{1,6})')
Word = tuple[ServiceState, str]


def service(
    deployment: Deployment, engines: Sequence[EngineSnapshot], began: Mapping[str, float], now: float
) -> Service | None:
    """The verdict; None without a door, and while nothing of the deployment is launched. `began`: engine -> when it started."""
    mine = [each for each in engines if "@" not in each.id]
    doors = doors_of(mine)
    if not doors:
        return None
    door = next((each for each in doors if each.state is EngineState.READY), doors[0])
    where = f"http://{deployment.address(door.node)}:{door.port}"
    model = deployment.layout.model.served_name or deployment.layout.model.path
    awaited = tuple(dict.fromkeys(each.node for each in mine if each.connecting))
    connecting = f"connecting to {', '.join(awaited)}" if len(awaited) < 4 else f"connecting to {len(awaited)} nodes"
    if not any(_launched(each) for each in mine if each.role != "service"):
        if awaited:
            return Service(ServiceState.UNKNOWN, where, model, connecting)
        unseen = all(each.state is EngineState.UNREACHABLE for each in doors)
        return Service(ServiceState.UNKNOWN, where, model, f"{door.node} out of reach") if unseen else None
    proof, evidence = _proof(doors, _since(mine, began), now)
    words = [word for role in ROLES if (word := _role(role, mine, proven=proof)) is not None]
    words += [(ServiceState.PART, f"{each.id} {each.state}") for each in mine if _missed(each)]
    words += [word] if door.role == "proxy" and (word := _door(door, mine)) is not None else []
    if not proof and all(each.unasked for each in doors if each.state is EngineState.READY):
        words += [(ServiceState.UNKNOWN, f"{door.id} {door.unasked}")] if door.unasked else []
    sure = next((reason for state, reason in words if state is ServiceState.DOWN), "")
    unsure = next((reason for state, reason in words if state is ServiceState.UNKNOWN), "")
    if sure:
        return Service(ServiceState.DOWN, where, model, sure)
    if awaited or unsure:
        return Service(ServiceState.UNKNOWN, where, model, connecting if awaited else unsure)
    part = ", ".join(reason for _, reason in words)
    if not proof:
        return Service(ServiceState.UNPROVEN, where, model, part or evidence)
    return Service(ServiceState.PART if part else ServiceState.UP, where, model, part)


def doors_of(engines: Iterable[EngineSnapshot]) -> list[EngineSnapshot]:
    """Where requests of users go: to the proxy, else to every engine with a server of its own; none of another deployment."""
    mine = [each for each in engines if "@" not in each.id]
    return [each for each in mine if each.role == "proxy"] or [
        each for each in mine if each.role == "mixed" and each.port is not None and not each.headless
    ]


def _launched(engine: EngineSnapshot) -> bool:
    """Whether it was started and not stopped since, as far as anybody knows."""
    state = engine.stale_of if engine.state is EngineState.UNREACHABLE else engine.state
    return state is not None and state not in _REST


def _role(role: str, engines: Sequence[EngineSnapshot], *, proven: bool) -> Word | None:
    """What is wrong with the engines of a role; None when nothing is, or when there are none.

    Ranks that nobody can ask serve through those that have a server.
    """
    mine = [each for each in engines if each.role == role]
    ready = sum(each.state is EngineState.READY for each in mine)
    if ready == len(mine):
        return None
    asked = [each for each in mine if each.port is not None and not each.headless] or mine
    if any(each.state is EngineState.READY for each in asked):
        return ServiceState.PART, f"{ready} of {len(mine)} {role}"
    states = [each.state for each in asked]
    if any(_may_serve(each) for each in asked) and proven:
        return ServiceState.PART, f"{role} degraded"
    if EngineState.UNREACHABLE in states:
        return ServiceState.UNKNOWN, f"{role} out of reach"
    orphans = {each.id: each for each in mine if each.state is EngineState.STUCK}
    held = next((orphans[each.after] for each in asked if each.after in orphans and not is_dead(each)), None)
    if held is not None:
        return ServiceState.UNKNOWN, f"{role} not seen to serve since {held.id} lost its main process"
    hanging = {each.id for each in mine if _hangs(each)}
    if any(each.id in hanging or each.after in hanging for each in asked):
        return ServiceState.DOWN, f"{role} hangs"
    way = next((_ON_THE_WAY[state] for state in states if state in _ON_THE_WAY and state not in _REST), "")
    return ServiceState.DOWN, f"{role} {way}" if way else f"no {role}"


def _missed(engine: EngineSnapshot) -> bool:
    """Whether it is a service beside the engines that does not do its part."""
    return engine.role == "service" and engine.state is not EngineState.READY


def _may_serve(engine: EngineSnapshot) -> bool:
    """Whether a degraded engine may answer all the same: one that hangs, died inside, or waits for another one does not."""
    return engine.state is EngineState.DEGRADED and not engine.after and not _hangs(engine) and not is_dead(engine)


def _hangs(engine: EngineSnapshot) -> bool:
    return engine.state is EngineState.DEGRADED and engine.cause.startswith("hangs: ")


def _door(proxy: EngineSnapshot, engines: Sequence[EngineSnapshot]) -> Word | None:
    """What is wrong with the proxy."""
    if proxy.state is EngineState.READY:
        http = next((rung for rung in proxy.health if rung.name == "http"), None)
        counts = listed_counts(http) if http is not None else {}
        left = {
            role: count - sum(each.role == role and each.id in proxy.isolated for each in engines)
            for role, count in counts.items()
        }
        none = [role for role in ROLES if left.get(role, 1) <= 0 and any(each.role == role for each in engines)]
        return (ServiceState.DOWN, f"the proxy uses no {none[0]}") if none else None
    if proxy.state is EngineState.UNREACHABLE:
        return ServiceState.UNKNOWN, f"{proxy.node} out of reach"
    works = _works(proxy)
    if proxy.state is EngineState.DEGRADED and works is not None and works.grade is Grade.FAIL:
        return ServiceState.DOWN, "completions fail"
    failed = {rung.name for rung in proxy.health if rung.grade is Grade.FAIL}
    if proxy.state is EngineState.DEGRADED and failed == {"verify"}:  # completions are answered, some chats are not
        return ServiceState.PART, "verify failed through the proxy"
    return ServiceState.DOWN, f"proxy {_ON_THE_WAY.get(proxy.state, proxy.state)}"


def listed_counts(rung: HealthCheck) -> dict[str, int]:
    """How many engines of each role the proxy has, from what its `/healthcheck` said; empty when it did not say."""
    kinds = {"dp": "mixed"}
    return {kinds.get(kind, kind): int(number) for kind, number in _COUNT.findall(rung.evidence)}


def _works(engine: EngineSnapshot) -> HealthCheck | None:
    return next((rung for rung in engine.health if rung.name == "works"), None)


def _since(engines: Sequence[EngineSnapshot], began: Mapping[str, float]) -> float:
    """Since when there has been somebody of every role who is ready now: what was answered before, others answered."""
    ready = [each for each in engines if each.state is EngineState.READY]
    roles = {each.role: [began.get(other.id, 0.0) for other in ready if other.role == each.role] for each in ready}
    return max((min(starts) for starts in roles.values()), default=0.0)


def _proof(doors: Sequence[EngineSnapshot], since: float, now: float) -> tuple[bool, str]:
    """Whether a door answered lately as far as is known here; else what is missing."""
    rungs = [works for each in doors if (works := _works(each)) is not None]
    found = [rung.at for rung in rungs if rung.at is not None and rung.grade is Grade.OK]
    if not found:
        why = next((rung.evidence for rung in rungs if rung.grade is Grade.SKIPPED and rung.evidence), "")
        return False, why or "this console has seen no answer yet"
    age = now - max(found)
    return age <= PROOF_S and max(found) >= since, f"last answer {stepped(age)} ago"
