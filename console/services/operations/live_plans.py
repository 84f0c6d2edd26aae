"""Plans for a deployment that goes on serving: groups restarted in turn, added, taken away; a proxy set right. Runs nothing.

A data-parallel group is fixed in size: every rank is told the group's size and the address of rank 0 when it starts. So
capacity comes and goes in whole groups, each a copy of one of the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from console.model.deployment import Deployment, Rank
from console.model.errors import NothingToDo, Refused, UsageError
from console.model.findings import Finding, Severity
from console.model.payload import AssignmentChange
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.role import BESIDE_ENGINES
from console.model.snapshot import ClusterSnapshot, EngineState
from console.services.operations import proxy_routing
from console.services.operations.plan_maker import PlanMaker
from console.services.operations.proxy_steps import ProxyAnswer
from console.services.placement import edits as operations

FIXED = "a data-parallel group is fixed in size, so only whole groups come and go"


def rolling_restart_plan(maker: PlanMaker, engines: Sequence[str]) -> Plan:
    """One group after another leaves the proxy, is restarted and comes back; services and the proxy only when named, last.

    Raises UsageError for a name nobody has.
    """
    chosen = [name for name in maker.chosen("restart", engines) if name in maker.ranks]
    named = set(engines)
    groups = [
        group for group in maker.deployment.layout.groups if any(maker.ranks[name].group == group for name in chosen)
    ]
    parts: list[tuple[str, Plan]] = []
    beside = [rank.group for rank in maker.ranks.values() if rank.role in BESIDE_ENGINES and rank.id in named]
    for group in [*groups, *beside]:
        mine = [name for name in chosen if maker.ranks[name].group == group]
        parts.append((group, maker.plan("restart", mine)))
    stages = [_labelled(stage, group) for group, part in parts for stage in part.stages]
    touched = tuple(name for _, part in parts for name in part.engines)
    findings: dict[Finding, None] = {each: None for _, part in parts for each in part.findings}
    if any(step.act == "join" for stage in stages for step in stage.steps):
        findings[proxy_routing.quiet()] = None
    return Plan(
        verb="restart",
        cluster=maker.deployment.cluster.name,
        deployment=maker.deployment.name,
        engines=touched,
        stages=tuple(stages),
        confirm=maker.confirm("restart", touched, [name for name in touched if maker.running(name)]),
        findings=tuple(findings),
        losses=tuple(dict.fromkeys(loss for _, part in parts for loss in part.losses)),
        drain_s=maker.drain_s,
        made_from=maker.deployment,
    )


def _labelled(stage: Stage, group: str) -> Stage:
    """A stage of one group's turn; its steps' names stay apart from those of the other turns."""
    steps = tuple(replace(step, id=f"{group}/{step.id}") for step in stage.steps)
    return Stage(f"{group}: {stage.title}", steps, group)


def scale_plan(
    deployment: Deployment,
    snapshot: ClusterSnapshot,
    group: str,
    count: int,
    *,
    nodes: Sequence[str] = (),
    free: Mapping[str, int] | None = None,
    earlier: Callable[[str, str], str | None] = lambda engine, node: None,
    drain_s: float,
) -> Plan:
    """The plan after which there are `count` groups like `group`, the group itself among them.

    New ones go to `nodes`, or to free nodes that fit (`free`: devices nobody uses, by node). Those added last go first.
    `earlier` gives the run that an engine of that name had on a node before: the snapshot has none of engines to come.
    Raises UsageError for unknown names or a count below 1, NothingToDo when nothing would change, Refused when nodes are missing.
    """
    now = operations.family(deployment, group)
    if len(deployment.assignment.of(group)) != deployment.layout.groups[group].nodes:
        raise Refused(
            f"{group} itself lacks nodes, so there is nothing to copy", hint=f"assign {group} its nodes first"
        )
    if count < 1:
        raise UsageError(
            f"{group}: {count} groups cannot be", hint=f"the last one is stopped, not scaled: stop {group}-0"
        )
    written = 1 + sum(like == group for like in deployment.layout.counted.values())
    if count < written:
        raise UsageError(
            f"the layout has {written} groups like {group}, so {count} cannot be left by scaling",
            hint=f"stop one of {', '.join(now[:written])}, or write another `count` for {group} into the layout",
        )
    if count == len(now):
        there = f"there are {count} groups like {group} already: {', '.join(now)}"
        raise NothingToDo(f"nothing to do: {there}", hint=f"{FIXED}")
    if count < len(now):
        if nodes:
            raise UsageError("nodes are named only for groups that are added")
        return _shrunk(deployment, snapshot, now[count:], drain_s)
    return _grown(
        deployment, snapshot, group, _copy_nodes(deployment, group, count - len(now), nodes, free), drain_s, earlier
    )


def _copy_nodes(
    deployment: Deployment, group: str, more: int, nodes: Sequence[str], free: Mapping[str, int] | None
) -> tuple[tuple[str, ...], ...]:
    """The nodes of each group that is added. Raises Refused when there are not exactly as many as it takes."""
    wanted = deployment.layout.groups[group].nodes
    chosen = tuple(nodes) or operations.spare_nodes(deployment, group, wanted * more, free)
    if len(chosen) != wanted * more:
        hint = f"{FIXED}; a node is free when it is in no group: see `assign`"
        raise Refused(
            f"{more} more like {group} take {wanted * more} nodes, {len(chosen)} are there for them", hint=hint
        )
    return tuple(chosen[at * wanted : (at + 1) * wanted] for at in range(more))


def _grown(
    deployment: Deployment,
    snapshot: ClusterSnapshot,
    group: str,
    copies: Sequence[tuple[str, ...]],
    drain_s: float,
    earlier: Callable[[str, str], str | None],
) -> Plan:
    after = deployment
    added: list[str] = []
    for nodes in copies:
        after, name = operations.add_copy(after, group, nodes)
        added.append(name)
    maker = PlanMaker(after, snapshot, drain_s=drain_s, earlier=earlier)
    names = [rank.id for rank in after.ranks() if rank.group in added]
    plan = maker.make("start", names)
    shown = "; ".join(f"{name} on {', '.join(after.assignment.of(name))}" for name in added)
    return replace(
        plan,
        verb="scale",
        stages=(_reassigning(deployment, after, f"add {shown}"), *plan.stages),
        findings=(*plan.findings, *proxy_routing.cannot_tell(deployment, snapshot, adds=True)),
        made_from=deployment,
    )


def _shrunk(deployment: Deployment, snapshot: ClusterSnapshot, leaving: Sequence[str], drain_s: float) -> Plan:
    maker = PlanMaker(deployment, snapshot, drain_s=drain_s)
    names = [rank.id for rank in deployment.ranks() if rank.group in leaving]
    plan = maker.make("stop", names)
    after = deployment
    for name in leaving:
        after = operations.drop_copy(after, name)
    title = f"take away {', '.join(leaving)}; its nodes are free then"
    return replace(
        plan,
        verb="scale",
        engines=tuple(names),
        stages=(*plan.stages, _reassigning(deployment, after, title)),
        findings=(*plan.findings, *proxy_routing.cannot_tell(deployment, snapshot, adds=False)),
        made_from=deployment,
    )


def _reassigning(before: Deployment, after: Deployment, title: str) -> Stage:
    first = next(rank.node for rank in before.ranks())
    change = AssignmentChange(before.assignment, after.assignment)
    return Stage("assignment", (Step("reassign", "reassign", title, first, (), change),))


def proxy_sync_plan(
    deployment: Deployment, snapshot: ClusterSnapshot, said: ProxyAnswer, isolated: frozenset[str]
) -> Plan:
    """The plan that makes a load-balance proxy list exactly the engines that are ready, from what it lists now.

    `isolated` are engines it was told to use no more and still counts. Raises NothingToDo when it is so already.
    """
    proxy = proxy_routing.live_proxy(snapshot)
    if proxy is None:
        raise Refused("the proxy does not serve, so its list cannot be changed", hint="start proxy")
    dead: list[Rank] = []
    ready: list[Rank] = []
    for rank in proxy_routing.listed_ranks(deployment, [rank.id for rank in deployment.ranks()]):
        name, state = proxy_routing.endpoint(deployment, rank), snapshot.engines[rank.id].state
        used = name in said.of(rank.role) and rank.id not in isolated
        if used and state in _GONE:
            dead.append(rank)
        elif not used and state is EngineState.READY:
            ready.append(rank)
    known = {proxy_routing.endpoint(deployment, rank) for rank in deployment.ranks()}
    strange = [each for each in (*said.prefill, *said.decode) if each not in known]
    stages = [
        stage
        for stage in (proxy_routing.dropping(deployment, proxy, dead), proxy_routing.adding(deployment, proxy, ready))
        if stage
    ]
    if not stages:
        raise NothingToDo(
            "nothing to do: the proxy uses exactly the engines that are ready", hint=_unmanaged_hint(strange)
        )
    findings = [Finding("PROXY", Severity.NOTE, _unmanaged_hint(strange), "proxy")] if strange else []
    return Plan(
        verb="sync-proxy",
        cluster=deployment.cluster.name,
        deployment=deployment.name,
        engines=tuple(rank.id for rank in (*dead, *ready)),
        stages=tuple(stages),
        confirm=Confirm("key", "y"),
        findings=tuple(findings),
        losses=tuple(_none_left(deployment, snapshot, dead, ready)),
    )


def _none_left(
    deployment: Deployment, snapshot: ClusterSnapshot, dead: Sequence[Rank], ready: Sequence[Rank]
) -> Iterator[str]:
    """Roles of which the proxy would list nobody: to remove the dead engines fixes nothing then."""
    for role in dict.fromkeys(rank.role for rank in dead):
        mine = [rank for rank in deployment.ranks() if rank.role == role]
        serve = any(snapshot.engines[rank.id].state in proxy_routing.SERVING for rank in mine)
        if not serve and not any(rank.role == role for rank in ready):
            groups = ", ".join(dict.fromkeys(rank.group for rank in mine))
            yield f"no {role} engine is left behind the proxy by it; a restart of {groups} is what brings requests back"


_GONE = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK, EngineState.EXITED, EngineState.IDLE)


def _unmanaged_hint(endpoints: Sequence[str]) -> str:
    return f"it lists what the plan has not and is left alone: {', '.join(endpoints[:6])}" if endpoints else ""
