"""Compares the release that a node reports with the release of the layout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from console.model.deployment import Deployment
from console.model.shortening import list_text
from console.probes.check_types import Result, Verdict
from console.releases.facts import facts_of, release_name
from console.rules import check_release
from console.services.readiness.node_requirements import wanted_release

PACKAGES_CHECK = "18"
"""The check that reads the versions of vllm and vllm-ascend on each node."""
_MOST = 3


def with_releases(deployment: Deployment, results: Iterable[Result]) -> tuple[Result, ...]:
    """The results; those about packages describe the effect of another release on this layout."""
    wanted = wanted_release(deployment.layout)
    return tuple(_with_release(deployment, wanted, each) if each.check == PACKAGES_CHECK else each for each in results)


def _with_release(deployment: Deployment, wanted: str, result: Result) -> Result:
    if not wanted or not deployment.node(result.node).hardware.devices:
        return result
    if result.verdict is Verdict.UNKNOWN:
        return replace(result, seen=f"{result.seen}: the release here could not be compared with the layout's {wanted}")
    found = _reported(result.value)
    if not found or release_name(found) == release_name(wanted):
        return result
    return replace(result, seen=f"{result.seen}; {consequences(deployment, found)}")


def consequences(deployment: Deployment, release: str) -> str:
    """The effect on a layout when its engines run with this release, as text."""
    if facts_of(release_name(release)) is None:
        return f"no facts about {release}, so its effect on this layout is unknown"
    own = {finding.message for finding in check_release(deployment, wanted_release(deployment.layout))}
    found = [each.message for each in check_release(deployment, release) if each.message not in own]
    if not found:
        return f"{release} knows every flag, variable and key of this layout"
    return list_text(found, _MOST, "; ")


def _reported(value: str) -> str:
    """The vllm-ascend release in `vllm 0.21.0, vllm-ascend 0.21.0rc1, …`; empty without it."""
    rows = dict(each.split(" ", 1) for each in value.split(", ") if " " in each)
    return rows.get("vllm-ascend", "").partition("+")[0]
