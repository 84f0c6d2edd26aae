"""The candidates for the prompt: what can be typed, what matches the typed text, and the list of it over the pane."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType

from screens.styled_lines import Row, fit, shown, width
from screens.widgets import ListWidget

MOST_ROWS = 8
LEAST_WORDS = 16
"""Cells for a candidate itself, however little room there is; the chosen one stands whole in the line below."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line that may be typed, and what it does."""

    words: str
    """What comes into the line; it ends with a blank where a name is still to follow."""
    help: str = ""
    danger: bool = False
    """Whether it can end in a change on a node."""


def plain_width(text: str) -> str:
    """The text with full-width letters, signs and blanks of an input method as plain ones."""
    return unicodedata.normalize("NFKC", text)


def matching(candidates: Sequence[Candidate], text: str) -> list[Candidate]:
    """The candidates that fit a text, best first: those that start with it, then those that have all its words.

    Before the first blank names do not count, unless no candidate starts with the text.
    """
    typed = plain_width(text).casefold().lstrip()
    named = " " in typed
    heads = tuple(each.words for each in candidates if each.words.endswith(" "))
    short = [
        each
        for each in candidates
        if (each.words not in heads if named else each.words in heads or not each.words.startswith(heads))
    ]
    starting = [each for each in short if each.words.casefold().startswith(typed)]
    if starting or not typed.strip():
        return starting
    words = typed.split()
    return [each for each in candidates if all(word in each.words.casefold() for word in words)]


class CandidateList(ListWidget, can_focus=False):
    """The candidates above the prompt; the keys are the prompt's. No row is highlighted until one is chosen."""

    DEFAULT_CSS = """
    CandidateList { layer: above; dock: bottom; margin: 0 0 1 0; height: 1; display: none; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.candidates: list[Candidate] = []
        self.with_cursor = False

    @property
    def bright(self) -> bool:
        """Always: the keys go to the line below, and through it to this list."""
        return True

    @property
    def chosen(self) -> Candidate | None:
        """The highlighted candidate; None before any was chosen."""
        return self.candidates[self.cursor] if self.with_cursor and self.candidates else None

    def offer(self, candidates: Sequence[Candidate]) -> None:
        """Show these, none of them chosen; nothing is shown when there are none."""
        self.candidates = list(candidates)
        self.with_cursor, self.cursor, self.offset_row = False, 0, 0
        self.display = bool(candidates)
        self.styles.height = max(1, min(MOST_ROWS, len(candidates)))
        self._fill()

    def choose(self, by: int) -> Candidate | None:
        """Highlight the next candidate, or the one before; None before the first and behind the last one."""
        at = (
            (self.cursor + by if self.with_cursor else 0 if by > 0 else len(self.candidates) - 1)
            if self.candidates
            else -1
        )
        self.with_cursor = 0 <= at < len(self.candidates)
        self.cursor = max(0, min(at, len(self.candidates) - 1))
        self.draw()
        return self.chosen

    def on_resize(self) -> None:
        """Another width has other columns."""
        self._fill()
        super().on_resize()

    def _fill(self) -> None:
        words = [shown(each.words) + "..." * each.words.endswith(" ") for each in self.candidates]
        cells = min(max(map(width, words), default=0), max(LEAST_WORDS, self.size.width * 2 // 5))
        rows = [
            Row(text, ((f" {fit(text, cells)}  ", "danger" if each.danger else "bold"), (each.help, "dim")))
            for text, each in zip(words, self.candidates, strict=True)
        ]
        self.show(rows)
