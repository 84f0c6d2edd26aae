"""The prompt at the bottom, where an operator types a command, a search or a filter. It replaces the footer while it is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Input, Static

from screens.candidates import Candidate, CandidateList, matching
from screens.text_inputs import LineInput

Kind = Literal[":", "/", "&"]
RECENT = 3
"""Earlier lines that are offered before anything is typed."""


class Prompt(Horizontal):
    """A sign and an input, with what may be typed in a list above; every kind keeps its own history."""

    DEFAULT_CSS = """
    Prompt { height: 1; display: none; background: $surface; }
    Prompt Static { width: 2; color: $accent; }
    Prompt #more { width: auto; padding: 0 1; }
    Prompt Input { width: 1fr; border: none; height: 1; padding: 0; background: $surface; }
    """
    BINDINGS: ClassVar = [
        Binding("escape", "leave", show=False, priority=True),
        Binding("up", "up", show=False, priority=True),
        Binding("down", "down", show=False, priority=True),
        Binding("tab", "choose(1)", show=False, priority=True),
        Binding("shift+tab", "choose(-1)", show=False, priority=True),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.kind: Kind = ":"
        self.history: dict[Kind, list[str]] = {":": [], "/": [], "&": []}
        self.list = CandidateList(id="candidates")
        self.list.on_beyond = lambda: self.query_one("#more", Static).update(self.list.beyond)
        self.on_done: Callable[[Kind, str | None], None] = lambda kind, text: None
        self.on_typing: Callable[[Kind, str], None] = lambda kind, text: None
        self._candidates: tuple[Candidate, ...] = ()
        self._typed = ""
        """What was typed by hand, to come back to from the list and from the history."""
        self._filled = ""
        """What was written into the line from the list or the history last."""
        self._back = 0

    def compose(self) -> ComposeResult:
        """The sign and the input."""
        yield Static(":", id="sign", markup=False)
        yield LineInput(id="line", compact=True, select_on_focus=False)
        yield Static("", id="more", markup=False)

    @property
    def line(self) -> LineInput:
        """The input."""
        return self.query_one("#line", LineInput)

    def open(self, kind: Kind, candidates: Sequence[Candidate], placeholder: str, value: str = "") -> None:
        """Begin to type, after `value`; the candidates that fit what is typed are listed, and earlier lines."""
        self.kind = kind
        self._candidates = tuple(candidates)
        self.query_one("#sign", Static).update(kind)
        self.line.placeholder = placeholder
        self.display = True
        self._write(value)
        self._offer(value)
        self.screen.set_focus(self.line)

    def _write(self, text: str) -> None:
        self._filled = text
        self.line.value = text
        self.line.cursor_position = len(text)

    def _offer(self, typed: str) -> None:
        """List what fits what was typed by hand."""
        self._typed, self._back = typed, 0
        earlier = [Candidate(text, "used before") for text in reversed(self.history[self.kind])]
        if self.kind != ":":
            self.list.offer(matching([*earlier, *self._candidates], typed))
        elif typed:
            self.list.offer(matching(self._candidates, typed))
        else:
            self.list.offer([*earlier[:RECENT], *matching(self._candidates, "")])

    def on_input_changed(self, event: Input.Changed) -> None:
        """Lists are filtered while one types, and while one goes through what is offered."""
        event.stop()
        if not self.display:
            return
        if event.value != self._filled:
            self._filled = event.value
            self._offer(event.value)
        self.on_typing(self.kind, event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter takes what the line shows."""
        event.stop()
        text = event.value.strip()
        if text:
            self.history[self.kind] = [*[each for each in self.history[self.kind] if each != text][-99:], text]
        self._close(text)

    def action_leave(self) -> None:
        """Escape gives it up."""
        self._close(None)

    def action_choose(self, by: int) -> None:
        """Write the next candidate into the line, or the one before; past the last one stands what was typed."""
        chosen = self.list.choose(by)
        self._back = 0
        self._write(chosen.words if chosen is not None else self._typed)
        if chosen is not None and chosen.words.endswith(" "):
            self._offer(chosen.words)

    def action_up(self) -> None:
        """The candidate before; from the line itself, an earlier line."""
        if self.list.chosen is not None:
            self.action_choose(-1)
        else:
            self._older(1)

    def action_down(self) -> None:
        """A later line; from the line itself, the next candidate."""
        if self._back:
            self._older(-1)
        else:
            self.action_choose(1)

    def _older(self, by: int) -> None:
        lines = self.history[self.kind]
        self._back = max(0, min(len(lines), self._back + by))
        self._write(lines[-self._back] if self._back else self._typed)

    def on_descendant_blur(self, _event: events.DescendantBlur) -> None:
        """Nobody types into a line that is not seen to have the focus."""
        if self.display and self.screen.focused is not self.line:
            self._close(None)

    def _close(self, text: str | None) -> None:
        self.display = False
        self.list.display = False
        self.on_done(self.kind, text)
