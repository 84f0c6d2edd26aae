"""Keys and words for a recording that is shown again: hold, step, skip, pace, seek. Elsewhere they say that there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from console.services.recordings.replay import ReplayPosition
from screens.controllers.base import Commands, Controller
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.interaction import Interaction


@dataclass(eq=False)
class ReplayControls(Controller):
    """Gives keys to the replay that is meant."""

    interaction: Interaction
    fleet: Fleet

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

    def commands(self) -> Commands:
        """A time to go to."""
        return {"seek": self.seek}

    def seek(self, clock: str) -> None:
        """To a clock time of the recording."""

        def go(tape: ReplayPosition) -> None:
            if not tape.seek(clock):
                self.interaction.warn("the recording has no such time; :seek HH:MM:SS")

        self._do(go)

    def _do(self, act: Callable[[ReplayPosition], None]) -> None:
        position = self.fleet.replay
        if position is None:
            self.interaction.notify("this is not a replay; --replay FILE opens one")
            return
        try:
            act(position)
        except ConsoleError as error:
            self.interaction.tell(error)
