"""Assigns nodes to groups in dialogs that show the result of each choice; undo and redo. Changes nothing on a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.assignment_changes import change_words
from console.model.errors import ConsoleError
from console.model.shortening import list_text
from screens.assignment_preview import TAKE_AWAY, free_rows, group_rows, preview
from screens.controllers.assignment_board import report_change
from screens.controllers.base import Controller
from screens.styled_lines import Line, Row, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction
    from screens.protocols import Session


@dataclass(eq=False)
class Assigning(Controller):
    """A group for nodes, or a node for a place of a group."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    choose_layout: Callable[[], object]
    """Offers layouts where none is chosen."""
    draw: Callable[[], None]
    """Draws the screen."""

    def verbs(self) -> Verbs:
        """Keys that change the assignment."""
        return {"assign": self.assign, "undo": lambda: self.turn_back(True), "redo": lambda: self.turn_back(False)}

    def assign(self) -> None:
        """Choose a group for the marked or current nodes."""
        nodes = self.grid.chosen_nodes()
        if not nodes:
            self.interaction.warn("no node here")
        elif self.fleet.session.deployment.layout.chosen:
            self.interaction.start("act", self._assign, nodes)
        else:
            self.choose_layout()

    async def _assign(self, nodes: tuple[str, ...]) -> None:
        session = self.fleet.session
        deployment = session.deployment
        names = list_text([shown(node) for node in nodes], 6)
        chosen = await self._choose(
            (("Give ", "plain"), (names, "bold"), (" to which group?", "plain")),
            group_rows(deployment),
            deployment.assignment.group_of(nodes[0]),
            lambda key: preview(deployment, None if key == TAKE_AWAY else key, nodes),
        )
        if chosen is not None:
            self._give(session, None if chosen == TAKE_AWAY else chosen, nodes)

    def fill(self, group: str, node: str | None) -> None:
        """Choose a node for an empty place of a group, or a group for the node of a place."""
        if node is not None:
            self.interaction.start("act", self._assign, (node,))
        else:
            self.interaction.start("act", self._fill, group)

    async def _fill(self, group: str) -> None:
        session = self.fleet.session
        deployment = session.deployment
        rows = free_rows(deployment, group)
        title: Line = (("Which node for ", "plain"), (shown(group), "bold"), ("?", "plain"))
        chosen = await self._choose(title, rows, None, lambda key: preview(deployment, group, (key,)))
        if chosen is not None:
            self._give(session, group, (chosen,))

    async def _choose(
        self, title: Line, rows: list[Row], first: str | None, following: Callable[[str], Sequence[Line]]
    ) -> str | None:
        foot: Line = (("Enter", "key"), (" give  ", "dim"), ("esc", "key"), (" cancel  ", "dim"))
        foot = (*foot, ("this changes nothing on a node", "dim"))
        return await self.interaction.choose(title, rows, foot, chosen=first, careful=True, preview=following)

    def _give(self, session: Session, group: str | None, nodes: Sequence[str]) -> None:
        before = session.deployment.assignment
        try:
            session.assign(group, nodes)
        except ConsoleError as error:
            self.interaction.tell(error)
            return
        report_change(self.interaction, session, before)
        self.grid.look_at(marks=frozenset())
        self.draw()

    def turn_back(self, back: bool) -> None:
        """Undo or redo a change of the assignment."""
        session = self.fleet.session
        before = session.deployment.assignment
        try:
            done = session.undo() if back else session.redo()
        except ConsoleError as error:
            self.interaction.tell(error)
            return
        if not done:
            self.interaction.notify(f"nothing to {'undo' if back else 'redo'}", timeout=3)
        elif back:
            words = shown(change_words(session.deployment.assignment, before))
            self.interaction.notify(f"undone: {words}; {self.interaction.key('redo')} does it again")
        else:
            report_change(self.interaction, session, before)
        self.draw()
