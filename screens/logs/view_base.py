"""The base of all views of logs: how lines are drawn, the search and its result, marks, the selection.

It knows no file. A spot is what a view calls a line: an offset in one log, or a log and an offset in a view of several.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Generic, Literal, TypeVar

from screens.logs.line_drawing import LineState, LineStyle, display_pattern
from screens.logs.patterns import LineFilter, Pattern
from screens.styled_lines import Line

S = TypeVar("S", int, tuple[int, int])


class ViewState(Generic[S]):
    """The state of a view that does not depend on how many logs it shows."""

    def __init__(self) -> None:
        self.manner = LineStyle(80)
        self.height = 1
        self.following = True
        self.sieve = LineFilter()
        self.around = 0
        """Lines shown around each that the filter keeps."""
        self.needle: Pattern | None = None
        self.hit: S | None = None
        """The line the search stands on."""
        self.marks: set[S] = set()
        self.anchor: S | None = None
        """Where the selection started; None while nothing is being selected."""
        self.cursor: S | None = None
        """The end of the selection that moves."""
        self._sub = 0
        """Rows of the line on top that are above the screen."""

    def resize(self, cells: int, height: int) -> None:
        """Take another size."""
        self.manner = replace(self.manner, cells=cells)
        self.height = max(1, height)
        self._sub = 0

    def redraw(self) -> None:
        """Lines take another number of rows from now on."""
        self._sub = 0

    def search(self, needle: Pattern | None) -> None:
        """What `n` and `N` look for."""
        self.needle = needle
        self.hit = None
        self.manner = replace(self.manner, needle=display_pattern(needle))

    def begin_selection(self, spot: S | None) -> None:
        """Select from a line on; None ends it."""
        self.anchor = self.cursor = spot

    def line_state(self, spot: S, order: object, low: object, high: object, *, near: bool = False) -> LineState:
        """What a line is to the operator; `order` is its place among the ends of the selection."""
        chosen: Literal["", "end", "within"] = ""
        if self.anchor is not None:
            chosen = "end" if spot == self.cursor else "within" if low <= order <= high else ""  # type: ignore[operator]
        return LineState(spot in self.marks, spot == self.hit, near, chosen)


class Moving(ViewState[S], ABC):
    """What the pane asks of a view to draw it and to move in it."""

    @property
    @abstractmethod
    def has_lines(self) -> bool:
        """Whether there is any line."""

    @abstractmethod
    def rows(self) -> list[Line]:
        """The rows on the screen now."""

    @abstractmethod
    def work(self) -> bool:
        """Do one small part of what is done in the background; False when there is none left."""

    @abstractmethod
    def filter(self, sieve: LineFilter, around: int = 0, hidden: Sequence[LineFilter] | None = None) -> None:
        """Show only what a sieve keeps and so many lines around each; an empty sieve shows all.

        `hidden` has for each log what leaves lines out whatever the sieve, also around others; None changes nothing of that.
        """

    @abstractmethod
    def hidden_lines(self) -> int | None:
        """How many lines are left out whatever the filter; None while they are not counted."""

    @abstractmethod
    def move(self, by: int) -> None:
        """So many rows down, or up when negative. Reaching the end means to follow again."""

    @abstractmethod
    def pause(self) -> None:
        """Stay where the reader is."""

    @abstractmethod
    def follow(self) -> None:
        """Go to the end and stay there."""

    @abstractmethod
    def go(self, spot: S, above: int = 0) -> None:
        """Put a line on the screen, `above` rows from its top."""

    @abstractmethod
    def to_top(self) -> None:
        """To the first line."""


class View(Moving[S]):
    """What the pane asks of a view's lines."""

    @abstractmethod
    def here(self) -> S | None:
        """The line the search stands on, else the one on top; None without any."""

    @abstractmethod
    def next_mark(self) -> S | None:
        """The next marked line, from the last one back to the first."""

    @abstractmethod
    def find(self, wanted: Pattern, *, forward: bool) -> Iterator[S | None]:
        """Look for a line from where the search stands, or from the screen; None after each part without one."""

    @abstractmethod
    def moment(self, words: str) -> S | None:
        """Where a moment starts: `HH:MM`, `HH:MM:SS` or `MM-DD HH:MM[:SS]`."""

    @abstractmethod
    def ago(self, seconds: float) -> S | None:
        """Where the last so many seconds start, counted from the last stamp."""

    @abstractmethod
    def step(self, spot: S, by: int) -> S:
        """The line so many lines further that is shown, or the last one that way."""

    @abstractmethod
    def seen(self) -> list[S]:
        """The lines on the screen, in order."""

    @abstractmethod
    def text(self, spot: S) -> str:
        """A line in full, safe to show and to copy."""

    @abstractmethod
    def texts(self, spots: Sequence[S]) -> list[str]:
        """Lines in full, with who wrote them where that is not plain."""

    @abstractmethod
    def kept_lines(self) -> tuple[float, int, int | None] | None:
        """How much of the logs is filtered, 0-1, how many lines are kept and how many hidden; None without a filter."""

    @abstractmethod
    def hits(self) -> tuple[int | None, int] | None:
        """Which hit the search stands on, from 1, and how many there are; None while they are not counted."""

    @abstractmethod
    def chosen(self) -> list[S]:
        """The lines that are selected, in order."""
