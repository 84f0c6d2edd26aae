"""The base of all controllers: actions for keys, and commands of the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from console.model.errors import UsageError

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.interaction import Interaction
    from screens.widgets import Verbs

Commands = Mapping[str, Callable[[str], object]]
"""Words of the command line, and what each does with the rest of its line."""


class Controller:
    """Does what keys and typed words ask for; `screens.assembly` makes all of them."""

    def verbs(self) -> Verbs:
        """What it does for keys, by action id."""
        return {}

    def commands(self) -> Commands:
        """What it does for typed words. An action's id alone is its key; with a rest of the line it is a command."""
        return {}


def split_names(rest: str) -> list[str]:
    """The names in the rest of a line, between blanks or commas."""
    return rest.replace(",", " ").split()


def engines_named(interaction: Interaction, fleet: Fleet, rest: str) -> tuple[str, ...] | None:
    """The engines that ids, groups and `all` name; None when one of them names nothing, which is said."""
    known = fleet.snapshot.engines
    every = [name for name in known if "/" not in name]
    try:
        return fleet.session.deployment.engines_named(split_names(rest), every, known)
    except UsageError as error:
        interaction.warn(f"{error}; {error.hint}")
        return None
