"""A small question: Cancel has the focus, `y` says yes."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Button

from screens.dialogs.base import Dialog
from screens.paste_guard import KeyTimes
from screens.styled_lines import Line, Pen, shown, wrap
from screens.themes import Look


class ConfirmDialog(Dialog[str]):
    """Yes is a key of its own; Enter is Cancel."""

    BINDINGS: ClassVar = [Binding("y", "yes", "Yes", show=False), Binding("n", "leave", "No", show=False)]

    def __init__(self, look: Look, pen: Pen, keys: KeyTimes, *, title: Line, text: str) -> None:
        super().__init__(look, pen, keys)
        self._title = title
        self._text = text

    def asked(self) -> ComposeResult:
        """Cancel."""
        with Horizontal(id="choices"):
            yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """Fill it."""
        self.query_one("#cancel", Button).focus()
        lines: list[Line] = [((piece, "plain"),) for line in self._text.splitlines() for piece in wrap(shown(line), 70)]
        self.say(self._title, lines, (("y", "key"), (" yes  ", "danger"), ("esc n Enter", "key"), (" no", "dim")))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The only button is Cancel."""
        event.stop()
        self.dismiss(None)

    def action_yes(self) -> None:
        """Yes, when the key was meant."""
        if self._keys.quiet:
            self.dismiss("yes")
