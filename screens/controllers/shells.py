"""A shell in this terminal on the node under the cursor, or in its engine's container. The screen comes back when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from screens.background_work import set_off
from screens.external_programs import run_away
from screens.styled_lines import shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen

LOST = 255
"""`ssh` ends so when the connection failed or was lost (ssh(1), exit status)."""


class Shells:
    """One at a time, for the terminal is one."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def verbs(self) -> Verbs:
        """The key that opens it."""
        return {"shell": self.open}

    def open(self) -> None:
        """Give the terminal to a shell; links stay open, so the screen is up to date when the shell ends."""
        set_off(self._screen, "away", self._open)

    async def _open(self) -> None:
        screen = self._screen
        target = screen.grid.target
        if target.node is None:
            screen.notify("no node here", severity="warning", markup=False)
            return
        try:
            words = screen.console.session.shell(target.node, target.engine)
            code = await run_away(screen.app, words, {})
        except ConsoleError as error:
            screen.console.tell(error)
            return
        finally:
            screen.refresh(layout=True)
        if code == LOST:
            screen.notify(f"ssh to {shown(target.node)} ended with {LOST}: no connection, or it was lost", markup=False)
