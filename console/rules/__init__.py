"""All rules that a deployment must satisfy before a start: each is a check with its reason, fix and source.

Rules read model values only. They do not contact a node and do not change anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.findings import Finding, Severity
from console.model.hardware import HARDWARE
from console.model.layout import MOST, DataParallel, Group, Layout, Model
from console.rules import access, capacity, placement, ports, releases, services, settings, speculation, transfer
from console.rules.rule import Rule, RuleContext

_OF_NODES = ("A2", "K1", "K4")
_OF_RELEASES = ("R22", "V2", "V3", "V4", "V5", "V6")
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def _number(rule: Rule) -> tuple[str, int]:
    return rule.id[0], int(rule.id[1:])


RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in sorted(
        (
            *placement.RULES,
            *transfer.RULES,
            *ports.RULES,
            *settings.RULES,
            *capacity.RULES,
            *access.RULES,
            *speculation.RULES,
            *releases.RULES,
            *services.RULES,
        ),
        key=_number,
    )
}
"""Every rule by its id."""


def check(deployment: Deployment) -> tuple[Finding, ...]:
    """The findings about a deployment, errors first."""
    context = RuleContext(deployment)
    found = dict.fromkeys(finding for rule in RULES.values() for finding in rule.findings(context))
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def check_nodes(cluster: Cluster) -> tuple[Finding, ...]:
    """The findings about the nodes of a cluster that do not depend on a layout."""
    group = Group(
        role="mixed",
        nodes=min(MOST, len(cluster.nodes)),
        tensor_parallel=1,
        data_parallel=DataParallel(size=min(MOST, len(cluster.nodes)), per_node=1, balance="external"),
        port=8000,
    )
    layout = Layout(name="any", hardware=HARDWARE["a3"], model=Model(path="any"), groups={"any": group})
    context = RuleContext(Deployment(cluster, layout, Assignment({"any": tuple(cluster.nodes)})))
    return tuple(finding for rule in _OF_NODES for finding in RULES[rule].findings(context))


def check_release(deployment: Deployment, version: str) -> tuple[Finding, ...]:
    """The findings of the rules that depend on the release, as if engines of release `version` ran this layout, errors first."""
    layout = deployment.layout.model_copy(update={"version": version, "image": ""})
    context = RuleContext(replace(deployment, layout=layout))
    found = dict.fromkeys(finding for rule in _OF_RELEASES for finding in RULES[rule].findings(context))
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def capacity_notes(deployment: Deployment) -> tuple[str, ...]:
    """One line per group with an estimate of the HBM beside the weights; empty when the size of the weights is unknown."""
    return tuple(str(each) for each in capacity.capacities(RuleContext(deployment)))
