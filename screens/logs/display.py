"""How the log pane draws lines: wrapped, numbered, folded, with times, scrolled sideways. The content stays the same."""

from __future__ import annotations

from dataclasses import replace

from screens.logs.line_drawing import STAMPS, Stamps
from screens.logs.merged import Merged
from screens.logs.view import LogView
from screens.widgets import Verbs

SIDEWAYS = 16
"""Cells that one key moves a long line by."""
_STAMP_WORDS: dict[Stamps, str] = {
    "short": "time, level and rank",
    "written": "as written",
    "hidden": "hidden",
    "age": "age of the line",
    "since": "since the log started",
}


class Display:
    """Keys that change only how lines look."""

    def __init__(self, view: LogView) -> None:
        self._view = view

    def verbs(self) -> Verbs:
        """Wrap, numbers, fold, times, sideways."""
        return {
            "wrap": self.wrap,
            "numbers": self.number,
            "fold": self.fold,
            "stamps": self.next_stamps,
            "left": lambda: self.sideways(-SIDEWAYS),
            "right": lambda: self.sideways(SIDEWAYS),
        }

    def wrap(self) -> None:
        """Break long lines, or cut them."""
        self._view.wrapped = not self._view.wrapped
        self._apply()

    def number(self) -> None:
        """Line numbers on or off."""
        view = self._view.window
        self._view.numbers = not (view.manner.numbered if view is not None else self._view.numbers)
        self._apply()

    def _apply(self) -> None:
        view = self._view.window
        if view is not None:
            numbers = False if isinstance(view, Merged) else self._view.numbers
            left = 0 if self._view.wrapped else view.manner.left
            view.manner = replace(view.manner, numbers=numbers, wrapped=self._view.wrapped, left=left)
            view.redraw()
            self._view.draw()

    def fold(self) -> None:
        """Equal lines of ranks as one, or each by itself."""
        view = self._view.window
        if not isinstance(view, Merged):
            self._view.notify("only merged logs fold; M merges the ranks of the group", markup=False)
            return
        self._view.folded = not self._view.folded
        view.fold(self._view.folded)
        self._view.draw()
        self._view.tell()

    def next_stamps(self) -> None:
        """The next way to show times."""
        self._view.time_stamps(STAMPS[(STAMPS.index(self._view.stamps) + 1) % len(STAMPS)])
        self._view.notify(f"head of lines: {_STAMP_WORDS[self._view.stamps]}", markup=False, timeout=2)
        self._view.draw()

    def sideways(self, by: int) -> None:
        """Move the cut at the left."""
        view = self._view.window
        if view is not None and not self._view.wrapped:
            view.manner = replace(view.manner, left=max(0, view.manner.left + by))
            self._view.draw()
