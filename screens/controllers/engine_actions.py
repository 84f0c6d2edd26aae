"""Plans that start, stop, restart or kill engines. No rule is decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from console.model.deployment import engine_words
from console.model.plan import Verb
from screens.controllers.base import Commands, Controller, engines_named
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.controllers.arrangement import Arrangement
    from screens.controllers.plan_offer import PlanOffer
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction

OPERATIONS: tuple[Verb, ...] = ("start", "stop", "restart", "kill")


@dataclass(eq=False)
class EngineActions(Controller):
    """What is planned is for the engines named, else those that the cursor or the marks are on."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    arrangement: Arrangement
    plans: PlanOffer
    choose_layout: Callable[[], object]
    """Offers layouts where none is chosen."""

    def verbs(self) -> Verbs:
        """Keys that lead to a plan."""
        return {verb: partial(self.plan, verb) for verb in OPERATIONS}

    def commands(self) -> Commands:
        """The same, for engines and groups by name."""
        return {verb: partial(self._plan_named, verb) for verb in OPERATIONS}

    def plan(self, verb: Verb, engines: Sequence[str] | None = None) -> None:
        """Show the plan of a verb on these engines, or on the chosen ones."""
        if not self.plans.allowed():
            return
        marks: Set[str] = frozenset()
        if engines is not None:
            chosen = tuple(engines)
        elif (here := self.arrangement.pointed) is not None:
            chosen = (here.engine, *here.others)
        else:
            chosen, marks = self.grid.chosen_engines(), self.grid.view.marks
        if chosen:
            operator = self.fleet.session.operator
            target = engine_words(chosen)
            self.plans.offer(verb, target, lambda: operator.prepare(verb, chosen), asked=chosen, marks=marks)
        elif self.fleet.session.deployment.layout.chosen:
            self.interaction.warn("no engine here; press a to assign the node to a group")
        else:
            self.choose_layout()

    def _plan_named(self, verb: Verb, rest: str) -> None:
        if (engines := engines_named(self.interaction, self.fleet, rest)) is not None:
            self.plan(verb, engines)

    def end_process(self, verb: Literal["stop", "kill"], node: str, pid: int) -> None:
        """Show the plan to end an unmanaged process."""
        operator = self.fleet.session.operator
        self.plans.offer(verb, f"pid {pid} on {node}", lambda: operator.prepare_end(verb, node, pid))
