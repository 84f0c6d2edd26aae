"""Moves in a log: by rows and pages, to the ends, times, line numbers, search results, errors and marks."""

from __future__ import annotations

import asyncio
import time

from screens.background_work import set_off
from screens.logs.patterns import ERRORS, WARNINGS, Pattern, literal, pattern
from screens.logs.view import REST_S, SLICE_S, LogView
from screens.logs.window import Window
from screens.widgets import Verbs

FARTHEST = 5000
"""Lines that a selection may have, and that one key may move its end by."""


class Navigation:
    """Keys that move, and what the command line asks of them."""

    def __init__(self, view: LogView) -> None:
        self._view = view

    def verbs(self) -> Verbs:
        """Moves, moments, hits, marks."""
        page = max(1, self._view.size.height - 1)
        return {
            "up": lambda: self.move(-1),
            "down": lambda: self.move(1),
            "page-up": lambda: self.move(-page),
            "space-up": lambda: self.move(-page),
            "page-down": lambda: self.move(page),
            "space-down": lambda: self.move(page),
            "half-up": lambda: self.move(-(page + 1) // 2),
            "half-down": lambda: self.move((page + 1) // 2),
            "top": self.to_top,
            "end": self.to_end,
            "follow": self.follow,
            "next-hit": lambda: self.seek(None, forward=True),
            "previous-hit": lambda: self.seek(None, forward=False),
            "next-error": lambda: self.seek(ERRORS, forward=True),
            "previous-error": lambda: self.seek(ERRORS, forward=False),
            "next-warning": lambda: self.seek(WARNINGS, forward=True),
            "previous-warning": lambda: self.seek(WARNINGS, forward=False),
            "mark-line": self.mark,
            "next-mark": self.next_mark,
        }

    def move(self, by: int) -> None:
        """So many rows; while selecting, so many lines."""
        view = self._view.window
        if view is None:
            return
        if view.cursor is not None:
            view.cursor = view.step(view.cursor, by)
            if view.cursor not in view.seen()[:-1]:
                view.go(view.cursor, above=view.height - 2 if by > 0 else 0)
        else:
            view.move(by)
        self._drawn()

    def to_top(self) -> None:
        """To the first line."""
        if (view := self._view.window) is None:
            return
        if view.cursor is not None:
            self.move(-FARTHEST)
            return
        view.to_top()
        self._drawn()

    def to_end(self) -> None:
        """To the end, and stay there."""
        if (view := self._view.window) is None:
            return
        if view.cursor is not None:
            self.move(FARTHEST)
            return
        view.follow()
        self._drawn()

    def follow(self) -> None:
        """Follow or pause."""
        view = self._view.window
        if view is not None and view.following:
            view.pause()
            self._view.tell()
        else:
            self.to_end()

    def _drawn(self) -> None:
        self._view.draw()
        self._view.tell()

    def go_to(self, spot: object, otherwise: str) -> None:
        """Put a line on the screen, or say why not."""
        view = self._view.window
        if view is None or spot is None:
            self._view.notify(otherwise, markup=False)
            return
        if view.cursor is not None:
            view.cursor = spot
        view.hit = spot
        view.go(spot)
        self._drawn()

    def last(self, seconds: float) -> None:
        """To where the last so many seconds of the log begin."""
        view = self._view.window
        self.go_to(view.ago(seconds) if view else None, "the log bears no time stamps")

    def line(self, number: int) -> None:
        """To a line by its number."""
        view = self._view.window
        if not isinstance(view, Window):
            self._view.notify("merged logs have no line numbers; M shows one log alone", markup=False)
            return
        self.go_to(view.count.start_of_line(number), f"no line {number}, or not counted yet")

    def text(self, words: str) -> None:
        """To the last line with exactly this text."""
        view = self._view.window
        if view is not None and words:
            view.hit = None
            self._hunt(literal(words), forward=False, otherwise="that line is not in the log here; e goes to errors")

    def clock(self, words: str) -> None:
        """To a time of day by the node's clock."""
        view = self._view.window
        self.go_to(view.moment(words) if view else None, f"no line at {words}; write HH:MM, HH:MM:SS or MM-DD HH:MM")

    def mark(self) -> None:
        """Mark the line the search stands on, else the one on top; again takes the mark away."""
        view = self._view.window
        if view is not None and (here := view.here()) is not None:
            view.marks ^= {here}
            self._view.draw()

    def next_mark(self) -> None:
        """To the next marked line."""
        view = self._view.window
        self.go_to(view.next_mark() if view else None, "no marked line; m marks")

    def look_for(self, text: str) -> None:
        """Search; empty ends it."""
        view = self._view.window
        if view is None:
            return
        view.search(pattern(text) if text else None)
        self._view.draw()
        if text:
            self.seek(None, forward=True)
        self._view.tick()

    def seek(self, wanted: Pattern | None, *, forward: bool) -> None:
        """Go to the next or previous line that has the pattern; without one, what was searched for last."""
        view = self._view.window
        if view is None:
            return
        looked_for = wanted or view.needle
        if looked_for is None:
            self._view.notify("no search yet; / starts one", markup=False)
            return
        where = "below" if forward else "above"
        self._hunt(looked_for, forward=forward, otherwise=f"no more {looked_for.text} {where}")

    def _hunt(self, wanted: Pattern, *, forward: bool, otherwise: str) -> None:
        set_off(self._view, "seek", self._seek, wanted, forward, otherwise)

    async def _seek(self, wanted: Pattern, forward: bool, otherwise: str) -> None:
        view = self._view.window
        assert view is not None
        until = time.perf_counter() + SLICE_S
        for found in view.find(wanted, forward=forward):
            if view is not self._view.window:
                return
            if found is not None:
                view.hit = found
                if view.cursor is not None:
                    view.cursor = found
                view.go(found, above=view.height // 3)
                self._drawn()
                return
            if time.perf_counter() > until:
                await asyncio.sleep(REST_S)
                until = time.perf_counter() + SLICE_S
        self._view.notify(otherwise, markup=False)
