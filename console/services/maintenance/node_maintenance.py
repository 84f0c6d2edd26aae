"""Groups the maintenance of a session's nodes: containers, weights and host tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from console.model.plan import PlanResult, StepEvent
from console.remote.link import NodeLink
from console.services.maintenance.containers import ContainerManager
from console.services.maintenance.node_tasks import MaintenancePlan
from console.services.maintenance.tuning import Tuner
from console.services.maintenance.weights import WeightManager
from console.services.monitoring.monitor import Monitor
from console.services.operations.operator import Operator
from console.services.readiness.adoption import AdoptedContainers


class Maintenance:
    """The maintenance of nodes. Managers make plans; the operator runs them."""

    def __init__(
        self, monitor: Monitor, links: Mapping[str, NodeLink], operator: Operator, state_dir: Path, who: str
    ) -> None:
        self.of_containers = ContainerManager(
            monitor, links, AdoptedContainers(state_dir, monitor.deployment.cluster.name)
        )
        self.of_weights = WeightManager(monitor, links, who)
        self.of_hosts = Tuner(monitor, links)
        self._operator = operator

    async def containers(self, nodes: Sequence[str] = ()) -> MaintenancePlan:
        """The plan that pulls, creates and starts missing containers; `NODE=NAME` adopts one. Raises Refused and UsageError."""
        adopts = any("=" in name for name in nodes)
        return await self.of_containers.prepare("adopt" if adopts else "all", nodes)

    async def weights(self, source: str, nodes: Sequence[str] = ()) -> MaintenancePlan:
        """The plan that copies the model to nodes without it. Raises Refused and UsageError."""
        return await self.of_weights.prepare(source, nodes)

    async def tuning(self, nodes: Sequence[str] = ()) -> MaintenancePlan:
        """The plan that corrects kernel settings. Raises Refused and UsageError."""
        return await self.of_hosts.prepare(nodes)

    async def run(
        self,
        maintenance: MaintenancePlan,
        notice: Callable[[StepEvent], None],
        confirmed: str,
        *,
        takeover: bool = False,
    ) -> PlanResult:
        """Run a maintenance plan to its end, as `Operator.run` does."""
        return await self._operator.run(
            maintenance.plan, notice, confirmed=confirmed, runner=maintenance.runner, takeover=takeover
        )
