"""Answers a key that does nothing where it was pressed, so that nobody waits for an effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens.actions import key_word
from screens.styled_lines import shown

if TYPE_CHECKING:
    from collections.abc import Container

    from textual.events import Key

    from screens.interaction import Interaction

_MOVES = ("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab")
_NAVIGATION = frozenset((*_MOVES, "enter", "escape", "space", "backspace", "delete", "insert"))
"""Keys that only move or edit: they do nothing at the end of a list, which is seen."""


def answer_wrong_key(interaction: Interaction, event: Key, known: Container[str]) -> None:
    """Say that a key has no action here, once it is sure that it is no part of a paste; of any other key nothing.

    `known` are the keys that have one.
    """
    if event.key.rpartition("+")[2] in _NAVIGATION or event.key in known:
        return
    word = shown(event.character) if event.is_printable and event.character else key_word(event.key)
    help = interaction.key("help")
    words = f"no key {word} here" + (f"; {help} lists keys" if help else "")
    interaction.unless_pasting(lambda: interaction.notify(words, timeout=3), in_burst=lambda: None)
