"""The release that a node reports beside the layout's: what follows from a difference, and that it could not be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from console.model.deployment import Deployment
from console.probes.check_types import Result, Verdict
from console.releases.facts import facts_of, release_name
from console.rules import check_release
from console.services.readiness.node_requirements import wanted_release

PACKAGES_CHECK = "18"
"""The check that reads the versions of vllm and vllm-ascend on each node."""
_MOST = 3


def with_releases(deployment: Deployment, results: Iterable[Result]) -> tuple[Result, ...]:
    """The same results; those of the packages say what another release than the layout's means for this layout."""
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
    """What it means for a layout that engines of this release run it, in words."""
    if facts_of(release_name(release)) is None:
        return f"there are no facts about {release}, so what it makes of this layout is not known"
    own = {finding.message for finding in check_release(deployment, wanted_release(deployment.layout))}
    found = [each.message for each in check_release(deployment, release) if each.message not in own]
    if not found:
        return f"{release} knows every flag, variable and key of this layout"
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return "; ".join(found[:_MOST]) + more


def _reported(value: str) -> str:
    """The vllm-ascend release among `vllm 0.21.0, vllm-ascend 0.21.0rc1, …`; empty when it is not there."""
    rows = dict(each.split(" ", 1) for each in value.split(", ") if " " in each)
    return rows.get("vllm-ascend", "").partition("+")[0]
