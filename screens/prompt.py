"""The line at the bottom where an operator types a command, a search or a filter; it replaces the footer while it is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from screens.text_inputs import LineInput

Kind = Literal[":", "/", "&"]


class Prompt(Horizontal):
    """A sign and an input; every kind keeps its own history."""

    DEFAULT_CSS = """
    Prompt { height: 1; display: none; background: $surface; }
    Prompt Static { width: 2; color: $accent; }
    Prompt Input { width: 1fr; border: none; height: 1; padding: 0; background: $surface; }
    """
    BINDINGS: ClassVar = [
        Binding("escape", "leave", show=False, priority=True),
        Binding("up", "older(1)", show=False, priority=True),
        Binding("down", "older(-1)", show=False, priority=True),
        Binding("tab", "complete", show=False, priority=True),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.kind: Kind = ":"
        self.history: dict[Kind, list[str]] = {":": [], "/": [], "&": []}
        self.on_done: Callable[[Kind, str | None], None] = lambda kind, text: None
        self.on_typing: Callable[[Kind, str], None] = lambda kind, text: None
        self._back = 0

    def compose(self) -> ComposeResult:
        """The sign and the input."""
        yield Static(":", id="sign", markup=False)
        yield LineInput(id="line", compact=True, select_on_focus=False)

    @property
    def line(self) -> LineInput:
        """The input."""
        return self.query_one("#line", LineInput)

    def open(self, kind: Kind, words: list[str], placeholder: str, value: str = "") -> None:
        """Begin to type, after `value`; `words` complete what is typed."""
        self.kind = kind
        self._back = 0
        self.query_one("#sign", Static).update(kind)
        self.line.value = value
        self.line.cursor_position = len(value)
        self.line.placeholder = placeholder
        self.line.suggester = SuggestFromList(words, case_sensitive=False) if words else None
        self.display = True
        self.screen.set_focus(self.line)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Lists are filtered while one types."""
        event.stop()
        if self.display:
            self.on_typing(self.kind, event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter takes it."""
        event.stop()
        text = event.value.strip()
        if text:
            self.history[self.kind] = [*[each for each in self.history[self.kind] if each != text][-99:], text]
        self._close(text)

    def action_leave(self) -> None:
        """Escape gives it up."""
        self._close(None)

    def action_complete(self) -> None:
        """Take the rest of the word that is offered."""
        self.line.action_cursor_right()

    def action_older(self, by: int) -> None:
        """An earlier line, or a later one."""
        lines = self.history[self.kind]
        self._back = max(0, min(len(lines), self._back + by))
        self.line.value = lines[-self._back] if self._back else ""
        self.line.cursor_position = len(self.line.value)

    def on_descendant_blur(self, _event: events.DescendantBlur) -> None:
        """Nobody types into a line that is not seen to have the focus."""
        if self.display and self.screen.focused is not self.line:
            self._close(None)

    def _close(self, text: str | None) -> None:
        self.display = False
        self.on_done(self.kind, text)
