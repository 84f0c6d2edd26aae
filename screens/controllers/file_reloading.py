"""Reading the files again while the console is open: what is wrong is shown, and what was good goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from console.services.placement.layout_choice import fits
from console.services.placement.layout_files import layout_argument
from screens.actions import BY_ID
from screens.background_work import set_off
from screens.fleet import Fleet
from screens.styled_lines import Line, Row, fit, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen


class FileReloading:
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

    def layout(self, name: str) -> None:
        """Mean this layout, shipped or a file, for the cluster that is meant; without a name, offer those that are shipped."""
        if name and not self.refused():
            cluster = self._screen.console.session.cluster.name
            set_off(self._screen, "reload", self.read_again, {cluster: name}, True)
        elif not name:
            set_off(self._screen, "say", self._offer)

    async def _offer(self) -> None:
        """The shipped layouts, those first that the cluster can carry."""
        cluster = self._screen.console.session.cluster
        rows = []
        found = fits(cluster)
        name = max(len(each.layout.name) for each in found) + 1
        need = {each.fits: max(len(one.words()) for one in found if one.fits is each.fits) + 1 for each in found}
        for at, fit_ in enumerate(found):
            if not at or found[at - 1].fits is not fit_.fits:
                words = "fit this cluster" if fit_.fits else "do not fit this cluster"
                rows.append(Row(f"-{words}", ((words, "title under"),)))
            role = "plain" if fit_.fits else "dim"
            head: Line = (
                (fit(fit_.layout.name, name), "key" if fit_.fits else "dim"),
                (fit(fit_.words(), need[fit_.fits]), role),
            )
            rows.append(Row(f":layout {fit_.layout.name}", (*head, (shown(fit_.layout.title), role))))
        none = "" if self._screen.console.session.deployment.layout.chosen else "no layout is chosen; "
        title = f"{shown(cluster.name)}: {none}which one? esc: only look; a file of yours: :layout FILE"
        await self._screen.lookup.offer(title, rows)

    async def read_again(self, layouts: Mapping[str, str], anew: bool = False) -> None:
        """Take the files as they are now; `layouts` are other ones to be read instead, by cluster.

        With `anew` roles are not taken along to those: they are what was kept for the cluster with that layout.
        """
        console = self._screen.console
        again, fleet = console.opening.again, console.fleet
        if again is None or fleet is None:
            return
        chosen = [each for each in fleet.sessions if each.deployment.layout.chosen]
        held = {
            each.cluster.name: each.deployment.assignment
            for each in chosen
            if not (anew and each.cluster.name in layouts)
        }
        meant = {each.cluster.name: layout_argument(each.deployment.layout) for each in chosen}
        try:
            fresh = Fleet(again(held, {**meant, **layouts}))
        except ConsoleError as error:
            hint = f"{error.hint}\n" if error.hint else ""
            key = console.options.keys.word(BY_ID["edit"])
            more = f"Nothing was changed: what was read before goes on. {key} opens the file again."
            console.tell(ConsoleError(str(error), hint=f"{hint}{more}"))
            return
        fresh.select(fleet.current.cluster.name)
        self._screen.grid.look_at(marks=frozenset())
        await console.show_fleet(fresh)
        self._screen.restart_policies.attach()
        names = ", ".join(each.cluster.name for each in fresh.sessions)
        key = console.options.keys.word(BY_ID["pane-roles"])
        words = f"read again: {names}; engines that run keep what they were started with, {key} shows what differs"
        self._screen.notify(words, markup=False)
