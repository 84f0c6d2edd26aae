"""A dialog that only shows text: a description, or an error with its hint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding

from screens.dialogs.base import MOST_CELLS, Dialog
from screens.paste_guard import KeyTimes
from screens.styled_lines import Line, Pen, plain, wrap
from screens.themes import Look


class TextDialog(Dialog[None]):
    """Text to read and to copy; any of the usual keys closes it."""

    careful = False
    BINDINGS: ClassVar = [
        Binding("q,enter", "leave", "Close", show=False),
        Binding("y", "copy", "Copy", show=False),
    ]

    def __init__(
        self,
        look: Look,
        pen: Pen,
        keys: KeyTimes,
        *,
        title: Line,
        body: Sequence[Line],
        copy: Callable[[str], None],
    ) -> None:
        super().__init__(look, pen, keys)
        self._title = title
        self._lines = tuple(body)
        self._copy = copy

    def on_mount(self) -> None:
        """Fill it."""
        self._fill()
        self.body.can_focus = True
        self.body.focus()

    def on_resize(self) -> None:
        """Another width breaks texts elsewhere."""
        self._fill()

    def _fill(self) -> None:
        cells = min(self.app.size.width, MOST_CELLS) - 2
        broken: list[Line] = []
        for line in self._lines:
            (text, role), *more = line or (("", ""),)
            broken += [line] if more else [((piece, role),) for piece in wrap(text, max(20, cells))]
        self.say(
            self._title,
            broken,
            (
                ("esc", "key"),
                (" close  ", "dim"),
                ("j k PgUp PgDn", "key"),
                (" move  ", "dim"),
                ("y", "key"),
                (" copy", "dim"),
            ),
        )

    def action_copy(self) -> None:
        """Everything that is written here."""
        self._copy("\n".join(plain(line) for line in self._lines))
