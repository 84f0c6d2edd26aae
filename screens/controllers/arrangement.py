"""Divides the main screen between its halves, and decides which half and which tab is shown. Does not know engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from textual.screen import Screen
from textual.widget import Widget

from screens.controllers.base import Controller
from screens.panes.base import PointedRow, pointed_row
from screens.panes.table import PANES, Panes
from screens.too_small import LEAST_CELLS, LEAST_ROWS
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.actions import Place
    from screens.grid.grid import Grid

WIDE = 160
"""Columns from which grid and pane stand side by side."""

SHORT = 28
"""Rows below which the header has one line and nothing divides the areas but their ground."""

SHARE = 0.5
"""The grid's part of the room, in rows at most, or of the columns where the halves stand side by side; no half is then
narrower than the narrowest terminal."""


class Arrangement(Controller):
    """Sizes, visibility and focus; every change of a size goes through `fit`.

    The focus is set at once, never queued: of several quick keys each must find what the one before it did.
    """

    def __init__(
        self, screen: Screen[None], grid: Grid, panes: Panes, header: Widget, on_focus: Callable[[], None]
    ) -> None:
        """`header` is above the halves; `on_focus` is called when another half has been made the only one."""
        self._screen = screen
        self._grid = grid
        self._panes = panes
        self._header = header
        self._on_focus = on_focus
        self._share: float | None = None
        """The grid's part chosen by the operator; None leaves it to its rows."""
        self._mode = ""
        self._focused: Widget | None = None
        """What had the keys before the terminal became too small for it."""

    def verbs(self) -> Verbs:
        """Keys that change the arrangement."""
        panes = {entry.action: lambda name=entry.id: self.go(name) for entry in PANES}
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
        }

    @property
    def focused(self) -> Widget | None:
        """What has the keys."""
        return self._screen.focused

    @property
    def place(self) -> Place:
        """Where keys go."""
        return cast("Place", getattr(self.focused, "place", "grid"))

    @property
    def pointed(self) -> PointedRow | None:
        """What operations are for while keys go to a pane; None where they are for the grid's rows."""
        return pointed_row(self.focused)

    @property
    def tiny(self) -> bool:
        """Whether the terminal is too small to show anything."""
        return self._screen.has_class("tiny")

    def focus(self, widget: Widget) -> None:
        """Give the keys to the grid or a pane."""
        self._screen.set_focus(widget)

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
        self.only("grid-alone" if self.focused is self._grid else "pane-alone")

    def go(self, name: str) -> None:
        """Show a pane and put the keys there."""
        if self._mode == "grid-alone":
            self._mode = ""
            self.fit()
        self._panes.open(name)
        self.focus(self._panes.current)

    def turn(self, by: int) -> None:
        """The next tab; the keys stay in the grid if they are there."""
        names = list(self._panes)
        in_pane = self.focused is self._panes.current
        self._panes.open(names[(names.index(self._panes.opened) + by) % len(names)])
        if in_pane:
            self.focus(self._panes.current)

    def other_half(self) -> None:
        """Keys go to the other half."""
        if self._mode:
            self.only("pane-alone" if self._mode == "grid-alone" else "grid-alone")
            return
        self.focus(self._panes.current if self.focused is self._grid else self._grid)

    def resize(self, by: float) -> None:
        """Give the focused half more room, or less."""
        screen, grid = self._screen, self._grid
        sign = 1 if self.focused is grid else -1
        whole = screen.size.width if screen.has_class("wide") else max(1, screen.size.height - 2)
        now = (grid.size.width if screen.has_class("wide") else grid.size.height) / whole
        self._share = max(0.15, min(0.85, now + sign * by))
        self.fit()

    def _focus_visible(self) -> None:
        if self._mode == "pane-alone" and self.focused is self._grid:
            self.focus(self._panes.current)
        elif self._mode == "grid-alone" and self.focused is not self._grid:
            self.focus(self._grid)
        self._on_focus()

    def _in_pane(self) -> bool:
        """Whether keys go to a pane, or did before a prompt was opened."""
        if self.focused is self._grid or not self._panes:
            return False
        return self.focused in self._panes.values() or self._screen.has_class("pane-alone")

    def _focus_again(self, before: Widget) -> None:
        """Give the keys back to what had them; where that was a pane, to the one that is open now, and where it was a prompt
        that was closed meanwhile, to the half that the prompt was opened from."""
        if before in self._panes.values():
            before = self._panes.current
        elif before is not self._grid and not all(each.display for each in before.ancestors_with_self):
            before = self._panes.current if self._in_pane() else self._grid
        self.focus(before)

    def fit(self) -> None:
        """Apply size and mode."""
        screen, grid = self._screen, self._grid
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
        styles = grid.styles
        room = height - self._header.size.height - 1 - (height >= SHORT)
        whole = self._mode == "grid-alone" or wide
        most = room if whole else max(4, int(room * (self._share or SHARE)))
        grid.give_room(most - 1)
        if whole:
            styles.height = "1fr"
            chosen = int(width * (self._share or SHARE))
            beside = max(LEAST_CELLS, min(width - 1 - LEAST_CELLS, chosen))
            styles.width = f"{beside}" if wide and not self._mode else "1fr"
            return
        styles.width = "1fr"
        wanted = len(grid.rows) + 1 if self._share is None else most
        styles.height = max(3, min(most, wanted))
