"""The connection to the node under the cursor: open a shell, connect again, trust its host key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError, UsageError
from console.model.snapshot import LinkState
from screens.controllers.base import Controller
from screens.styled_lines import shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction

LOST = 255
"""`ssh` ends so when the connection failed or was lost (ssh(1), exit status)."""


@dataclass(eq=False)
class NodeConnection(Controller):
    """One shell at a time, for the terminal is one."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    redraw: Callable[[], None]
    """Draws everything anew."""

    def verbs(self) -> Verbs:
        """Keys for the node under the cursor."""
        return {
            "shell": lambda: self.interaction.start("away", self._shell),
            "refresh": self.refresh,
            "accept-key": lambda: self.interaction.start("act", self._accept_key),
        }

    async def _shell(self) -> None:
        """Leave the screen to a shell on the node or in its engine's container; links go on meanwhile."""
        target = self.grid.target
        if target.node is None:
            self.interaction.warn("no node here")
            return
        try:
            words = self.fleet.session.shell(target.node, target.engine)
            code = await self.interaction.run_program(words)
        except ConsoleError as error:
            self.interaction.tell(error)
            return
        if code == LOST:
            self.interaction.notify(f"ssh to {shown(target.node)} ended with {LOST}: no connection, or it was lost")

    def refresh(self) -> None:
        """Connect to the current node again now, draw everything anew."""
        target = self.grid.target
        if target.node:
            self.fleet.session.retry(target.node)
        self.redraw()

    async def _accept_key(self) -> None:
        """Ask before a host key is trusted."""
        node = self.fleet.snapshot.nodes.get(self.grid.target.node or "")
        if node is None or not node.link.reason or node.link.state is not LinkState.BLOCKED:
            self.interaction.warn("the node under the cursor is not blocked")
            return
        if not node.link.question:
            text = f"there is no host key to trust: {shown(node.link.reason)}"
            self.interaction.tell(UsageError(text, hint=shown(node.link.hint)))
            return
        title = (("Trust this host key of ", "plain"), (shown(node.name), "bold"), ("?", "plain"))
        if not await self.interaction.ask_yes(title, f"{shown(node.link.reason)} {shown(node.link.hint)}".strip()):
            return
        try:
            await self.fleet.session.accept_host_key(node.name)
        except ConsoleError as error:
            self.interaction.tell(error)
