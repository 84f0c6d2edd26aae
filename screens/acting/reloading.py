"""Reading the files again while the console is open: what is wrong is shown, and what was good goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from screens.fleet import Fleet
from screens.widgets import Verbs
from screens.working import set_off

if TYPE_CHECKING:
    from screens.main import MainScreen


class Reloading:
    """Cluster files and layouts are read as at the start; roles stay as they are on the screen."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def verbs(self) -> Verbs:
        """The one key of it."""
        return {"reload": self.reload}

    def reload(self) -> None:
        """Read the files again; refused while something runs from here."""
        fleet = self._screen.console.fleet
        if fleet is not None and (fleet.acting or fleet.measuring):
            words = "something runs from here; reload when it has ended"
            self._screen.notify(words, severity="warning", markup=False)
            return
        set_off(self._screen, "reload", self._reload)

    async def _reload(self) -> None:
        console = self._screen.console
        again, fleet = console.opening.again, console.fleet
        if again is None or fleet is None:
            self._screen.notify("there is no file to read again: this cluster was not opened from one", markup=False)
            return
        try:
            fresh = Fleet(again({each.cluster.name: each.deployment.assignment for each in fleet.sessions}))
        except ConsoleError as error:
            hint = f"{error.hint}\n" if error.hint else ""
            console.tell(ConsoleError(str(error), hint=f"{hint}Nothing was changed: what was read before goes on."))
            return
        fresh.mean(fleet.current.cluster.name)
        self._screen.grid.look_at(marks=frozenset())
        await console.show_fleet(fresh)
        self._screen.restart_policies.attach()
        names = ", ".join(each.cluster.name for each in fresh.sessions)
        self._screen.notify(f"read again: {names}", markup=False)
