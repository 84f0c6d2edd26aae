"""Maintains nodes from the screen: the plans for containers, weights and tuning are shown, confirmed and run as all plans are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from screens.controllers.base import Commands, Controller, split_names
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.model.plan import Plan, PlanResult, StepEvent, Verb
    from console.services.maintenance.node_tasks import MaintenancePlan
    from screens.controllers.plan_offer import PlanOffer
    from screens.fleet import Fleet
    from screens.grid.grid import Grid


@dataclass(eq=False)
class MaintenanceActions(Controller):
    """Joins the maintenance of the session to the plan dialog and the plan pane."""

    fleet: Fleet
    grid: Grid
    plans: PlanOffer

    def verbs(self) -> Verbs:
        """Keys that lead to a plan, for the marked nodes, all that carry something without a mark."""
        return {
            "containers": lambda: self.containers(self._marked(), self.grid.view.marks),
            "weights": lambda: self.weights([]),
            "tune": lambda: self.tune(self._marked(), self.grid.view.marks),
        }

    def commands(self) -> Commands:
        """The same, for nodes by name."""
        return {
            "containers": lambda rest: self.containers(split_names(rest)),
            "weights": lambda rest: self.weights(split_names(rest)),
            "tune": lambda rest: self.tune(split_names(rest)),
        }

    def containers(self, nodes: Sequence[str], marks: Set[str] = frozenset()) -> None:
        """Plan what the containers of these nodes lack."""
        upkeep = self.fleet.session.maintenance
        self._offer("containers", lambda: upkeep.containers(nodes), marks)

    def weights(self, words: Sequence[str]) -> None:
        """Plan a copy of the model: from the first node named, or from one that has it, to the others or all."""
        upkeep = self.fleet.session.maintenance
        source, targets = (words[0], words[1:]) if words else ("", ())
        self._offer("weights", lambda: upkeep.weights(source, targets))

    def tune(self, nodes: Sequence[str], marks: Set[str] = frozenset()) -> None:
        """Plan to set what drifts on these nodes."""
        upkeep = self.fleet.session.maintenance
        self._offer("tune", lambda: upkeep.tuning(nodes), marks)

    def _marked(self) -> Sequence[str]:
        grid = self.grid
        return grid.chosen_nodes() if grid.view.marks else ()

    def _offer(
        self, verb: Verb, prepare: Callable[[], Awaitable[MaintenancePlan]], marks: Set[str] = frozenset()
    ) -> None:
        upkeep = self.fleet.session.maintenance
        made: list[MaintenancePlan] = []

        async def plan() -> Plan:
            made[:] = [await prepare()]
            return made[0].plan

        async def run(plan: Plan, notice: Callable[[StepEvent], None], confirmed: str) -> PlanResult:
            return await upkeep.run(made[0], notice, confirmed)

        self.plans.offer(verb, "of nodes", plan, run, marks=marks)
