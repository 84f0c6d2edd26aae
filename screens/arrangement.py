"""How the halves of the main screen share the room, and which of them and which tab is seen. It knows nothing of engines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from screens.panes.table import PANES
from screens.too_small import LEAST_CELLS, LEAST_ROWS
from screens.widgets import Verbs

if TYPE_CHECKING:
    from textual.widget import Widget

    from screens.main import MainScreen

WIDE = 160
"""Columns from which grid and pane stand side by side."""

SHORT = 28
"""Rows below which the header has one line and nothing divides the areas but their ground."""

SHARE = 0.5
"""The grid's part of the room, in rows at most, or of the columns where the halves stand side by side; no half is then
narrower than the narrowest terminal."""


class Arrangement:
    """Sizes and visibility; every change goes through `fit`.

    The focus is set at once, never queued: of several quick keys each must find what the one before it did.
    """

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen
        self._share: float | None = None
        """The grid's part chosen by the operator; None leaves it to its rows."""
        self._mode = ""
        self._focused: Widget | None = None
        """What had the keys before the terminal became too small for it."""

    def verbs(self) -> Verbs:
        """Keys that change the arrangement."""
        panes = {entry.action: lambda name=entry.id: self.go(name) for entry in PANES if entry.id in self._screen.panes}
        return {
            **panes,
            "pane-grid": lambda: self.only("grid-alone"),
            "full": self.full,
            "grow": lambda: self.resize(0.1),
            "shrink": lambda: self.resize(-0.1),
            "next-pane": lambda: self.turn(1),
            "previous-pane": lambda: self.turn(-1),
            "focus-next": self.other_half,
            "focus-previous": self.other_half,
            "freeze": self.freeze,
        }

    def freeze(self) -> None:
        """Hold the screen still, or let it go on."""
        screen = self._screen
        fleet = screen.console.fleet
        if fleet is not None and fleet.freeze():
            screen.notify(f"held still at {time.strftime('%H:%M:%S')}; Z goes on", markup=False, timeout=3)
        screen.draw()

    @property
    def alone(self) -> bool:
        """Whether only one half is seen."""
        return bool(self._mode)

    def only(self, mode: str) -> None:
        """Show one half alone, or both again."""
        self._mode = "" if self._mode == mode else mode
        self.fit()
        self._focus_visible()

    def both(self) -> bool:
        """Show both halves; False when they are shown already."""
        if not self._mode:
            return False
        self._mode = ""
        self.fit()
        return True

    def full(self) -> None:
        """The focused half alone."""
        self.only("grid-alone" if self._screen.focused is self._screen.grid else "pane-alone")

    def go(self, name: str) -> None:
        """Show a pane and put the keys there."""
        if self._mode == "grid-alone":
            self._mode = ""
            self.fit()
        self._screen.open_pane(name)
        self._screen.set_focus(self._screen.pane)

    def turn(self, by: int) -> None:
        """The next tab; the keys stay in the grid if they are there."""
        names = list(self._screen.panes)
        in_pane = self._screen.focused is self._screen.pane
        name = names[(names.index(self._screen.pane.id or "") + by) % len(names)]
        self._screen.open_pane(name)
        if in_pane:
            self._screen.set_focus(self._screen.pane)

    def other_half(self) -> None:
        """Keys go to the other half."""
        if self._mode:
            self.only("pane-alone" if self._mode == "grid-alone" else "grid-alone")
            return
        in_grid = self._screen.focused is self._screen.grid
        self._screen.set_focus(self._screen.pane if in_grid else self._screen.grid)

    def resize(self, by: float) -> None:
        """Give the focused half more room, or less."""
        screen = self._screen
        sign = 1 if screen.focused is screen.grid else -1
        whole = screen.size.width if screen.has_class("wide") else max(1, screen.size.height - 2)
        now = (screen.grid.size.width if screen.has_class("wide") else screen.grid.size.height) / whole
        self._share = max(0.15, min(0.85, now + sign * by))
        self.fit()

    def _focus_visible(self) -> None:
        screen = self._screen
        hidden_grid = self._mode == "pane-alone"
        if hidden_grid and screen.focused is screen.grid:
            screen.set_focus(screen.pane)
        elif self._mode == "grid-alone" and screen.focused is not screen.grid:
            screen.set_focus(screen.grid)
        screen.draw_footer()

    def _in_pane(self) -> bool:
        """Whether keys go to a pane, or did before a prompt was opened."""
        screen = self._screen
        if screen.focused is screen.grid or not screen.panes:
            return False
        return screen.focused in screen.panes.values() or screen.has_class("pane-alone")

    def _focus_again(self, before: Widget) -> None:
        """Give the keys back to what had them; where that was a pane, to the one that is open now, and where it was a prompt
        that was closed meanwhile, to the half that the prompt was opened from."""
        screen = self._screen
        if before in screen.panes.values():
            before = screen.pane
        elif before is screen.prompt.line and not screen.prompt.display:
            before = screen.pane if self._in_pane() else screen.grid
        screen.set_focus(before)

    def fit(self) -> None:
        """Apply size and mode."""
        screen = self._screen
        width, height = screen.size
        wide = width >= WIDE
        tiny = width < LEAST_CELLS or height < LEAST_ROWS
        one = height < 16 and not self._mode and not wide
        pane = self._in_pane()
        if tiny and self._focused is None:
            self._focused = screen.focused
        for name, on in (
            ("wide", wide),
            ("short", height < SHORT),
            ("tiny", tiny),
            ("grid-alone", self._mode == "grid-alone" or (one and not pane)),
            ("pane-alone", self._mode == "pane-alone" or (one and pane)),
        ):
            screen.set_class(on, name)
        if not tiny and self._focused is not None:
            screen.call_after_refresh(self._focus_again, self._focused)
            self._focused = None
        styles = screen.grid.styles
        room = height - screen.header.size.height - 1 - (height >= SHORT)
        whole = self._mode == "grid-alone" or wide
        most = room if whole else max(4, int(room * (self._share or SHARE)))
        screen.grid.give_room(most - 1)
        if whole:
            styles.height = "1fr"
            chosen = int(width * (self._share or SHARE))
            beside = max(LEAST_CELLS, min(width - 1 - LEAST_CELLS, chosen))
            styles.width = f"{beside}" if wide and not self._mode else "1fr"
            return
        styles.width = "1fr"
        wanted = len(screen.grid.rows) + 1 if self._share is None else most
        styles.height = max(3, min(most, wanted))
