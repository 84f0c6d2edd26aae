"""Choosing a layout for a cluster: which of the shipped ones its nodes can carry, and what is refused until one is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from console.files import load_layout, shipped_layouts
from console.model.cluster import Cluster
from console.model.counting import counted
from console.model.deployment import Deployment
from console.model.errors import Refused
from console.model.layout import Layout

HOW = "choose one: `:layout NAME` on the screen, --layout NAME|FILE on the command line; `dsv4-console layouts` lists them"


@dataclass(frozen=True, slots=True)
class LayoutFit:
    """A layout beside a cluster."""

    layout: Layout
    nodes: int
    """How many nodes it needs."""
    has: int
    """How many nodes of its hardware the cluster has."""

    @property
    def fits(self) -> bool:
        """Whether the cluster has the nodes it needs."""
        return self.has >= self.nodes

    def words(self) -> str:
        """`4 a3 nodes`, and where they are missing `8 a2 nodes; the cluster has 2`."""
        kind = f"{counted(self.nodes, f'{self.layout.hardware.name} node')}"
        return kind if self.fits else f"{kind}; the cluster has {self.has}"


def must_be_chosen(
    deployment: Deployment, why: str = "no layout is chosen, so there is nothing to assign or to start"
) -> None:
    """Raises Refused, with the way to choose one, when the deployment has no layout."""
    if not deployment.layout.chosen:
        raise Refused(why, hint=HOW)


def fits(cluster: Cluster) -> tuple[LayoutFit, ...]:
    """Every shipped layout, those first that the cluster can carry, of these the largest first."""
    kinds = [node.hardware.name for node in cluster.nodes.values()]
    found = []
    for layout in map(load_layout, shipped_layouts()):
        needed = sum(group.nodes for group in layout.shaped().groups.values())
        found.append(LayoutFit(layout, needed, kinds.count(layout.hardware.name)))
    return tuple(sorted(found, key=lambda each: (not each.fits, -each.nodes if each.fits else each.nodes)))
