"""What must hold before a deployment is started: one table of rules, each a check with its reason, fix and source.

Rules look at plain model values; they never ask a node and never change anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from console.model.deployment import Deployment
from console.model.findings import Finding, Severity
from console.rules import capacity, placement, ports, settings, transfer
from console.rules.rule import Rule, Scene

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def _number(rule: Rule) -> tuple[str, int]:
    return rule.id[0], int(rule.id[1:])


RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in sorted((*placement.RULES, *transfer.RULES, *ports.RULES, *settings.RULES, *capacity.RULES), key=_number)
}
"""Every rule by its id."""


def check(deployment: Deployment) -> tuple[Finding, ...]:
    """Everything that does not hold, errors first."""
    scene = Scene(deployment)
    found = dict.fromkeys(finding for rule in RULES.values() for finding in rule.findings(scene))
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def capacity_notes(deployment: Deployment) -> tuple[str, ...]:
    """One line per group: an estimate of what the weights leave of each device's HBM; empty when their size is unknown."""
    return tuple(str(each) for each in capacity.capacities(Scene(deployment)))
