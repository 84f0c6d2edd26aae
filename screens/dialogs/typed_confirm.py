"""A question before a destructive change: the operator confirms by typing a given name by hand. Cancel has the focus."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Input

from screens.dialogs.base import Dialog
from screens.paste_guard import KeyTimes
from screens.styled_lines import Line, Pen, shown, wrap
from screens.text_inputs import AnswerInput
from screens.themes import Look


class TypedConfirmDialog(Dialog[str]):
    """Gives back what was typed when it is exactly what is asked for."""

    def __init__(
        self, look: Look, pen: Pen, keys: KeyTimes, *, title: Line, texts: Sequence[str], expected: str, what: str
    ) -> None:
        """`expected` is to be typed; `what` says in words what it is, and what comes of it: `14 to start all the same`."""
        super().__init__(look, pen, keys)
        self._title = title
        self._texts = tuple(texts)
        self._expected = expected
        self._what = what

    def asked(self) -> ComposeResult:
        """A place to type, and Cancel."""
        words = f"type {shown(self._expected)}, then Enter"
        yield AnswerInput(id="typed", compact=True, placeholder=words, select_on_focus=False)
        with Horizontal(id="choices"):
            yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """Fill it."""
        self.query_one("#cancel", Button).focus()
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        cells = max(20, self.body.size.width - 2 if self.body.size.width else 70)
        lines: list[Line] = []
        for text in self._texts:
            lines += [((piece, "plain"),) for line in text.splitlines() for piece in wrap(shown(line), cells)]
        foot: Line = (
            ("type ", "dim"),
            (shown(self._expected), "title"),
            (f" {self._what}  ", "danger"),
            ("esc", "key"),
            (" cancel", "dim"),
        )
        self.say(self._title, lines, foot)

    def on_key(self, event: events.Key) -> None:
        """The answer may be typed at once, though Cancel has the focus."""
        self.type_at_once(event, self._expected[:1])

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The only button is Cancel."""
        event.stop()
        self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on when exactly what is asked for was typed, by hand."""
        event.stop()
        if self._keys.burst:
            event.input.value = ""
            self.query_one("#typed", AnswerInput).refuse()
        elif event.value.split() == self._expected.split():
            self.app.clear_notifications()
            self.dismiss(self._expected)
        else:
            self.notify(f"that is not {shown(self._expected)}; nothing was done", severity="warning", markup=False)
