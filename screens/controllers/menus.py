"""Lists of actions and commands to search; the chosen one runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from screens.actions import ACTIONS, BY_ID, PLACES, Action, Place
from screens.controllers.base import Controller
from screens.key_map import Keys
from screens.styled_lines import Line, Row, fit, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.controllers.arrangement import Arrangement
    from screens.controllers.command_line import CommandLine
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction

MENU = ("logs", "describe", "start", "stop", "restart", "kill", "assign", "previous-run", "copy")
"""What Enter on an engine offers, harmless things first."""


@dataclass(eq=False)
class Menus(Controller):
    """Help for the place where keys go, everything that can be typed, and what an engine can be asked for."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    arrangement: Arrangement
    command_line: CommandLine
    do_action: Callable[[str], object]
    """Runs an action by its id."""

    def verbs(self) -> Verbs:
        """Keys that open a list."""
        return {"help": self.help, "palette": self.palette}

    def help(self) -> None:
        """Every action of this place, to search and to run."""
        self.offer("Help: type to search, Enter runs", self._help_rows(self.arrangement.place))

    def palette(self) -> None:
        """Everything that can be typed after `:`, to search by any part of it."""
        keys = self.interaction.keys
        rows = [_action_row(each, keys) for each in ACTIONS if self._allowed(each)]
        rows += [
            Row(f":{words}", ((fit(":", 14), "key"), (shown(words), "plain")))
            for words in self.command_line.words()
            if words not in BY_ID
        ]
        self.offer("Type a part of what you want; Enter runs it", rows)

    def menu(self) -> None:
        """What can be done with the engine under the cursor."""
        engine = self.grid.target.engine or ""
        rows = [_action_row(BY_ID[name], self.interaction.keys) for name in MENU if self._allowed(BY_ID[name])]
        self.offer(f"{shown(engine)}: what to do?", rows)

    def _allowed(self, action: Action) -> bool:
        return not (action.danger and self.fleet.session.read_only)

    def offer(self, title: str, rows: Sequence[Row]) -> None:
        """Let one of the rows be chosen and run it; a key is an action's id, or a command line behind `:`."""
        self.interaction.start("say", self._offer, title, rows)

    async def _offer(self, title: str, rows: Sequence[Row]) -> None:
        foot: Line = (
            ("Enter", "key"),
            (" run  ", "dim"),
            ("esc", "key"),
            (" close  ", "dim"),
            ("q quits; engines keep running", "dim"),
        )
        chosen = await self.interaction.choose(((title, "title"),), rows, foot, in_full=True)
        if chosen is not None and chosen.startswith(":"):
            self.command_line.command(chosen[1:])
        elif chosen is not None:
            self.do_action(chosen)

    def _help_rows(self, place: Place) -> list[Row]:
        keys = self.interaction.keys
        rows: list[Row] = []
        for where in (
            place,
            "everywhere",
            *(each for each in PLACES if each not in (place, "everywhere")),
        ):
            actions = [each for each in ACTIONS if where in each.where and self._allowed(each)]
            if where not in (place, "everywhere"):
                actions = [each for each in actions if place not in each.where]
            if actions:
                rows.append(Row(f"-{where}", ((PLACES[where], "title under"),)))
                rows.extend(_action_row(each, keys) for each in actions)
        return rows


def _action_row(action: Action, keys: Keys) -> Row:
    return Row(
        action.id,
        (
            (fit(keys.words(action), 13) + " ", "key"),
            (fit(action.label, 15) + " ", "warn" if action.danger else "bold"),
            (action.help, "plain"),
        ),
    )
