"""A dialog with a list that is searched by typing: help, action menus, groups. It returns the key of the chosen row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from screens.dialogs.base import Dialog
from screens.paste_guard import TOO_FAST, KeyTimes
from screens.styled_lines import Line, Pen, Row, length, plain, wrap
from screens.text_inputs import LineInput
from screens.themes import Look
from screens.widgets import ListWidget

PROMPTS = "/:"
"""Signs that open a line to type in elsewhere; before a search they mean nothing."""


class Options(ListWidget, can_focus=False):
    """The rows to choose from; a key that starts with `-` is a heading and cannot be chosen."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def on_resize(self) -> None:
        """A heading above the first row is not left out when the height becomes known."""
        if self.cursor < self.visible_rows:
            self.offset_row = 0
        super().on_resize()

    @property
    def bright(self) -> bool:
        """Always: the keys go to the search line, and through it to this list."""
        return True


class PickerDialog(Dialog[str]):
    """Type to search, up and down to move, Enter to choose."""

    BINDINGS: ClassVar = [
        Binding("down", "step(1)", "Down", show=False, priority=True),
        Binding("up", "step(-1)", "Up", show=False, priority=True),
        Binding("pagedown", "step(10)", "Page down", show=False, priority=True),
        Binding("pageup", "step(-10)", "Page up", show=False, priority=True),
    ]

    def __init__(
        self,
        look: Look,
        pen: Pen,
        keys: KeyTimes,
        *,
        title: Line,
        rows: Sequence[Row],
        foot: Line,
        chosen: str | None = None,
        preview: Callable[[str], Sequence[Line]] | None = None,
        careful: bool = False,
        in_full: bool = False,
    ) -> None:
        """`preview` is shown below the list; with `in_full` the row under the cursor is, as far as the list cuts it."""
        super().__init__(look, pen, keys)
        self.careful = careful
        self._title = title
        self._rows = tuple(rows)
        self._foot = foot
        self._chosen = chosen
        self._preview = self._whole if in_full else preview
        self._in_full = in_full
        self.options = Options(id="options")
        self.options.on_beyond = lambda: self.head(self.options)
        self.body.on_beyond = lambda: None

    def accepts_key(self, event: events.Key, at: float) -> bool:
        """Accept text and moves at once, but a choice only after the list could be read."""
        return event.key != "enter" or super().accepts_key(event, at)

    def middle(self) -> ComposeResult:
        """The list, what would follow from its row, and the line to search with."""
        self.options.dress(self.look, self.pen)
        yield self.options
        yield self.body
        yield LineInput(id="typed", compact=True, placeholder="type to search")

    def on_mount(self) -> None:
        """Fill it."""
        self.body.display = self._preview is not None
        self.set_class(self._in_full, "in-full")
        self.body.empty = ""
        self.say(self._title, (), self._foot)
        self.options.show(self._rows)
        if self._chosen:
            self.options.go(self._chosen)
        self._skip_headings(1)
        self.query_one("#typed", Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show only what has all the words, the cursor on the first: on what fits best."""
        words = event.value.casefold().lstrip(PROMPTS).split()
        rows = [row for row in self._rows if all(word in plain(row.line).casefold() for word in words)]
        if words:
            typed = event.value.lstrip(PROMPTS).split()
            rows = [row for row in rows if not row.key.startswith("-")]
            rows.sort(key=lambda row: not any(word in row.line[0][0].split() for word in typed))
        self.options.show(rows)
        self.options.move(-len(rows))
        self._skip_headings(1)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Choose the row."""
        event.stop()
        row = self.options.current
        if row is None or row.key.startswith("-"):
            return
        if self.careful and self._keys.burst:
            self.notify(TOO_FAST, severity="warning", markup=False)
        else:
            self.dismiss(row.key)

    def action_step(self, by: int) -> None:
        """Move the cursor over the rows that can be chosen."""
        self.options.move(by)
        self._skip_headings(1 if by > 0 else -1)

    def _whole(self, _key: str) -> Sequence[Line]:
        row, cells = self.options.current, self.options.size.width
        if row is None or not cells or length(row.line) <= cells:
            return ()
        return [((text, "plain"),) for text in wrap(row.line[-1][0], cells)]

    def _skip_headings(self, by: int) -> None:
        options = self.options
        while (row := options.current) is not None and row.key.startswith("-"):
            at_edge = options.cursor + by not in range(len(options.rows))
            by = -by if at_edge else by
            if at_edge and len(options.rows) < 2:
                break
            options.move(by)
        options.draw()
        if self._preview is not None and options.current is not None:
            self.body.show([Row(str(at), line) for at, line in enumerate(self._preview(options.current.key))])
