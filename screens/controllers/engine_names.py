"""Which engines typed words mean; a word that nobody has is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.model.errors import UsageError
from screens.styled_lines import shown

if TYPE_CHECKING:
    from screens.main import MainScreen


def engines_named(screen: MainScreen, words: Sequence[str]) -> tuple[str, ...] | None:
    """The engines that ids, groups and `all` name; None when one of them names nothing, which is told."""
    seen = screen.snapshot.engines
    every = [name for name in seen if "/" not in name]
    try:
        return screen.console.session.deployment.engines_named(words, every, seen)
    except UsageError as error:
        screen.notify(shown(f"{error}; {error.hint}"), severity="warning", markup=False)
        return None
