"""Builds plans for a deployment that keeps serving: rolling restart, scaling by groups, and sync of the proxy. Runs nothing.

The size of a data-parallel group is fixed: each rank gets the group's size and the address of rank 0 when it starts. So
scaling adds and removes whole groups, each a copy of a group of the layout.
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
from console.services.operations.proxy_steps import ProxyList
from console.services.placement import edits

FIXED = "the size of a data-parallel group is fixed, so only whole groups are added or removed"


def rolling_restart_plan(maker: PlanMaker, engines: Sequence[str]) -> Plan:
    """Restart one group after another, each taken out of the proxy first. Services and the proxy: only when named, and last.

    Raises UsageError for an unknown name.
    """
    chosen = [name for name in maker.chosen("restart", engines) if name in maker.ranks]
    named = set(engines)
    groups = [
        group for group in maker.deployment.layout.groups if any(maker.ranks[name].group == group for name in chosen)
    ]
    parts: list[tuple[str, Plan]] = []
    others = [rank.group for rank in maker.ranks.values() if rank.role in BESIDE_ENGINES and rank.id in named]
    for group in [*groups, *others]:
        members = [name for name in chosen if maker.ranks[name].group == group]
        parts.append((group, maker.plan("restart", members)))
    stages = [_labelled(stage, group) for group, part in parts for stage in part.stages]
    touched = tuple(name for _, part in parts for name in part.engines)
    findings: dict[Finding, None] = {each: None for _, part in parts for each in part.findings}
    if any(step.act == "join" for stage in stages for step in stage.steps):
        findings[proxy_routing.idle_moment_finding()] = None
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
        usual={group: took for _, part in parts for group, took in part.usual.items()},
        made_from=maker.deployment,
    )


def _labelled(stage: Stage, group: str) -> Stage:
    """The stage with the group in its title and in the ids of its steps, so that ids stay unique in the plan."""
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
    previous_run: Callable[[str, str], str | None] = lambda engine, node: None,
    drain_s: float,
) -> Plan:
    """The plan after which there are `count` groups like `group`, including the group itself.

    New groups use `nodes`, or free nodes that fit (`free`: unused devices by node). The groups added last are removed first.
    `previous_run` gives the newest run of an engine on a node, for engines that the snapshot does not contain yet.
    Raises UsageError for unknown names or a count below 1, NothingToDo when nothing would change, Refused when nodes are missing.
    """
    copies = edits.family(deployment, group)
    if len(deployment.assignment.of(group)) != deployment.layout.groups[group].nodes:
        raise Refused(
            f"{group} does not have all its nodes, so it cannot be copied", hint=f"assign {group} its nodes first"
        )
    if count < 1:
        raise UsageError(
            f"{group}: the count must be at least 1, not {count}", hint=f"to stop the last group: stop {group}-0"
        )
    in_layout = 1 + sum(like == group for like in deployment.layout.counted.values())
    if count < in_layout:
        raise UsageError(
            f"the layout has {in_layout} groups like {group}; scale cannot reduce them to {count}",
            hint=f"stop one of {', '.join(copies[:in_layout])}, or change `count` of {group} in the layout",
        )
    if count == len(copies):
        found = f"{count} groups like {group} exist already: {', '.join(copies)}"
        raise NothingToDo(f"nothing to do: {found}", hint=FIXED)
    if count < len(copies):
        if nodes:
            raise UsageError("nodes can be named only when groups are added")
        return _shrink_plan(deployment, snapshot, copies[count:], drain_s)
    return _grow_plan(
        deployment,
        snapshot,
        group,
        _copy_nodes(deployment, group, count - len(copies), nodes, free),
        drain_s,
        previous_run,
    )


def _copy_nodes(
    deployment: Deployment, group: str, more: int, nodes: Sequence[str], free: Mapping[str, int] | None
) -> tuple[tuple[str, ...], ...]:
    """The nodes of each added group. Raises Refused when the number of nodes does not fit exactly."""
    per_group = deployment.layout.groups[group].nodes
    chosen = tuple(nodes) or edits.spare_nodes(deployment, group, per_group * more, free)
    if len(chosen) != per_group * more:
        hint = f"{FIXED}; a node is free when no group uses it: see `assign`"
        raise Refused(
            f"{more} more groups like {group} need {per_group * more} nodes; {len(chosen)} are available", hint=hint
        )
    return tuple(chosen[at * per_group : (at + 1) * per_group] for at in range(more))


def _grow_plan(
    deployment: Deployment,
    snapshot: ClusterSnapshot,
    group: str,
    copies: Sequence[tuple[str, ...]],
    drain_s: float,
    previous_run: Callable[[str, str], str | None],
) -> Plan:
    after = deployment
    added: list[str] = []
    for nodes in copies:
        after, name = edits.add_copy(after, group, nodes)
        added.append(name)
    maker = PlanMaker(after, snapshot, drain_s=drain_s, previous_run=previous_run)
    names = [rank.id for rank in after.ranks() if rank.group in added]
    plan = maker.make("start", names)
    shown = "; ".join(f"{name} on {', '.join(after.assignment.of(name))}" for name in added)
    return replace(
        plan,
        verb="scale",
        stages=(_reassign_stage(deployment, after, f"add {shown}"), *plan.stages),
        findings=(*plan.findings, *proxy_routing.fixed_proxy_findings(deployment, snapshot, adds=True)),
        made_from=deployment,
    )


def _shrink_plan(deployment: Deployment, snapshot: ClusterSnapshot, removed: Sequence[str], drain_s: float) -> Plan:
    maker = PlanMaker(deployment, snapshot, drain_s=drain_s)
    names = [rank.id for rank in deployment.ranks() if rank.group in removed]
    plan = maker.make("stop", names)
    after = deployment
    for name in removed:
        after = edits.drop_copy(after, name)
    title = f"remove {', '.join(removed)} and free {'its' if len(removed) == 1 else 'their'} nodes"
    return replace(
        plan,
        verb="scale",
        engines=tuple(names),
        stages=(*plan.stages, _reassign_stage(deployment, after, title)),
        findings=(*plan.findings, *proxy_routing.fixed_proxy_findings(deployment, snapshot, adds=False)),
        made_from=deployment,
    )


def _reassign_stage(before: Deployment, after: Deployment, title: str) -> Stage:
    first = next(rank.node for rank in before.ranks())
    change = AssignmentChange(before.assignment, after.assignment)
    return Stage("assignment", (Step("reassign", "reassign", title, first, (), change),))


def proxy_sync_plan(
    deployment: Deployment, snapshot: ClusterSnapshot, listing: ProxyList, isolated: frozenset[str]
) -> Plan:
    """The plan that makes a load-balance proxy list exactly the engines that are ready. `listing` is what it lists now.

    `isolated` are removed engines that the proxy still counts. Raises NothingToDo when the list is right already.
    """
    proxy = proxy_routing.live_proxy(snapshot)
    if proxy is None:
        raise Refused("the proxy is not serving, so its list cannot be changed", hint="start proxy")
    dead: list[Rank] = []
    ready: list[Rank] = []
    for rank in proxy_routing.listed_ranks(deployment, [rank.id for rank in deployment.ranks()]):
        address, state = proxy_routing.endpoint(deployment, rank), snapshot.engines[rank.id].state
        used = address in listing.of(rank.role) and rank.id not in isolated
        if used and state in _NOT_RUNNING:
            dead.append(rank)
        elif not used and state is EngineState.READY:
            ready.append(rank)
    known = {proxy_routing.endpoint(deployment, rank) for rank in deployment.ranks()}
    unknown = [each for each in (*listing.prefill, *listing.decode) if each not in known]
    stages = [
        stage
        for stage in (
            proxy_routing.leave_stage(deployment, proxy, dead),
            proxy_routing.add_stage(deployment, proxy, ready),
        )
        if stage
    ]
    if not stages:
        raise NothingToDo(
            "nothing to do: the proxy uses exactly the engines that are ready", hint=_unmanaged_hint(unknown)
        )
    findings = [Finding("PROXY", Severity.NOTE, _unmanaged_hint(unknown), "proxy")] if unknown else []
    return Plan(
        verb="sync-proxy",
        cluster=deployment.cluster.name,
        deployment=deployment.name,
        engines=tuple(rank.id for rank in (*dead, *ready)),
        stages=tuple(stages),
        confirm=Confirm("key", "y"),
        findings=tuple(findings),
        losses=tuple(_lost_roles(deployment, snapshot, dead, ready)),
    )


def _lost_roles(
    deployment: Deployment, snapshot: ClusterSnapshot, dead: Sequence[Rank], ready: Sequence[Rank]
) -> Iterator[str]:
    """A line for each role without an engine in the proxy after the change: removing dead engines does not fix that."""
    for role in dict.fromkeys(rank.role for rank in dead):
        members = [rank for rank in deployment.ranks() if rank.role == role]
        serve = any(snapshot.engines[rank.id].state in proxy_routing.SERVING for rank in members)
        if not serve and not any(rank.role == role for rank in ready):
            groups = ", ".join(dict.fromkeys(rank.group for rank in members))
            yield f"after this the proxy has no {role} engine; restart {groups} to serve requests again"


_NOT_RUNNING = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK, EngineState.EXITED, EngineState.IDLE)


def _unmanaged_hint(endpoints: Sequence[str]) -> str:
    return (
        f"the proxy also lists endpoints of no known engine; they stay listed: {', '.join(endpoints[:6])}"
        if endpoints
        else ""
    )
