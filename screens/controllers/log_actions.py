"""The keys and commands of logs: they choose the merged engines, and the shown line, time or run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from screens.controllers.base import Commands, Controller, engines_named
from screens.styled_lines import Row, fit
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.controllers.arrangement import Arrangement
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction
    from screens.panes.log import LogPane

LASTS = {"1m": "minute", "5m": "5 minutes", "15m": "15 minutes", "30m": "30 minutes", "1h": "hour"}
"""What is offered of the newest part of a log; any other number of seconds, minutes or hours can be written."""
_LAST = re.compile(r"(\d{1,6})([smh])")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(eq=False)
class LogActions(Controller):
    """Keys and words of the command line for logs."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    arrangement: Arrangement
    pane: LogPane
    offer: Callable[[str, Sequence[Row]], object]
    """Lets one of these rows, actions or commands, be chosen and runs it."""
    pin: Callable[[str], None]
    """Gives the pane another engine than the one under the cursor, with the next `follow_cursor`."""
    follow_cursor: Callable[[], None]

    def verbs(self) -> Verbs:
        """Keys that need more than the log pane."""
        return {"merge": self.merge, "last": self.moments}

    def commands(self) -> Commands:
        """Places in a log, and logs together."""
        return {
            "at": self._at,
            "merge": self.merge,
            "context": self._context,
            "last": self._last,
        }

    def open(self) -> LogPane:
        """Show the log pane and put the keys there."""
        self.arrangement.go("logs")
        return self.pane

    def show_line(self, line: str) -> None:
        """Open the log of the engine under the cursor at a line that is known by its text."""
        pane = self.pane
        pane.several, pane.run_name = (), None
        self.open()
        pane.filter("")
        pane.call_after_refresh(pane.navigation.text, line)  # a log that is shown already is changed after a refresh

    def show_run(self, engine: str, run: str) -> None:
        """Show the log of a run until the cursor of the grid moves."""
        self.pin(engine)
        self.open().run_name = run
        self.follow_cursor()

    def merge(self, engines: str = "") -> None:
        """Logs by time of the engines named, else of the marked ones, else of the group; pressed again, of one alone."""
        pane = self.pane
        named = engines_named(self.interaction, self.fleet, engines)
        if named is None:
            return
        if pane.several and not engines and self.arrangement.focused is pane:
            pane.merge(())
            return
        chosen = named or self._of_grid()
        if len(chosen) < 2:
            self.interaction.notify("only one engine here: mark several with space, or select a group of several")
            return
        pane.merge(chosen)
        self.open()

    def _of_grid(self) -> tuple[str, ...]:
        grid, snapshot = self.grid, self.fleet.snapshot
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
        self.offer("Where in the log? `:at HH:MM` goes to a time of day", rows)

    def _last(self, rest: str) -> None:
        if rest == "all":
            self.open().navigation.to_top()
        elif (found := _LAST.fullmatch(rest)) is not None:
            self.open().navigation.last(int(found[1]) * _UNITS_S[found[2]])
        else:
            self.interaction.warn(f"write :last and one of {' '.join(LASTS)} all")

    def _context(self, rest: str) -> None:
        if not rest.isdecimal():
            self.interaction.notify("write :context and a number of lines, for example :context 3")
            return
        self.open().filters.surround(int(rest))
