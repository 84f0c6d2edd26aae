"""The base of all panes: the data that a pane gets, and the methods that it must have. A pane asks no node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from screens.key_map import Keys
from screens.pane_moment import PaneMoment
from screens.styled_lines import Line
from screens.widgets import ListWidget, Verbs

if TYPE_CHECKING:
    from console.model.snapshot import WrittenIn


@dataclass(frozen=True, slots=True)
class PointedRow:
    """An engine that a row of a pane is about, a line of its log, and a line of the file to fix it in."""

    engine: str
    line: str
    file: WrittenIn = ""
    file_line: int = 0
    others: tuple[str, ...] = ()
    """Further engines that the row stands for."""


def pointed_row(widget: object) -> PointedRow | None:
    """What operations are for while keys go to this widget; None where they are for the grid's rows."""
    return widget.pointed if isinstance(widget, Pane) else None


class Pane(ListWidget):
    """A pane that is a list of lines made from the moment; subclasses write `draw_moment`."""

    with_cursor = False
    margin = 1

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.moment: PaneMoment | None = None
        self.needle = ""
        self.keys = Keys()
        self.on_title: Callable[[], None] = lambda: None

    def verbs(self) -> Verbs:
        """Moves, and folding."""
        return {**super().verbs(), "unfold": self.unfold}

    def unfold(self) -> bool:
        """Show what the row under the cursor stands for, or hide it again; False where nothing unfolds."""
        return False

    def take(self, moment: PaneMoment) -> None:
        """Draw another moment."""
        self.moment = moment
        self.draw_moment(moment)

    def draw_moment(self, moment: PaneMoment) -> None:
        """Fill the list; for subclasses."""

    def on_resize(self) -> None:
        """Another width breaks texts elsewhere; a pane that was hidden learns its width here."""
        if self.moment is not None:
            self.draw_moment(self.moment)
        super().on_resize()

    @property
    def pointed(self) -> PointedRow | None:
        """What the row under the pane's own cursor is about; for subclasses that have one."""
        return None

    def title(self) -> Line:
        """The name of what it shows, counts and state; what is dim is shortened first."""
        return ()

    def look_for(self, text: str) -> None:
        """Show only rows that have this text."""
        self.needle = text
        if self.moment is not None:
            self.draw_moment(self.moment)

    def back(self) -> bool:
        """One level up inside the pane; False when it is at its top."""
        if not self.needle:
            return False
        self.look_for("")
        return True

    def clipping(self) -> str:
        """What `y` copies."""
        from screens.styled_lines import plain

        return "\n".join(plain(row.line).rstrip() for row in self.rows)
