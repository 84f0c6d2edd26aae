"""The base of all dialogs: the frame, the paste guard, and scrolling with any focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from screens.paste_guard import OPENED_S, KeyTimes
from screens.styled_lines import Line, Pen, Row, length, shown, wrap
from screens.themes import Look
from screens.widgets import ListWidget

Answer = TypeVar("Answer")
LEAVING = ("escape", "ctrl+q", "ctrl+l")
"""Keys that a dialog accepts at any time: they change nothing."""
MOVES = ("j", "k", "G")
"""Letters that only move the text."""
TOO_EARLY = "typed before the question could be read: it does not count, type it again"
MOST_NOTED = 3
"""Lines of what is said in passing."""
MOST_CELLS = 110
"""Columns a dialog takes of a wider screen; its frame has two of them."""


class Text(ListWidget, can_focus=False):
    """The text of a dialog: lines without a cursor."""

    with_cursor = False
    BINDINGS: ClassVar[list[BindingType]] = []


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A box over the main screen; `heading` is its first line, `body` its scrolling text."""

    SCOPED_CSS = False
    """The rules name the dialog itself, which a scope would look for below it."""
    CSS = f"""
    Dialog {{ align: center middle; background: $background; }}
    Dialog #box {{ width: 100%; max-width: {MOST_CELLS}; height: 100%; max-height: 40; padding: 0 1; background: $surface; }}
    Dialog ListWidget {{ background: $surface; }}
    Dialog #heading {{ height: 1; }}
    Dialog #foot {{ height: 1; }}
    Dialog #notice {{ height: 1; display: none; }}
    Dialog .gap {{ height: 0; }}
    Dialog #choices {{ height: 1; }}
    Dialog #choices Button {{ margin-right: 2; }}
    Dialog #choices Button:focus {{ text-style: bold reverse; }}
    Dialog Input {{ height: 1; border: none; padding: 0; background: $background; }}
    PickerDialog #options {{ height: 2fr; }}
    PickerDialog #body {{ height: 1fr; }}
    PickerDialog.in-full #body {{ height: 2; }}
    """
    BINDINGS: ClassVar = [
        Binding("escape", "leave", "Cancel", show=False),
        Binding("ctrl+l", "redraw", "Redraw", show=False),
        Binding("ctrl+q", "app.leave", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("pagedown", "scroll(10)", "Page down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", show=False),
        Binding("end,G", "scroll(100000)", "End", show=False),
        Binding("home", "scroll(-100000)", "Top", show=False),
    ]

    careful: bool = True
    """Whether an answer can change something; otherwise the dialog accepts keys at once."""

    def __init__(self, look: Look, pen: Pen, keys: KeyTimes) -> None:
        super().__init__()
        self.look = look
        self.pen = pen
        self._keys = keys
        self._drawn_at: float | None = None
        self._answered = False
        self.heading_line = Text(id="heading")
        self.body = Text(id="body")
        self.notice = Text(id="notice")
        self.foot = Text(id="foot")
        self._heading: Line = ()
        self._refusal = ""
        """Why what was typed counted for nothing; it stays until something counts."""
        self._noted: Line = ()
        self.body.on_beyond = lambda: self.head(self.body)

    def on_mount(self) -> None:
        """What was said in passing goes: it would lie over the last lines, where the answer is typed."""
        self.app.clear_notifications()
        self.begin_again()

    def accepts_key(self, event: events.Key, at: float) -> bool:
        """Whether the dialog accepts a key that arrived at `at`.

        What was typed before a dialog that can change something could be read was meant for something else.
        """
        return not self.careful or event.key in LEAVING or self._readable(at)

    def unheard(self, event: events.Key) -> None:
        """A key did not count; said for as long as nothing does, for who typed an answer would wait for what it sets going."""
        if event.key == "enter" or (event.is_printable and event.key not in MOVES):
            self._refusal = TOO_EARLY
            self._draw_notice()

    def heard(self, event: events.Key) -> None:
        """A key counts."""
        if self._refusal and event.key not in MOVES:
            self._refusal = ""
            self._draw_notice()

    def note(self, text: str, role: str) -> None:
        """Say something in passing, in a line of its own: laid over the dialog it would hide what is asked. Nothing: no more."""
        self._noted = tuple((part, role) for part in [" ".join(text.split())] if part)
        self._draw_notice()

    def _draw_notice(self) -> None:
        cells = max(20, (self.foot.size.width or 78) - 1)
        lines: list[Line] = [((self._refusal, "warn"),)] if self._refusal else []
        lines += [((piece, role),) for text, role in self._noted for piece in wrap(shown(text), cells)[:MOST_NOTED]]
        self.notice.display = bool(lines)
        self.notice.styles.height = len(lines)
        self.notice.show([Row(str(at), line) for at, line in enumerate(lines)])

    def _readable(self, at: float) -> bool:
        return self._drawn_at is not None and at - self._drawn_at >= OPENED_S

    def begin_again(self) -> None:
        """What is asked has changed: be deaf until it has been drawn, and for a moment after."""
        self._drawn_at = None
        self.call_after_refresh(self._drawn)

    def _drawn(self) -> None:
        self._drawn_at = self._keys.clock()

    def compose(self) -> ComposeResult:
        """Heading, text, whatever the dialog asks, last line."""
        for text in (self.heading_line, self.body, self.notice, self.foot):
            text.dress(self.look, self.pen)
        with Vertical(id="box"):
            yield self.heading_line
            yield from self.middle()
            yield self.notice
            yield self.foot

    def middle(self) -> ComposeResult:
        """What is between the first line and the last."""
        yield self.body
        yield from self.asked()

    def asked(self) -> ComposeResult:
        """The widgets between text and last line; for subclasses."""
        yield Static("", classes="gap")

    def say(self, heading: Line, body: Sequence[Line], foot: Line) -> None:
        """Fill the three parts."""
        self._heading = heading
        self.head(self.body)
        self.body.show([Row(str(number), line) for number, line in enumerate(body)])
        self.foot.show([Row("foot", foot)])

    def head(self, listed: ListWidget) -> None:
        """Draw the heading, with how many rows of this list are not seen."""
        room = self.heading_line.size.width - length(self._heading)
        keys = ", PgDn End" if listed.beyond.endswith("below") else ""
        words = next((each for each in (f"  {listed.beyond}{keys}", f"  {listed.beyond}") if len(each) <= room), " ...")
        more: Line = ((words, "key"),) if listed.beyond and listed.size.height else ()
        self.heading_line.show([Row("heading", (*self._heading, *more))])

    def type_at_once(self, event: events.Key, begins: str) -> None:
        """Take a character that the asked for answer can start with to its place, which is `#typed`; for key handlers.

        Otherwise what is typed without going there first would be lost without a word, and Enter would cancel.
        """
        typed = self.query_one("#typed", Input)
        if typed.display and not typed.has_focus and event.character and event.character in begins:
            event.stop()
            self.set_focus(typed)
            typed.insert_text_at_cursor(event.character)

    def action_scroll(self, by: int) -> None:
        """Move the text."""
        self.body.move(by)

    def action_redraw(self) -> None:
        """Draw the dialog anew, whatever the terminal shows."""
        self.refresh(repaint=True, layout=True)

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Close with an answer, once: the second of two quick keys finds it closing, and closing twice would end the console."""
        if self._answered:
            return AwaitComplete()
        self._answered = True
        return super().dismiss(result)

    def action_leave(self) -> None:
        """Go back without doing anything."""
        self.dismiss(None)
