"""Reading the files again while the console is open: what is wrong is shown, and what was good goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from console.services.assigning.layout_files import named
from screens.actions import BY_ID
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
        if not self.refused():
            set_off(self._screen, "reload", self.read_again, {})

    def refused(self) -> bool:
        """Whether the files cannot take effect now; says why."""
        console = self._screen.console
        fleet = console.fleet
        if fleet is not None and (fleet.acting or fleet.measuring):
            key = console.options.keys.word(BY_ID["reload"])
            words = f"something runs from here; {key} reads the files again when that has ended"
            self._screen.notify(words, severity="warning", markup=False)
            return True
        if console.opening.again is None or fleet is None:
            self._screen.notify("this cluster was not opened from a file", severity="warning", markup=False)
            return True
        return False

    async def read_again(self, layouts: Mapping[str, str]) -> None:
        """Take the files as they are now; `layouts` are other ones to be read instead, by cluster."""
        console = self._screen.console
        again, fleet = console.opening.again, console.fleet
        if again is None or fleet is None:
            return
        held = {each.cluster.name: each.deployment.assignment for each in fleet.sessions}
        meant = {each.cluster.name: named(each.deployment.layout) for each in fleet.sessions}
        try:
            fresh = Fleet(again(held, {**meant, **layouts}))
        except ConsoleError as error:
            hint = f"{error.hint}\n" if error.hint else ""
            key = console.options.keys.word(BY_ID["edit"])
            more = f"Nothing was changed: what was read before goes on. {key} opens the file again."
            console.tell(ConsoleError(str(error), hint=f"{hint}{more}"))
            return
        fresh.mean(fleet.current.cluster.name)
        self._screen.grid.look_at(marks=frozenset())
        await console.show_fleet(fresh)
        self._screen.restart_policies.attach()
        names = ", ".join(each.cluster.name for each in fresh.sessions)
        words = f"read again: {names}; engines that run keep what they were started with, 7 shows what differs"
        self._screen.notify(words, markup=False)
