"""Restart policies on the screen: their plans are shown as all plans are; automatic restarts can be paused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from screens.controllers.base import Controller
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.interaction import Interaction
    from screens.panes.plan import PlanPane


@dataclass(eq=False)
class RestartPolicies(Controller):
    """Joins the policies of the session to the plan pane."""

    interaction: Interaction
    fleet: Fleet
    pane: PlanPane
    draw: Callable[[], None]
    """Draws the screen."""

    def attach(self) -> None:
        """Have plans of a policy drawn where the operator's own are, in whichever cluster."""
        for session in self.fleet.sessions:
            session.restarts.observer = self.pane

    def verbs(self) -> Verbs:
        """The one thing to say to a policy."""
        return {"pause-auto-restart": self.hold}

    def hold(self) -> None:
        """Restart nothing from this console for now, or go on."""
        session = self.fleet.session
        restarts = session.restarts
        if all(group.restart.policy == "never" for group in session.deployment.layout.groups.values()):
            self.interaction.notify("no group of this layout has a restart policy")
            return
        restarts.paused = not restarts.paused
        words = "paused: this console restarts nothing" if restarts.paused else "resumed"
        self.interaction.notify(f"restart policies are {words}; other open consoles keep their own setting")
        self.draw()
