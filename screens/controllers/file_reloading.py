"""Reads the files again while the console is open. If they have errors, it shows the errors and keeps the old files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from console.services.placement.layout_choice import fits
from console.services.placement.layout_files import layout_argument
from screens.controllers.base import Commands, Controller
from screens.fleet import uniquely_named
from screens.styled_lines import Line, Row, fit, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction
    from screens.startup import ReadAgain


@dataclass(eq=False)
class FileReloading(Controller):
    """Cluster files and layouts are read as at the start; roles stay as they are on the screen."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    read: ReadAgain | None
    """Reads the files again; None where there is no file."""
    offer: Callable[[str, Sequence[Row]], object]
    """Lets one of these rows, actions or commands, be chosen and runs it."""
    on_reload: Callable[[], None]
    """Called when other sessions are shown."""

    def verbs(self) -> Verbs:
        """The one key of it."""
        return {"reload": self.reload}

    def commands(self) -> Commands:
        """A layout by name or file; without one, what there is to choose from."""
        return {"layout": self.layout}

    def reload(self) -> None:
        """Read the files again; refused while something runs from here."""
        if not self.refused():
            self.interaction.start("reload", self.read_again, {})

    def refused(self) -> bool:
        """Whether the files cannot take effect now; says why."""
        if self.fleet.acting or self.fleet.measuring:
            key = self.interaction.key("reload")
            self.interaction.warn(f"something runs from here; {key} reads the files again when that has ended")
            return True
        if self.read is None:
            self.interaction.warn("this cluster was not opened from a file")
            return True
        return False

    def layout(self, name: str) -> None:
        """Mean this layout, shipped or a file, for the cluster that is meant; without a name, offer those that are shipped."""
        if name and not self.refused():
            cluster = self.fleet.session.cluster.name
            self.interaction.start("reload", self.read_again, {cluster: name}, True)
        elif not name:
            self.offer_layouts()

    def offer_layouts(self) -> None:
        """The shipped layouts, those first that the cluster can carry."""
        cluster = self.fleet.session.cluster
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
        none = "" if self.fleet.session.deployment.layout.chosen else "no layout is chosen; "
        title = f"{shown(cluster.name)}: {none}choose one. esc: go on without; your own file: :layout FILE"
        self.offer(title, rows)

    async def read_again(self, layouts: Mapping[str, str], anew: bool = False) -> None:
        """Take the files as they are now; `layouts` are other ones to be read instead, by cluster.

        With `anew` roles are not taken along to those: they are what was kept for the cluster with that layout.
        """
        fleet = self.fleet
        assert self.read is not None, "asked for only where there is a file"
        chosen = [each for each in fleet.sessions if each.deployment.layout.chosen]
        held = {
            each.cluster.name: each.deployment.assignment
            for each in chosen
            if not (anew and each.cluster.name in layouts)
        }
        meant = {each.cluster.name: layout_argument(each.deployment.layout) for each in chosen}
        try:
            fresh = uniquely_named(self.read(held, {**meant, **layouts}))
        except ConsoleError as error:
            hint = f"{error.hint}\n" if error.hint else ""
            key = self.interaction.key("edit")
            more = f"The earlier settings stay in use; {key} opens the file again."
            self.interaction.tell(ConsoleError(str(error), hint=f"{hint}{more}"))
            return
        self.grid.look_at(marks=frozenset())
        await fleet.show(fresh)
        self.on_reload()
        names = ", ".join(each.cluster.name for each in fleet.sessions)
        key = self.interaction.key("pane-roles")
        self.interaction.notify(
            f"read again: {names}; engines that run keep what they were started with, {key} shows what differs"
        )
