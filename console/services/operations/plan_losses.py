"""What is lost when engines stop: their running requests, the progress of a start, and the service of ranks that need them.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from console.model.counting import counted
from console.model.deployment import Deployment
from console.model.name_ranges import name_ranges
from console.model.plan import Verb
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.probes.engine_log import Phase
from console.services.operations import proxy_routing


def losses(
    deployment: Deployment,
    snapshot: ClusterSnapshot,
    verb: Verb,
    stopping: Sequence[str],
    drain_s: float,
    group_of: Callable[[str], str],
) -> Iterator[str]:
    """One line for each loss when the operation `verb` stops these engines; `group_of` gives the group of an engine."""
    for role in proxy_routing.roles_left_empty(deployment, snapshot, stopping):
        yield f"the proxy has no {role} engine left: every request fails until one is ready again"
    leave = proxy_routing.drain_stage(deployment, snapshot, stopping, drain_s) if verb != "kill" else None
    drained = {name for step in (leave.steps if leave else ()) for name in step.engines}
    alike: dict[tuple[str, str, str], list[EngineSnapshot]] = {}
    for seen in (snapshot.engines[name] for name in stopping if name in snapshot.engines):
        now, lost = _loss(seen, drain_s if seen.id in drained else None)
        if lost:
            alike.setdefault((seen.role, now, lost), []).append(seen)
    for (_, now, lost), engines in alike.items():
        names = name_ranges([each.id for each in engines])
        yield f"{names}: {'; '.join(filter(None, (now, _in_flight(engines), lost)))}"
    if verb == "kill":
        yield from _orphaned_ranks(deployment, snapshot, stopping, group_of)


def still_loading(engine: EngineSnapshot) -> bool:
    """Whether the engine has not served yet: it starts, or a failed peer marked it degraded before its start was complete."""
    if engine.state is EngineState.STARTING:
        return engine.phase != Phase.SERVING
    before = bool(engine.phase) and Phase(engine.phase).order < Phase.SERVING.order
    return engine.state is EngineState.DEGRADED and before and not engine.headless


def _loss(engine: EngineSnapshot, drain_s: float | None) -> tuple[str, str]:
    """What an engine does now, and what is lost with it.

    `drain_s` is the time limit for its requests after the proxy has removed it; None when nobody waits for them.
    """
    serving = "degraded, may serve no request" if engine.state is EngineState.DEGRADED else "serving"
    if drain_s is not None:
        return serving, f"requests that do not finish within {drain_s:.0f} s are aborted"
    if still_loading(engine):
        return f"starting ({engine.phase or 'phase unknown'})", "the model must be loaded again"
    if engine.role == "service":
        return "", "engines lose this service and its data"
    if engine.state in proxy_routing.SERVING or engine.phase == Phase.SERVING:
        return serving, "running requests are aborted"
    return "", ""


def _in_flight(engines: Sequence[EngineSnapshot]) -> str:
    """How many requests these engines have, where they report it: `12 requests run, 3 wait`."""
    reported = [engine.serving for engine in engines if engine.serving is not None]
    running, waiting = sum(each.running or 0 for each in reported), sum(each.waiting or 0 for each in reported)
    if not running and not waiting:
        return ""
    runs = f"{counted(running, 'request')} {'runs' if running == 1 else 'run'}"
    return runs + (f", {waiting} wait" if waiting else "")


def _orphaned_ranks(
    deployment: Deployment, snapshot: ClusterSnapshot, stopping: Sequence[str], group_of: Callable[[str], str]
) -> Iterator[str]:
    """Kill stops only the named ranks; the other ranks of their group cannot serve without them."""
    for group in dict.fromkeys(group_of(name) for name in stopping):
        rest = [
            name
            for name, seen in snapshot.engines.items()
            if group_of(name) == group and name not in stopping and seen.state in proxy_routing.SERVING
        ]
        if rest and group in deployment.layout.groups:
            yield f"{group}: {counted(len(rest), 'other rank')} cannot serve without the killed ranks; restart {group} afterwards"
