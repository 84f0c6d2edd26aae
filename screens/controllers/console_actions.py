"""Actions of the console itself: quit, theme, terminal, freeze."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from screens.controllers.base import Commands, Controller
from screens.styled_lines import shown
from screens.themes import LOOKS
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.controllers.arrangement import Arrangement
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction
    from screens.terminal import Terminal


@dataclass(eq=False)
class ConsoleActions(Controller):
    """Nothing here is about a node."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    arrangement: Arrangement
    terminal: Terminal
    leave: Callable[[], object]
    """Ends the console."""
    suspend: Callable[[], object]
    """Goes back to the shell."""
    set_theme: Callable[[str], bool]
    """Uses a theme; gives False when there is none of that name."""

    def verbs(self) -> Verbs:
        """Keys for the whole console."""
        return {
            "quit": self.quit,
            "quit-now": self.leave,
            "interrupt": self.interaction.explain_quit,
            "suspend": self.suspend,
            "mouse": self._switch_mouse,
            "redraw": self.terminal.redraw,
            "theme": self.next_theme,
            "freeze": self.freeze,
        }

    def commands(self) -> Commands:
        """Leaving, and a theme by name."""
        return {"q": lambda rest: self.quit(), "quit": lambda rest: self.quit(), "theme": self.theme}

    def quit(self) -> None:
        """Back from a full-screen half, then from the pane to the grid, else leave; where nothing is shown, leave at once."""
        tiny = self.arrangement.tiny
        if not tiny and self.arrangement.both():
            return
        if tiny or self.arrangement.focused in (None, self.grid):
            self.interaction.unless_pasting(self.leave)
        else:
            self.arrangement.focus(self.grid)

    def theme(self, name: str) -> None:
        """Use a theme by name."""
        if not self.set_theme(name):
            self.interaction.warn(f"no theme {shown(name)!r}; press : and then Tab to see the names")

    def next_theme(self) -> None:
        """Use the next theme."""
        names = list(LOOKS)
        name = names[(names.index(self.interaction.look.name) + 1) % len(names)]
        self.set_theme(name)
        if self.interaction.look.name == name:
            self.interaction.notify(f"theme: {self.interaction.look.title}", timeout=2)

    def freeze(self) -> None:
        """Hold the screen still, or let it go on."""
        if self.fleet.freeze():
            self.interaction.notify(f"frozen at {time.strftime('%H:%M:%S')}; Z unfreezes", timeout=3)

    def _switch_mouse(self) -> None:
        now = self.terminal.switch_mouse()
        if now is not None:
            self.interaction.notify(f"mouse {'on: shift selects text' if now else 'off'}", timeout=3)
