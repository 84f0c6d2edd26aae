"""Changes of a deployment that goes on serving: more or fewer groups, a restart in turn, a proxy set right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from console.model.deployment import engine_words
from screens.controllers.engine_names import engines_named
from screens.panes.roles import RolePane
from screens.panes.verify import VerifyPane
from screens.styled_lines import shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen

_SCALE = "scale GROUP COUNT [NODE…]: so many groups like it serve afterwards"


class LiveChanges:
    """What is asked for here is worked out by the operator of the session; nothing happens before its plan is confirmed."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def verbs(self) -> Verbs:
        """Keys that lead to such a plan."""
        return {"rolling": self.roll, "sync-proxy": self.sync_proxy, "scale": self.scale_here}

    def commands(self) -> Mapping[str, Callable[[Sequence[str]], object]]:
        """What can be typed with names behind it, by action id."""
        return {"scale": self.scale, "rolling": self.roll, "verify": self.verify}

    def roll(self, engines: Sequence[str] = ()) -> None:
        """Restart the groups of these engines, or of the chosen ones, one after another."""
        named = engines_named(self._screen, engines)
        if named is None:
            return
        chosen = named or self._screen.grid.chosen_engines()
        if not chosen:
            self._warn("no engine here: mark some, or name them")
            return
        operator = self._screen.console.session.operator
        marks = frozenset() if engines else self._screen.grid.view.marks
        words = f"{engine_words(chosen)} and the rest of their groups"
        self._screen.engine_acts.offer(
            "restart", words, lambda: operator.prepare("restart", chosen, in_turn=True), marks=marks
        )

    def sync_proxy(self) -> None:
        """Have the proxy list exactly what is ready."""
        operator = self._screen.console.session.operator
        self._screen.engine_acts.offer("sync-proxy", "the proxy", operator.prepare_proxy_sync)

    def verify(self, words: Sequence[str]) -> None:
        """Ask these words in chats through the endpoint."""
        pane = self._screen.panes["verify"]
        assert isinstance(pane, VerifyPane)
        self._screen.arrangement.go("verify")
        pane.begin(" ".join(words))

    def scale(self, words: Sequence[str]) -> None:
        """Have so many groups like one of the layout."""
        if len(words) < 2 or not (words[1].isascii() and words[1].isdecimal() and len(words[1]) < 5):
            self._warn(_SCALE)
            return
        group, count, nodes = words[0], int(words[1]), tuple(words[2:])
        operator = self._screen.console.session.operator
        self._screen.engine_acts.offer(
            "scale", f"{group} to {count}", lambda: operator.prepare_scale(group, count, nodes)
        )

    def scale_here(self) -> None:
        """Begin the command with the group under the cursor and one more than there are."""
        pane = self._screen.panes["roles"]
        assert isinstance(pane, RolePane)
        deployment = self._screen.console.session.deployment
        group = deployment.like(pane.group_here or "")
        count = 1 + sum(like == group for like in deployment.copies.values())
        self._screen.command_line.begin(f"scale {group} {count + 1}" if group else "scale ")

    def _warn(self, words: str) -> None:
        self._screen.notify(shown(words), severity="warning", markup=False)
