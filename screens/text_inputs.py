"""Text inputs: one that accepts a paste as harmless text, and one that refuses a paste."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from screens.styled_lines import shown

MOST_PASTED = 2000
"""Characters of a paste that are taken; a name, a search or a question is shorter."""


def one_line(text: str) -> str:
    """The first line of a pasted text that is not empty, without anything a terminal would obey, and of bounded length."""
    lines = (shown(line).strip() for line in text[: MOST_PASTED * 4].splitlines())
    return next((line for line in lines if line), "")[:MOST_PASTED]


class LineInput(Input):
    """An input for names, searches and questions."""

    def on_key(self, event: events.Key) -> None:
        """An input method's full-width blank is a blank; Textual takes it for no text."""
        if event.key == "ideographic_space":
            event.prevent_default()
            event.stop()
            self.insert_text_at_cursor(" ")

    def _on_paste(self, event: events.Paste) -> None:
        """Insert the first line that is not empty."""
        event.prevent_default()
        event.stop()
        self.insert_text_at_cursor(one_line(event.text))


class AnswerInput(Input):
    """An input for what must be typed by hand to confirm a change: a paste is refused."""

    def _on_paste(self, event: events.Paste) -> None:
        """Refuse it."""
        event.prevent_default()
        event.stop()
        self.refuse()

    def action_paste(self) -> None:
        """Refuse the clipboard of the console too."""
        self.refuse()

    def refuse(self) -> None:
        """Say why nothing was taken."""
        self.notify("ignored: type it by hand, do not paste", severity="warning", markup=False)
