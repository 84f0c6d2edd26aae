"""The upkeep of nodes, as one thing a session holds: their containers, their weights, the tuning of their hosts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from console.remote.link import NodeLink
from console.services.adoption import Adopted
from console.services.container_work import Containers
from console.services.monitor import Monitor
from console.services.tuning import Tuning
from console.services.weights import WeightKeeper


class Upkeep:
    """What can be mended on nodes before engines run there. Each part makes plans; `Operator.run` runs them."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], state_dir: Path, who: str) -> None:
        self.containers = Containers(monitor, links, Adopted(state_dir, monitor.deployment.cluster.name))
        self.tuning = Tuning(monitor, links)
        self.weights = WeightKeeper(monitor, links, who)
