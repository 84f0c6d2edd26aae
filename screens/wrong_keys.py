"""A key that does nothing where it was pressed is answered, so that nobody waits for what it might do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens.actions import BY_ID, key_word
from screens.paste_guard import BURST_S
from screens.styled_lines import shown

if TYPE_CHECKING:
    from textual.events import Key

    from screens.app import ConsoleApp

_MOVES = ("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab")
_NAVIGATION = frozenset((*_MOVES, "enter", "escape", "space", "backspace", "delete", "insert"))
"""Keys that only move or edit: they do nothing at the end of a list, which is seen."""


def answer_wrong_key(app: ConsoleApp, event: Key) -> None:
    """Say that a key has no action here, once it is sure that it is no part of a paste; of any other key nothing."""
    if event.key.rpartition("+")[2] in _NAVIGATION or event.key in app.screen.active_bindings:
        return
    word = shown(event.character) if event.is_printable and event.character else key_word(event.key)
    known = app.options.keys.word(BY_ID["help"])
    words = f"no key {word} here" + (f"; {known} lists keys" if known else "")
    app.set_timer(BURST_S, lambda: None if app.keys.burst else app.notify(words, markup=False, timeout=3))
