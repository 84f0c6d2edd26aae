"""Restart policies on the screen: the plan they run is shown like any other, and can be held."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from screens.panes.plan import PlanPane
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen


class RestartPolicies:
    """Joins the policies of the session to the plan pane."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def attach(self) -> None:
        """Have plans of a policy drawn where the operator's own are, in whichever cluster."""
        fleet = self._screen.console.fleet
        for session in fleet.sessions if fleet else ():
            session.restarts.observer = cast(PlanPane, self._screen.panes["plan"])

    def verbs(self) -> Verbs:
        """The one thing to say to a policy."""
        return {"pause-auto-restart": self.hold}

    def hold(self) -> None:
        """Restart nothing from this console for now, or go on."""
        screen = self._screen
        restarts = screen.console.session.restarts
        groups = screen.console.session.deployment.layout.groups.values()
        if all(group.restart.policy == "never" for group in groups):
            screen.notify("no group of this layout has a restart policy", markup=False)
            return
        restarts.paused = not restarts.paused
        words = "paused: this console restarts nothing" if restarts.paused else "resumed"
        screen.notify(f"restart policies are {words}; other open consoles decide for themselves", markup=False)
        screen.draw()
