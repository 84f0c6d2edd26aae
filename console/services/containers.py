"""How a node gets the container its engines run in: the exact commands, as a person types them. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from console.commands.container import run_container
from console.commands.quoting import quote
from console.model.deployment import Deployment
from console.model.errors import UsageError
from console.probes.checks import Result, Verdict

CONTAINER_CHECKS = ("23", "24")
"""The checks of a container's settings and mounts."""
_ABSENT = "no container "


def creation(deployment: Deployment, name: str) -> str:
    """The command that makes the node's container, with its run directories visible inside.

    Empty on a host runtime, and where no image is named.
    """
    node = deployment.node(name)
    if not node.runtime.words:
        return ""
    try:
        words = (*run_container(deployment, node, mounts=(node.base,)), "sleep", "infinity")
    except UsageError:
        return ""
    return f"mkdir -p {quote(node.base)} && " + " ".join(quote(word) for word in words)


def mended(deployment: Deployment, results: Iterable[Result]) -> tuple[Result, ...]:
    """The same results, those of a missing or wrong container with the exact commands as their remedy."""
    return tuple(_mended(deployment, each) for each in results)


def _mended(deployment: Deployment, result: Result) -> Result:
    if result.check not in CONTAINER_CHECKS or result.verdict is not Verdict.FAIL:
        return result
    if result.remedy.startswith("start "):
        runtime = deployment.node(result.node).runtime
        return replace(result, remedy=" ".join(quote(word) for word in (*runtime.words, "start", runtime.container)))
    made = creation(deployment, result.node)
    if not made:
        return result
    runtime = deployment.node(result.node).runtime
    if result.seen.startswith(_ABSENT):
        return replace(result, remedy=made)
    away = (" ".join(quote(word) for word in (*runtime.words, act, runtime.container)) for act in ("stop", "rm"))
    return replace(result, remedy=f"{' && '.join(away)} && {made}  # ends everything that runs in the old one")
