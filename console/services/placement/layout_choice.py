"""Lists the shipped layouts that fit a cluster, and refuses operations that need a layout."""

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
    """A layout and whether a cluster fits it."""

    layout: Layout
    nodes: int
    """Number of nodes that the layout needs."""
    has: int
    """Number of nodes of the layout's hardware in the cluster."""

    @property
    def fits(self) -> bool:
        """Whether the cluster has enough nodes."""
        return self.has >= self.nodes

    def words(self) -> str:
        """`4 a3 nodes`, or `8 a2 nodes; the cluster has 2`."""
        kind = counted(self.nodes, f"{self.layout.hardware.name} node")
        return kind if self.fits else f"{kind}; the cluster has {self.has}"


def require_layout(
    deployment: Deployment, why: str = "no layout is chosen, so nothing can be assigned or started"
) -> None:
    """Raises Refused when the deployment has no layout, with a hint how to choose one."""
    if not deployment.layout.chosen:
        raise Refused(why, hint=HOW)


def fits(cluster: Cluster) -> tuple[LayoutFit, ...]:
    """Every shipped layout: those that fit the cluster first, the largest of them first."""
    kinds = [node.hardware.name for node in cluster.nodes.values()]
    found = []
    for layout in map(load_layout, shipped_layouts()):
        needed = sum(group.nodes for group in layout.shaped().groups.values())
        found.append(LayoutFit(layout, needed, kinds.count(layout.hardware.name)))
    return tuple(sorted(found, key=lambda each: (not each.fits, -each.nodes if each.fits else each.nodes)))
