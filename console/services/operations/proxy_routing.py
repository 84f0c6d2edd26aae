"""Who stands behind a proxy that serves, and the steps that take engines out of it or put them back. Pure.

Only vllm-ascend's load-balance proxy can be changed while it runs (`/instances/add`, `/instances/remove`); the layerwise and the
dp one know what they were started with. It counts what it lists and probes none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from console.model.deployment import Deployment, Rank
from console.model.findings import Finding, Severity
from console.model.payload import Endpoint, ProxyChange
from console.model.plan import Act, Stage, Step
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState

TELLABLE = "load-balance"
SERVING = (EngineState.READY, EngineState.DEGRADED)
BEHIND = ("prefill", "decode")
"""Roles the load-balance proxy knows."""


def live_proxy(snapshot: ClusterSnapshot) -> EngineSnapshot | None:
    """The proxy while it serves, else None."""
    found = next((each for each in snapshot.engines.values() if each.role == "proxy" and "@" not in each.id), None)
    return found if found is not None and found.state in SERVING else None


def tellable(deployment: Deployment) -> bool:
    """Whether the deployment's proxy takes engines while it runs."""
    return deployment.layout.proxy is not None and deployment.layout.proxy.kind == TELLABLE


def endpoint(deployment: Deployment, rank: Rank) -> str:
    """`host:port` as the proxy names the engine."""
    return f"{deployment.address(rank.node)}:{rank.port}"


def listed_ranks(deployment: Deployment, names: Iterable[str]) -> list[Rank]:
    """Those of these engines that a load-balance proxy has in its lists."""
    wanted = set(names)
    return [rank for rank in deployment.ranks() if rank.id in wanted and rank.port is not None and rank.role in BEHIND]


def leaving(deployment: Deployment, snapshot: ClusterSnapshot, names: Sequence[str], drain_s: float) -> Stage | None:
    """The stage that takes serving engines out of a proxy that goes on, and waits for their requests; None without one."""
    proxy = live_proxy(snapshot)
    if proxy is None or proxy.id in names or not tellable(deployment):
        return None
    serving = [name for name in names if (seen := snapshot.engines.get(name)) and seen.state in SERVING]
    title = f"take {{}} out of the proxy, wait up to {drain_s:.0f} s for their requests"
    steps = _steps(deployment, proxy, "drain", listed_ranks(deployment, serving), title, drain_s)
    return Stage("leave the proxy", steps, "proxy") if steps else None


def joining(deployment: Deployment, snapshot: ClusterSnapshot, names: Sequence[str]) -> Stage | None:
    """The stage that puts engines that are ready behind a proxy that runs already; None without one."""
    proxy = live_proxy(snapshot)
    if proxy is None or proxy.id in names or not tellable(deployment):
        return None
    steps = _steps(deployment, proxy, "join", listed_ranks(deployment, names), "put {} behind the proxy")
    return Stage("join the proxy", steps, "proxy") if steps else None


def quiet() -> Finding:
    """What a plan that puts engines back behind a proxy waits for (vllm-ascend's load-balance example proxy)."""
    message = (
        "the proxy takes a removed engine back only after a moment without any request: under constant load it waits"
    )
    fix = "do it at a quiet hour; `sync-proxy` puts back what stayed outside, `restart proxy` does at once and cuts what it holds"
    return Finding("PROXY", Severity.WARNING, message, "proxy", fix=fix)


def dropping(deployment: Deployment, proxy: EngineSnapshot, dead: Sequence[Rank]) -> Stage | None:
    """The stage that takes engines out of the proxy without waiting for them; None without one."""
    steps = _steps(deployment, proxy, "leave", dead, "take {} out of the proxy")
    return Stage("leave the proxy", steps, "proxy") if steps else None


def adding(deployment: Deployment, proxy: EngineSnapshot, ready: Sequence[Rank]) -> Stage | None:
    """The stage that puts engines that serve behind the proxy; None without one."""
    steps = _steps(deployment, proxy, "join", ready, "put {} behind the proxy")
    return Stage("join the proxy", steps, "proxy") if steps else None


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
    for role in BEHIND:
        mine = [rank for rank in ranks if rank.role == role]
        if mine:
            names = tuple(rank.id for rank in mine)
            shown = ", ".join(names[:4]) + (f" +{len(names) - 4} more" if len(names) > 4 else "")
            endpoints = tuple(Endpoint(rank.id, rank.node, rank.address, rank.port or 0) for rank in mine)
            verb: Literal["add", "remove"] = "add" if act == "join" else "remove"
            change = ProxyChange(address, proxy.port or 0, verb, role, endpoints, drain_s)
            made.append(Step(f"{act}:{role}", act, title.format(shown), proxy.node, names, change))
    return tuple(made)


def alone(deployment: Deployment, snapshot: ClusterSnapshot, stopping: Sequence[str]) -> list[str]:
    """Roles of the deployment of which nothing serves any more once these engines are down; empty when the proxy goes too."""
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


def cannot_tell(deployment: Deployment, snapshot: ClusterSnapshot, *, adds: bool) -> list[Finding]:
    """What follows when engines come or go while a proxy runs that cannot be told of them."""
    proxy = live_proxy(snapshot)
    layout = deployment.layout.proxy
    if proxy is None or layout is None or tellable(deployment):
        return []
    change = "gets no request" if adds else "still gets requests, and those fail,"
    message = (
        f"the {layout.kind} proxy cannot be changed while it runs: the group {change} until the proxy is restarted"
    )
    fix = "afterwards: restart proxy (cuts the requests that run through it)"
    return [Finding("PROXY", Severity.WARNING, message, "proxy", fix=fix)]


def _serves(snapshot: ClusterSnapshot, name: str) -> bool:
    seen = snapshot.engines.get(name)
    return seen is not None and seen.state in SERVING
