"""Keys and words for a recording that is shown again: hold, step, skip, pace, seek. Elsewhere they say that there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from console.services.recordings.replay import Replay, ReplayPosition
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen


class ReplayControls:
    """Gives keys to the replay that is meant."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def verbs(self) -> Verbs:
        """Time controls."""
        return {
            "replay-hold": lambda: self._do(ReplayPosition.hold),
            "replay-back": lambda: self._do(lambda tape: tape.step(-1)),
            "replay-on": lambda: self._do(lambda tape: tape.step(1)),
            "replay-minute-back": lambda: self._do(lambda tape: tape.skip(-60.0)),
            "replay-minute-on": lambda: self._do(lambda tape: tape.skip(60.0)),
            "replay-faster": lambda: self._do(ReplayPosition.faster),
        }

    def seek(self, clock: str) -> None:
        """To a clock time of the recording."""

        def go(tape: ReplayPosition) -> None:
            if not tape.seek(clock):
                self._screen.notify("the recording has no such time; :seek HH:MM:SS", severity="warning", markup=False)

        self._do(go)

    def words(self) -> str:
        """Where the replay is; empty where there is none."""
        fleet = self._screen.console.fleet
        return fleet.current.tape.words if fleet is not None and isinstance(fleet.current, Replay) else ""

    def _do(self, act: Callable[[ReplayPosition], None]) -> None:
        session = self._screen.console.session
        if not isinstance(session, Replay):
            self._screen.notify("this is no replay; one starts with --replay FILE", markup=False)
            return
        try:
            act(session.tape)
        except ConsoleError as error:
            self._screen.console.tell(error)
