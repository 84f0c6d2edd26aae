"""Short messages, shown in place of the footer. They cover nothing: the areas above become smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from screens.styled_lines import Line, brief, shown, wrap
from screens.widgets import LineWidget

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

MOST_ROWS = 4
"""The most rows of messages. The oldest messages are dropped first; a longer message is cut at its end."""
ROLES: dict[SeverityLevel, str] = {"information": "title", "warning": "bold warn", "error": "fail"}
_SIGNS: dict[SeverityLevel, tuple[str, str]] = {"information": ("▪", "*"), "warning": ("!", "!"), "error": ("✗", "X")}
_INDENT = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Message:
    text: str
    severity: SeverityLevel


class Messages(LineWidget):
    """The newest messages, the last one at the bottom."""

    DEFAULT_CSS = "Messages { height: 1; width: 1fr; display: none; background: $surface; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._messages: list[_Message] = []
        self.on_lines_changed: Callable[[], None] = lambda: None
        """Called when the lines change, so that the screen can make room for this widget."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The shown messages, the oldest first."""
        return tuple(each.text for each in self._messages)

    def say(self, text: str, severity: SeverityLevel, timeout_s: float) -> None:
        """Show a text for `timeout_s` seconds; a text that is shown already is moved to the end instead of shown twice."""
        self._messages = [each for each in self._messages if each.text != text]
        message = _Message(text, severity)
        self._messages.append(message)
        self.set_timer(timeout_s, partial(self._forget, message))
        self._draw()

    def clear(self) -> None:
        """Remove all messages."""
        self._messages.clear()
        self._draw()

    def on_resize(self) -> None:
        """Wrap the texts for the new width."""
        self._draw()

    def _forget(self, message: _Message) -> None:
        if message in self._messages:
            self._messages.remove(message)
            self._draw()

    def _draw(self) -> None:
        rows: list[Line] = []
        for message in reversed(self._messages):
            own = [*self._lines(message)]
            if rows and len(rows) + len(own) > MOST_ROWS:
                break
            rows = [*own, *rows]
        self.paint([(row, ()) for row in rows])
        self.styles.height = max(1, len(rows))
        self.on_lines_changed()

    def _lines(self, message: _Message) -> Iterator[Line]:
        cells = max(20, self.app.size.width - _INDENT - 1)
        lines = (" ".join(line.split()) for line in message.text.splitlines())
        pieces = [piece for line in lines if line for piece in wrap(shown(line), cells, words=True)]
        if len(pieces) > MOST_ROWS:
            pieces = [*pieces[: MOST_ROWS - 1], brief(" ".join(pieces[MOST_ROWS - 1 :]), cells)]
        sign = _SIGNS[message.severity][self.pen.ascii]
        for number, piece in enumerate(pieces):
            head = f" {sign} " if not number else " " * _INDENT
            yield ((head + piece, ROLES[message.severity]),)
