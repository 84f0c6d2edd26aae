"""Changes the assignment by key and by command: swap, move, take away, fill, size. The services hold the rules of each.

A new size is shown with its result before it is set. Changes nothing on a node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from console.model.assignment_changes import change_words
from console.model.deployment import Assignment, Deployment
from console.model.errors import ConsoleError, UsageError
from console.services.placement import edits
from screens.assignment_preview import size_words
from screens.controllers.base import Commands, Controller, split_names
from screens.styled_lines import shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.interaction import Interaction
    from screens.panes.roles import RolePane
    from screens.protocols import Session

_SIZE = "size GROUP NODES [RANKS PER NODE [TP]]"


@dataclass(eq=False)
class AssignmentActions(Controller):
    """Each change is one step that `u` takes back; what is wrong is said at once and changes nothing."""

    interaction: Interaction
    fleet: Fleet
    pane: RolePane
    begin_command: Callable[[str], None]
    """Opens the command line with the beginning of a command."""
    draw: Callable[[], None]
    """Draws the screen."""

    def verbs(self) -> Verbs:
        """Keys of the roles pane that change the board."""
        return {"fill": self.fill, "take": self.take_here, "size": self.size_here, "reset": self.reset_here}

    def commands(self) -> Commands:
        """The same, by name."""
        return {
            "swap": lambda rest: self.swap(split_names(rest)),
            "take": lambda rest: self.take(split_names(rest)),
            "size": lambda rest: self.size(split_names(rest)),
            "reset": lambda rest: self.reset(split_names(rest)),
            "fill": lambda rest: self._only_fill(split_names(rest)),
        }

    def swap(self, nodes: Sequence[str]) -> bool:
        """Let two nodes take each other's places, also across groups."""
        if len(nodes) != 2 or nodes[0] == nodes[1]:
            return self._warn("swap takes two nodes: swap NODE NODE")
        one, other = nodes
        return self._change(lambda now: edits.swap(now, one, other))

    def move(self, node: str, at: int) -> bool:
        """Give a node another place in its group, counted from 0."""
        return self._change(lambda now: edits.move(now, node, at))

    def take(self, nodes: Sequence[str]) -> bool:
        """Free these nodes."""
        if not nodes:
            return self._warn("take needs a node: take NODE…")
        return self._change(lambda now: edits.unassign(now, nodes))

    def fill(self) -> bool:
        """Give every group the nodes it lacks."""
        session = self.fleet.session
        return self._do(session, session.fill, "nothing to fill: every group is complete, or no free node fits")

    def _only_fill(self, names: Sequence[str]) -> bool:
        return self._warn(f"fill takes no names; :assign assigns chosen nodes (not {', '.join(names)})")

    def reset(self, groups: Sequence[str]) -> bool:
        """Give a group the size its layout says."""
        if len(groups) != 1:
            return self._warn("reset takes one group: reset GROUP")
        group = groups[0]
        return self._change(lambda now: edits.reset_shape(now, group))

    def size(self, words: Sequence[str]) -> bool:
        """Show what a group becomes with another size, and take it when the operator says yes."""
        group, *rest = words or ("",)
        if not 1 <= len(rest) <= 3 or not all(each.isascii() and each.isdecimal() and len(each) < 10 for each in rest):
            return self._warn(f"{_SIZE}, whole numbers")
        numbers = [int(each) for each in rest]
        sizes = dict(zip(("nodes", "per_node", "tensor_parallel"), numbers, strict=False))
        operation = partial(_resized, group=group, sizes=sizes)
        session = self.fleet.session
        before = session.deployment
        try:
            after = operation(before)
        except ConsoleError as error:
            return self._wrong(error)
        same = after.layout.groups[group] == before.layout.groups[group]
        if same and after.assignment.of(group) == before.assignment.of(group):
            return self._warn(f"{group} has that size already")
        self.interaction.start("act", self._ask_size, session, group, after, operation)
        return True

    async def _ask_size(
        self, session: Session, group: str, after: Deployment, operation: Callable[[Deployment], Deployment]
    ) -> None:
        title = (
            ("Give ", "plain"),
            (shown(group), "bold"),
            (" this size? This changes nothing on a node.", "plain"),
        )
        if await self.interaction.ask_yes(title, size_words(session.deployment, after, group)):
            self._do(session, lambda: session.change(operation), "that changes nothing")

    def take_here(self) -> None:
        """Free the node of the place under the cursor."""
        node = self.pane.node_here
        if node is None:
            self._warn("no node at this place; put the cursor on one, or type :take NODE")
        else:
            self.take((node,))

    def size_here(self) -> None:
        """Begin the command with the group under the cursor and its numbers of now."""
        name = self.pane.group_here
        group = self.fleet.session.deployment.layout.groups.get(name or "")
        text = f"size {name} {group.nodes} {group.data_parallel.per_node} {group.tensor_parallel}" if group else "size "
        self.begin_command(text)

    def reset_here(self) -> None:
        """Give the group under the cursor the size its layout says."""
        group = self.pane.group_here
        if group is None:
            self._warn("no group here; put the cursor on one, or type :reset GROUP")
        else:
            self.reset((group,))

    def _change(self, operation: Callable[[Deployment], Deployment]) -> bool:
        session = self.fleet.session
        return self._do(session, lambda: session.change(operation), "that changes nothing")

    def _do(self, session: Session, change: Callable[[], None], nothing: str) -> bool:
        before = session.deployment.assignment
        try:
            change()
        except ConsoleError as error:
            return self._wrong(error)
        self.draw()
        if session.deployment.assignment == before:
            return self._warn(nothing)
        report_change(self.interaction, session, before)
        return True

    def _wrong(self, error: ConsoleError) -> bool:
        if not isinstance(error, UsageError):
            self.interaction.tell(error)
            return False
        return self._warn(f"{error}; {error.hint}" if error.hint else str(error))

    def _warn(self, words: str) -> bool:
        self.interaction.warn(words)
        return False


def _resized(deployment: Deployment, *, group: str, sizes: Mapping[str, int]) -> Deployment:
    return edits.resize(
        deployment,
        group,
        nodes=sizes.get("nodes"),
        per_node=sizes.get("per_node"),
        tensor_parallel=sizes.get("tensor_parallel"),
    )


def report_change(interaction: Interaction, session: Session, before: Assignment) -> None:
    """Say how the assignment differs from what it was `before`, and which key undoes that."""
    words = change_words(before, session.deployment.assignment)
    if words:
        interaction.notify(f"{shown(words)}; {interaction.key('undo')} undoes it")
