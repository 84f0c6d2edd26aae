"""Actions that read or copy the row under the cursor, and the action `back`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from screens.controllers.base import Controller
from screens.styled_lines import Line, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.controllers.arrangement import Arrangement
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction
    from screens.panes.log import LogPane
    from screens.panes.table import Panes


@dataclass(eq=False)
class Lookup(Controller):
    """Reading and copying."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    arrangement: Arrangement
    panes: Panes
    log: LogPane
    show_log_line: Callable[[str], None]
    """Opens the log of the engine under the cursor at the line with this text."""

    def verbs(self) -> Verbs:
        """Keys that show or copy something."""
        return {
            "back": self.back,
            "problems": lambda: self.grid.look_at(problems=not self.grid.view.problems),
            "describe": self.describe,
            "logs": self.logs,
            "copy": self.copy,
            "plain": self.plain,
        }

    def show_engine(self, engine: str) -> bool:
        """Put the grid's cursor on an engine, with all rows shown where it was hidden; False when there is none."""
        grid = self.grid
        if not grid.show_engine(engine):
            grid.look_at(needle="", problems=False)
            return grid.show_engine(engine)
        return True

    def logs(self) -> None:
        """The log of the engine; where a row points at a line of one, that line."""
        here = self.arrangement.pointed
        if here is not None and self.show_engine(here.engine):
            self.show_log_line(here.line)
        else:
            self.arrangement.go("logs")

    def describe(self) -> None:
        """Exact command of the engine, or what is known of the node."""
        here = self.arrangement.pointed
        engine = here.engine if here is not None else self.grid.target.engine
        if engine is None:
            engines = self.grid.chosen_engines()
            engine = engines[0] if engines else None
        if engine is None:
            self.interaction.notify("no engine here; press a to assign the node to a group")
            return
        try:
            text = self.fleet.session.command_text(engine)
        except ConsoleError as error:
            self.interaction.tell(error)
            return
        body: list[Line] = [((shown(line), "plain"),) for line in text.splitlines()]
        self.interaction.read((("what runs as ", "plain"), (shown(engine), "bold")), body)

    def back(self) -> None:
        """One level up; it never quits."""
        view = self.grid.view
        if self._pane_back() or self.arrangement.both():
            pass
        elif self.arrangement.focused is not self.grid:
            self.arrangement.focus(self.grid)
        elif view.needle or view.problems:
            self.grid.look_at(needle="", problems=False)
        elif view.marks:
            self.grid.look_at(marks=frozenset())

    def _pane_back(self) -> bool:
        pane = self.panes.current
        return pane.has_focus and pane.back()

    def copy(self) -> None:
        """The pane's text, or what stands for the row."""
        self.interaction.copy_out(self._clipping())
        if self.arrangement.focused is self.log:
            self.log.extraction.unselect()

    def plain(self) -> None:
        """Print what is shown to the normal screen, to select by hand."""
        text = self.log.clipping() if self.panes.current is self.log else self._clipping()
        self.interaction.start("away", self._plain, text)

    async def _plain(self, text: str) -> None:
        try:
            await self.interaction.print_plain(text)
        except ConsoleError as error:
            self.interaction.notify(str(error))

    def _clipping(self) -> str:
        """The text of the pane when the keys go there, else what stands for the row."""
        pane = self.panes.current
        return pane.clipping() if self.arrangement.focused is pane else self._row_text()

    def _row_text(self) -> str:
        target = self.grid.target
        if target.engine:
            try:
                return self.fleet.session.command_text(target.engine)
            except ConsoleError as error:
                self.interaction.tell(error)
                return ""
        node = self.fleet.snapshot.nodes.get(target.node or "")
        return f"ssh {shown(node.host)}" if node else ""
