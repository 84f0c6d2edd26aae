"""What reading logs needs of the whole screen: which engines are merged, and leaving the terminal to a pager or to plain text."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from console.model.errors import ConsoleError
from screens.background_work import set_off
from screens.controllers.engine_names import engines_named
from screens.external_programs import run_away, show_away
from screens.panes.log import LogPane
from screens.styled_lines import Row, fit
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen

T = TypeVar("T")

LASTS = {"1m": "minute", "5m": "5 minutes", "15m": "15 minutes", "30m": "30 minutes", "1h": "hour"}
"""What is offered of the newest part of a log; any other number of seconds, minutes or hours can be written."""
_LAST = re.compile(r"(\d{1,6})([smh])")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


class LogActions:
    """Keys and words of the command line for logs."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def verbs(self) -> Verbs:
        """Keys that need more than the log pane."""
        return {"merge": self.merge, "plain": self.plain, "last": self.moments}

    def commands(self) -> dict[str, Callable[[str], object]]:
        """Words with the rest of the line."""
        return {
            "at": self._at,
            "merge": lambda rest: self.merge(rest.replace(",", " ").split()),
            "context": self._context,
            "last": self._last,
        }

    @property
    def pane(self) -> LogPane:
        """The log pane."""
        return cast(LogPane, self._screen.panes["logs"])

    def open(self) -> LogPane:
        """Show the log pane and put the keys there."""
        self._screen.arrangement.go("logs")
        return self.pane

    def show_line(self, line: str) -> None:
        """Open the log of the engine under the cursor at a line that is known by its text."""
        pane = self.pane
        pane.several, pane.run_name = (), None
        self.open()
        pane.filter("")
        pane.call_after_refresh(pane.navigation.text, line)  # a log that is shown already is changed after a refresh

    def join(self) -> None:
        """Let the pane leave the screen to a pager."""
        self.pane.extraction.run_away = lambda words, more: self._leave(run_away(self._screen.app, words, more))

    async def _leave(self, work: Awaitable[T]) -> T:
        try:
            return await work
        finally:
            self._screen.refresh(layout=True)

    def merge(self, engines: Sequence[str] = ()) -> None:
        """Logs by time of the engines named, else of the marked ones, else of the group; pressed again, of one alone."""
        pane = self.pane
        named = engines_named(self._screen, engines)
        if named is None:
            return
        if pane.several and not engines and self._screen.focused is pane:
            pane.merge(())
            return
        chosen = named or self._of_grid()
        if len(chosen) < 2:
            self._screen.notify("one engine alone: mark several (space), or stand on a group of several", markup=False)
            return
        pane.merge(chosen)
        self.open()

    def _of_grid(self) -> tuple[str, ...]:
        grid, snapshot = self._screen.grid, self._screen.snapshot
        if grid.view.marks:
            return grid.chosen_engines()
        group = grid.target.group
        if group is None:
            here = grid.chosen_engines()
            group = snapshot.engines[here[0]].group if here else None
        return tuple(each.id for each in snapshot.engines.values() if group is not None and each.group == group)

    def _at(self, rest: str) -> None:
        self.open().navigation.clock(rest)

    def moments(self) -> None:
        """Choose where in the log to go by time."""
        rows = [
            Row(f":last {word}", ((fit(f":last {word}", 14), "key"), (f"the last {words}", "plain")))
            for word, words in LASTS.items()
        ]
        rows.insert(0, Row("end", ((fit("G", 14), "key"), ("the newest line, and follow", "plain"))))
        rows.append(Row(":last all", ((fit(":last all", 14), "key"), ("the first line", "plain"))))
        set_off(
            self._screen, "say", self._screen.lookup.offer, "Where in the log? `:at HH:MM` goes to a time of day", rows
        )

    def _last(self, rest: str) -> None:
        if rest == "all":
            self.open().navigation.to_top()
        elif (found := _LAST.fullmatch(rest)) is not None:
            self.open().navigation.last(int(found[1]) * _UNITS_S[found[2]])
        else:
            words = f"write :last and one of {' '.join(LASTS)} all"
            self._screen.notify(words, severity="warning", markup=False)

    def _context(self, rest: str) -> None:
        if not rest.isdecimal():
            self._screen.notify("write :context and a number of lines, for example :context 3", markup=False)
            return
        self.open().filters.surround(int(rest))

    def plain(self) -> None:
        """Print what is shown to the normal screen, to select by hand."""
        screen = self._screen
        text = self.pane.clipping() if screen.pane is self.pane else screen.lookup.clipping()
        set_off(screen, "away", self._plain, text)

    async def _plain(self, text: str) -> None:
        try:
            await self._leave(show_away(self._screen.app, text))
        except ConsoleError as error:
            self._screen.notify(str(error), markup=False)
