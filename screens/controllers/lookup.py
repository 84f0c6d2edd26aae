"""Everything that is read or typed rather than done: help, menus, descriptions, the command line, copying, plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from screens.actions import ACTIONS, BY_ID, PLACES, Action, Place
from screens.background_work import set_off
from screens.dialogs.base import MOST_CELLS
from screens.dialogs.picker import PickerDialog
from screens.key_map import Keys
from screens.panes.base import pointed_row
from screens.panes.log import LogPane
from screens.styled_lines import Line, Row, fit, length, shown
from screens.themes import LOOKS
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen

MENU = ("logs", "describe", "start", "stop", "restart", "kill", "assign", "previous-run", "copy")
"""What Enter on an engine offers, harmless things first."""


class Lookup:
    """Reading and typing."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def verbs(self) -> Verbs:
        """What is read or typed, by action id."""
        return {
            "help": self.help,
            "palette": self.palette,
            "quit": self.quit,
            "quit-now": self._screen.console.leave,
            "back": self.back,
            "problems": lambda: self._screen.grid.look_at(problems=not self._screen.grid.view.problems),
            "describe": self.describe,
            "logs": self.logs,
            "copy": self.copy,
            "interrupt": lambda: self._screen.notify("q quits; engines keep running", markup=False, timeout=3),
            "mouse": self._screen.console.terminal.switch_mouse,
            "theme": self.next_theme,
            "redraw": self._screen.console.terminal.redraw,
            "suspend": self._screen.console.action_suspend_process,
        }

    def help(self) -> None:
        """Every action of this place, to search and to run."""
        set_off(
            self._screen, "say", self.offer, "Help: type to search, Enter runs", self._help_rows(self._screen.place)
        )

    def palette(self) -> None:
        """Everything that can be typed after `:`, to search by any part of it."""
        screen = self._screen
        keys = screen.console.options.keys
        rows = [_action_row(each, keys) for each in ACTIONS if self._allowed(each)]
        names = {each.id for each in ACTIONS}
        rows += [
            Row(f":{words}", ((fit(":", 14), "key"), (shown(words), "plain")))
            for words in screen.command_line.words()
            if words not in names
        ]
        set_off(screen, "say", self.offer, "Type a part of what you want; Enter runs it", rows)

    def menu(self) -> None:
        """What can be done with the engine under the cursor."""
        engine = self._screen.grid.target.engine or ""
        keys = self._screen.console.options.keys
        rows = [_action_row(BY_ID[name], keys) for name in MENU if self._allowed(BY_ID[name])]
        set_off(self._screen, "say", self.offer, f"{shown(engine)}: what to do?", rows)

    def _allowed(self, action: Action) -> bool:
        return not (action.danger and self._screen.console.session.read_only)

    async def offer(self, title: str, rows: list[Row]) -> None:
        """Let one of the rows be chosen and run it; a key is an action's id, or a command line behind `:`."""
        console = self._screen.console
        foot: Line = (
            ("Enter", "key"),
            (" run  ", "dim"),
            ("esc", "key"),
            (" close  ", "dim"),
            ("q quits; engines keep running", "dim"),
        )
        chosen = await console.push_screen_wait(
            PickerDialog(
                console.look,
                console.pen,
                console.keys,
                title=((title, "title"),),
                rows=rows,
                foot=foot,
                in_full=any(length(row.line) > min(console.size.width, MOST_CELLS) - 2 for row in rows),
            )
        )
        if chosen is not None and chosen.startswith(":"):
            self._screen.command_line.command(chosen[1:])
        elif chosen is not None:
            self._screen.action_do(chosen)

    def _help_rows(self, place: Place) -> list[Row]:
        keys = self._screen.console.options.keys
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

    def show_engine(self, engine: str) -> bool:
        """Put the grid's cursor on an engine, with all rows shown where it was hidden; False when there is none."""
        grid = self._screen.grid
        if not grid.show_engine(engine):
            grid.look_at(needle="", problems=False)
            return grid.show_engine(engine)
        return True

    def logs(self) -> None:
        """The log of the engine; where a row points at a line of one, that line."""
        here = pointed_row(self._screen.focused)
        if here is not None and self.show_engine(here.engine):
            self._screen.log_actions.show_line(here.line)
        else:
            self._screen.arrangement.go("logs")

    def describe(self) -> None:
        """Exact command of the engine, or what is known of the node."""
        console = self._screen.console
        here = pointed_row(self._screen.focused)
        engine = here.engine if here is not None else self._screen.grid.target.engine
        if engine is None:
            engines = self._screen.grid.chosen_engines()
            engine = engines[0] if engines else None
        if engine is None:
            self._screen.notify("no engine here: give the node to a group first (a)", markup=False)
            return
        try:
            text = console.session.command_text(engine)
        except ConsoleError as error:
            console.tell(error)
            return
        body: list[Line] = [((shown(line), "plain"),) for line in text.splitlines()]
        console.read((("what runs as ", "plain"), (shown(engine), "bold")), body)

    def back(self) -> None:
        """One level up; it never quits."""
        screen = self._screen
        view = screen.grid.view
        if self._pane_back() or screen.arrangement.both():
            pass
        elif screen.focused is not screen.grid:
            screen.set_focus(screen.grid)
        elif view.needle or view.problems:
            screen.grid.look_at(needle="", problems=False)
        elif view.marks:
            screen.grid.look_at(marks=frozenset())

    def _pane_back(self) -> bool:
        pane = self._screen.pane
        return pane.has_focus and pane.back()

    def quit(self) -> None:
        """Back from a full-screen half, then from the pane to the grid, else leave; where nothing is shown, leave at once."""
        screen = self._screen
        tiny = screen.has_class("tiny")
        if not tiny and screen.arrangement.both():
            return
        if tiny or screen.focused in (None, screen.grid):
            screen.console.keys_are_calm(screen.console.leave)
        else:
            screen.set_focus(screen.grid)

    def copy(self) -> None:
        """The pane's text, or what stands for the row."""
        self._screen.console.copy_out(self.clipping())
        if isinstance(self._screen.focused, LogPane):
            self._screen.focused.extraction.unselect()

    def clipping(self) -> str:
        """The text of the pane when the keys go there, else what stands for the row."""
        pane = self._screen.pane
        return pane.clipping() if self._screen.focused is pane else self._row_text()

    def _row_text(self) -> str:
        target = self._screen.grid.target
        if target.engine:
            try:
                return self._screen.console.session.command_text(target.engine)
            except ConsoleError as error:
                self._screen.console.tell(error)
                return ""
        node = self._screen.snapshot.nodes.get(target.node or "")
        return f"ssh {shown(node.host)}" if node else ""

    def next_theme(self) -> None:
        """The next look."""
        console = self._screen.console
        names = list(LOOKS)
        name = names[(names.index(console.look.name) + 1) % len(names)]
        console.set_theme(name)
        if console.look.name == name:
            self._screen.notify(f"theme: {console.look.title}", markup=False, timeout=2)


def _action_row(action: Action, keys: Keys) -> Row:
    return Row(
        action.id,
        (
            (fit(keys.words(action), 13) + " ", "key"),
            (fit(action.label, 15) + " ", "danger" if action.danger else "bold"),
            (action.help, "plain"),
        ),
    )
