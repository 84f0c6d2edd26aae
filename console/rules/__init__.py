"""What must hold before a deployment is started: one table of rules, each a check with its reason, fix and source.

Rules look at plain model values; they never ask a node and never change anything.
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
    """Everything that does not hold, errors first."""
    scene = RuleContext(deployment)
    found = dict.fromkeys(finding for rule in RULES.values() for finding in rule.findings(scene))
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def check_nodes(cluster: Cluster) -> tuple[Finding, ...]:
    """What does not hold of a cluster's nodes whatever they will carry."""
    group = Group(
        role="mixed",
        nodes=min(MOST, len(cluster.nodes)),
        tensor_parallel=1,
        data_parallel=DataParallel(size=min(MOST, len(cluster.nodes)), per_node=1, balance="external"),
        port=8000,
    )
    layout = Layout(name="any", hardware=HARDWARE["a3"], model=Model(path="any"), groups={"any": group})
    scene = RuleContext(Deployment(cluster, layout, Assignment({"any": tuple(cluster.nodes)})))
    return tuple(finding for rule in _OF_NODES for finding in RULES[rule].findings(scene))


def check_release(deployment: Deployment, version: str) -> tuple[Finding, ...]:
    """What the rules that go by the release find when engines of another release run this layout, errors first."""
    layout = deployment.layout.model_copy(update={"version": version, "image": ""})
    scene = RuleContext(replace(deployment, layout=layout))
    found = dict.fromkeys(finding for rule in _OF_RELEASES for finding in RULES[rule].findings(scene))
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def capacity_notes(deployment: Deployment) -> tuple[str, ...]:
    """One line per group: an estimate of what the weights leave of each device's HBM; empty when their size is unknown."""
    return tuple(str(each) for each in capacity.capacities(RuleContext(deployment)))
