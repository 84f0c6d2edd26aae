"""Rules about the services beside the engines: B1 and B2."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.findings import Severity
from console.rules.rule import Hit, Rule, RuleContext


def _placed(scene: RuleContext) -> Iterator[Hit]:
    placed = {rank.id for rank in scene.deployment.service_ranks()}
    for name, service in scene.layout.services.items():
        if scene.deployment.complete() and name not in placed:
            message = f"{name}: its node {service.node!r} is neither a node nor GROUP/INDEX"
            yield Hit(message, scene.at_top("services", name, "node"))


def _watched(scene: RuleContext) -> Iterator[Hit]:
    for name, service in scene.layout.services.items():
        if service.port is None and service.health.port is None:
            yield Hit(f"{name} names no port", scene.at_top("services", name))


RULES = (
    Rule(
        "B1",
        "A service beside the engines has its node",
        Severity.ERROR,
        "It is started on one node, before the engines that use it.",
        "Name a node of the cluster, or GROUP/INDEX of the layout (prefill/0 is the first node of prefill).",
        "services of the layout",
        _placed,
    ),
    Rule(
        "B2",
        "A service beside the engines can be asked",
        Severity.NOTE,
        "Without a port it counts as ready as soon as its process runs, and engines may look for it too early.",
        "Give it `port`, or `health: {port: …, path: …}`.",
        "services of the layout",
        _watched,
    ),
)
