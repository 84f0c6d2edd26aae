"""Changes a deployment while it serves: more or fewer groups, a rolling restart, a corrected proxy list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.deployment import engine_words
from screens.controllers.base import Commands, Controller, engines_named, split_names
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.controllers.arrangement import Arrangement
    from screens.controllers.plan_offer import PlanOffer
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction
    from screens.panes.roles import RolePane
    from screens.panes.verify import VerifyPane

_SCALE = "scale GROUP COUNT [NODE…]: COUNT groups serve afterwards, copies included"


@dataclass(eq=False)
class LiveChanges(Controller):
    """What is asked for here is worked out by the operator of the session; nothing happens before its plan is confirmed."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    arrangement: Arrangement
    roles: RolePane
    chats: VerifyPane
    plans: PlanOffer
    begin_command: Callable[[str], None]
    """Opens the command line with the beginning of a command."""

    def verbs(self) -> Verbs:
        """Keys that lead to such a plan."""
        return {"rolling": self.roll, "sync-proxy": self.sync_proxy, "scale": self.scale_here}

    def commands(self) -> Commands:
        """Groups or engines by name, and the prompt of a chat."""
        return {"scale": lambda rest: self.scale(split_names(rest)), "rolling": self.roll, "verify": self.verify}

    def roll(self, engines: str = "") -> None:
        """Restart the groups of these engines, or of the chosen ones, one after another."""
        named = engines_named(self.interaction, self.fleet, engines)
        if named is None:
            return
        chosen = named or self.grid.chosen_engines()
        if not chosen:
            self.interaction.warn("no engine here: mark some, or name them")
            return
        operator = self.fleet.session.operator
        marks = frozenset() if engines else self.grid.view.marks
        words = f"{engine_words(chosen)} and the rest of their groups"
        self.plans.offer("restart", words, lambda: operator.prepare("restart", chosen, in_turn=True), marks=marks)

    def sync_proxy(self) -> None:
        """Have the proxy list exactly what is ready."""
        operator = self.fleet.session.operator
        self.plans.offer("sync-proxy", "the proxy", operator.prepare_proxy_sync)

    def verify(self, prompt: str) -> None:
        """Ask this in chats through the endpoint."""
        self.arrangement.go("verify")
        self.chats.begin(prompt)

    def scale(self, words: Sequence[str]) -> None:
        """Have so many groups like one of the layout."""
        if len(words) < 2 or not (words[1].isascii() and words[1].isdecimal() and len(words[1]) < 5):
            self.interaction.warn(_SCALE)
            return
        group, count, nodes = words[0], int(words[1]), tuple(words[2:])
        operator = self.fleet.session.operator
        self.plans.offer("scale", f"{group} to {count}", lambda: operator.prepare_scale(group, count, nodes))

    def scale_here(self) -> None:
        """Begin the command with the group under the cursor and one more than there are."""
        deployment = self.fleet.session.deployment
        group = deployment.like(self.roles.group_here or "")
        count = 1 + sum(like == group for like in deployment.copies.values())
        self.begin_command(f"scale {group} {count + 1}" if group else "scale ")
