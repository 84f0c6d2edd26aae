"""Maintains nodes from the screen: the plans for containers, weights and tuning, shown, confirmed and run like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from typing import TYPE_CHECKING

from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.model.plan import Plan, PlanResult, StepEvent, Verb
    from console.services.maintenance.node_tasks import MaintenancePlan
    from screens.main import MainScreen


class MaintenanceActions:
    """Joins the maintenance of the session to the plan dialog and the plan pane."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def verbs(self) -> Verbs:
        """Keys that lead to a plan, for the marked nodes, all that carry something without a mark."""
        return {
            "containers": lambda: self.containers(self._marked(), self._screen.grid.view.marks),
            "weights": lambda: self.weights([]),
            "tune": lambda: self.tune(self._marked(), self._screen.grid.view.marks),
        }

    def commands(self) -> dict[str, Callable[[Sequence[str]], None]]:
        """The same with words behind them."""
        return {"containers": self.containers, "weights": self.weights, "tune": self.tune}

    def containers(self, nodes: Sequence[str], marks: Set[str] = frozenset()) -> None:
        """Plan what the containers of these nodes lack."""
        upkeep = self._screen.console.session.maintenance
        self._offer("containers", lambda: upkeep.containers(nodes), marks)

    def weights(self, words: Sequence[str]) -> None:
        """Plan a copy of the model: from the first node named, or from one that has it, to the others or all."""
        upkeep = self._screen.console.session.maintenance
        source, targets = (words[0], words[1:]) if words else ("", ())
        self._offer("weights", lambda: upkeep.weights(source, targets))

    def tune(self, nodes: Sequence[str], marks: Set[str] = frozenset()) -> None:
        """Plan to set what drifts on these nodes."""
        upkeep = self._screen.console.session.maintenance
        self._offer("tune", lambda: upkeep.tuning(nodes), marks)

    def _marked(self) -> Sequence[str]:
        grid = self._screen.grid
        return grid.chosen_nodes() if grid.view.marks else ()

    def _offer(
        self, verb: Verb, prepare: Callable[[], Awaitable[MaintenancePlan]], marks: Set[str] = frozenset()
    ) -> None:
        upkeep = self._screen.console.session.maintenance
        made: list[MaintenancePlan] = []

        async def plan() -> Plan:
            made[:] = [await prepare()]
            return made[0].plan

        async def run(plan: Plan, notice: Callable[[StepEvent], None], confirmed: str) -> PlanResult:
            return await upkeep.run(made[0], notice, confirmed)

        self._screen.engine_acts.offer(verb, "of nodes", plan, run, marks=marks)
