"""Which engines a running proxy lists, and the steps that remove engines from it or add them. Pure.

Only vllm-ascend's load-balance proxy can be changed while it runs (`/instances/add`, `/instances/remove`); the layerwise and the
dp proxy keep the list of their start. The load-balance proxy counts the engines in its list and does not probe them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from console.model.deployment import Deployment, Rank
from console.model.findings import Finding, Severity
from console.model.payload import Endpoint, ProxyChange
from console.model.plan import Act, Stage, Step
from console.model.shortening import list_text
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState

CHANGEABLE_KIND = "load-balance"
SERVING = (EngineState.READY, EngineState.DEGRADED)
PROXIED_ROLES = ("prefill", "decode")
"""The roles that a load-balance proxy lists."""


def live_proxy(snapshot: ClusterSnapshot) -> EngineSnapshot | None:
    """The proxy while it serves, else None."""
    found = next((each for each in snapshot.engines.values() if each.role == "proxy" and "@" not in each.id), None)
    return found if found is not None and found.state in SERVING else None


def can_be_changed(deployment: Deployment) -> bool:
    """Whether the list of the deployment's proxy can be changed while the proxy runs."""
    return deployment.layout.proxy is not None and deployment.layout.proxy.kind == CHANGEABLE_KIND


def endpoint(deployment: Deployment, rank: Rank) -> str:
    """`host:port`, the name of the engine in the proxy's list."""
    return f"{deployment.address(rank.node)}:{rank.port}"


def listed_ranks(deployment: Deployment, names: Iterable[str]) -> list[Rank]:
    """Those of these engines that a load-balance proxy can list."""
    wanted = set(names)
    return [
        rank
        for rank in deployment.ranks()
        if rank.id in wanted and rank.port is not None and rank.role in PROXIED_ROLES
    ]


def drain_stage(
    deployment: Deployment, snapshot: ClusterSnapshot, names: Sequence[str], drain_s: float
) -> Stage | None:
    """The stage that removes serving engines from a proxy that keeps running and waits for their requests; None without any."""
    proxy = live_proxy(snapshot)
    if proxy is None or proxy.id in names or not can_be_changed(deployment):
        return None
    serving = [name for name in names if (seen := snapshot.engines.get(name)) and seen.state in SERVING]
    title = f"remove {{}} from the proxy, wait up to {drain_s:.0f} s for their requests"
    steps = _steps(deployment, proxy, "drain", listed_ranks(deployment, serving), title, drain_s)
    return Stage("remove from the proxy", steps, "proxy") if steps else None


def join_stage(deployment: Deployment, snapshot: ClusterSnapshot, names: Sequence[str]) -> Stage | None:
    """The stage that adds restarted engines to a proxy that keeps running; None if not needed."""
    proxy = live_proxy(snapshot)
    if proxy is None or proxy.id in names or not can_be_changed(deployment):
        return None
    steps = _steps(deployment, proxy, "join", listed_ranks(deployment, names), "add {} to the proxy")
    return Stage("add to the proxy", steps, "proxy") if steps else None


def idle_moment_finding() -> Finding:
    """A warning that the proxy takes removed engines back late (vllm-ascend's load-balance example proxy)."""
    message = "the proxy takes a removed engine back only after a moment without any request: under constant load the plan waits"
    fix = "run this at a quiet hour; `sync-proxy` adds missing engines later, `restart proxy` does so at once but aborts requests"
    return Finding("PROXY", Severity.WARNING, message, "proxy", fix=fix)


def leave_stage(deployment: Deployment, proxy: EngineSnapshot, dead: Sequence[Rank]) -> Stage | None:
    """The stage that removes engines from the proxy without waiting for requests; None without engines."""
    steps = _steps(deployment, proxy, "leave", dead, "remove {} from the proxy")
    return Stage("remove from the proxy", steps, "proxy") if steps else None


def add_stage(deployment: Deployment, proxy: EngineSnapshot, ready: Sequence[Rank]) -> Stage | None:
    """The stage that adds serving engines to the proxy; None without engines."""
    steps = _steps(deployment, proxy, "join", ready, "add {} to the proxy")
    return Stage("add to the proxy", steps, "proxy") if steps else None


def _steps(
    deployment: Deployment,
    proxy: EngineSnapshot,
    act: Act,
    ranks: Sequence[Rank],
    title: str,
    drain_s: float = 0.0,
) -> tuple[Step, ...]:
    made = []
    address = deployment.address(proxy.node)
    for role in PROXIED_ROLES:
        mine = [rank for rank in ranks if rank.role == role]
        if mine:
            names = tuple(rank.id for rank in mine)
            endpoints = tuple(Endpoint(rank.id, rank.node, rank.address, rank.port or 0) for rank in mine)
            verb: Literal["add", "remove"] = "add" if act == "join" else "remove"
            change = ProxyChange(address, proxy.port or 0, verb, role, endpoints, drain_s)
            made.append(Step(f"{act}:{role}", act, title.format(list_text(names, 4)), proxy.node, names, change))
    return tuple(made)


def roles_left_empty(deployment: Deployment, snapshot: ClusterSnapshot, stopping: Sequence[str]) -> list[str]:
    """Roles that lose their last serving engine when these engines stop; empty when the proxy stops too."""
    proxy = live_proxy(snapshot)
    if proxy is None or proxy.id in stopping:
        return []
    gone = set(stopping)
    missing: list[str] = []
    for role in dict.fromkeys(rank.role for rank in deployment.ranks()):
        mine = [rank.id for rank in deployment.ranks() if rank.role == role]
        left = [name for name in mine if name not in gone and _serves(snapshot, name)]
        if not left and any(name in gone and _serves(snapshot, name) for name in mine):
            missing.append(role)
    return missing


def fixed_proxy_findings(deployment: Deployment, snapshot: ClusterSnapshot, *, adds: bool) -> list[Finding]:
    """A warning when engines are added or removed while the proxy runs and its list cannot be changed."""
    proxy = live_proxy(snapshot)
    layout = deployment.layout.proxy
    if proxy is None or layout is None or can_be_changed(deployment):
        return []
    change = "gets no request" if adds else "still gets requests, and those fail,"
    message = (
        f"the {layout.kind} proxy cannot be changed while it runs: the group {change} until the proxy is restarted"
    )
    fix = "afterwards: restart proxy (aborts the requests that run through it)"
    return [Finding("PROXY", Severity.WARNING, message, "proxy", fix=fix)]


def _serves(snapshot: ClusterSnapshot, name: str) -> bool:
    seen = snapshot.engines.get(name)
    return seen is not None and seen.state in SERVING
