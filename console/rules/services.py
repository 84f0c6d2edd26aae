"""Rules about the services beside the engines: B1 and B2."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.findings import Severity
from console.rules.rule import Rule, RuleContext, Violation


def _placed(context: RuleContext) -> Iterator[Violation]:
    placed = {rank.id for rank in context.deployment.service_ranks()}
    for name, service in context.layout.services.items():
        if context.deployment.complete() and name not in placed:
            message = f"{name}: its node {service.node!r} is neither a node nor GROUP/INDEX"
            yield Violation(message, context.at_top("services", name, "node"))


def _watched(context: RuleContext) -> Iterator[Violation]:
    for name, service in context.layout.services.items():
        if service.port is None and service.health.port is None:
            yield Violation(f"{name} has no port", context.at_top("services", name))


RULES = (
    Rule(
        "B1",
        "A service beside the engines has its node",
        Severity.ERROR,
        "The console starts the service on one node, before the engines that use it.",
        "Name a node of the cluster, or GROUP/INDEX of the layout (prefill/0 is the first node of prefill).",
        "services of the layout",
        _placed,
    ),
    Rule(
        "B2",
        "A service beside the engines has a port to check",
        Severity.NOTE,
        "Without a port the service counts as ready when its process runs, and engines may start too early.",
        "Set `port`, or `health: {port: …, path: …}`.",
        "services of the layout",
        _watched,
    ),
)
