"""Filters of a log: texts that lines must or must not have, added one by one, and the number of lines shown around each."""

from __future__ import annotations

from dataclasses import replace

from screens.logs.patterns import LineFilter, pattern
from screens.logs.view import LogView
from screens.widgets import Verbs

AROUND = (0, 1, 3, 10)
"""What the key goes through, in lines before and after each."""
MOST_AROUND = 100


class Filters:
    """Keys that filter."""

    def __init__(self, view: LogView) -> None:
        self._view = view

    def verbs(self) -> Verbs:
        """The keys that widen what is shown."""
        return {"context": self.wider, "polls": self.polls}

    def filter(self, text: str) -> None:
        """Add a filter: lines must have the text, or must not when it starts with `!`. Empty takes all filters away."""
        self._view.sift(self._more(text), self._view.around)

    def _more(self, text: str) -> LineFilter:
        if not text:
            return LineFilter()
        out = text.startswith("!") and len(text) > 1
        added = pattern(text[1:] if out else text)
        if added.taken_literally:
            self._view.notify(f"{added.text}: not a regular expression, searched as plain text", markup=False)
        sieve = self._view.sieve
        if out:
            return replace(sieve, unwanted=(*sieve.unwanted, added))
        return replace(sieve, wanted=(*sieve.wanted, added))

    def polls(self) -> None:
        """Show the console's own polling too, or hide it again."""
        self._view.show_polls(not self._view.polls)
        words = "the console's own polling is shown" if self._view.polls else "the console's own polling is hidden"
        self._view.notify(words, markup=False, timeout=2)

    def wider(self) -> None:
        """The next number of lines around each that a filter keeps."""
        following = next((each for each in AROUND if each > self._view.around), 0)
        self.surround(following)

    def surround(self, lines: int) -> None:
        """Show so many lines before and after each that a filter keeps."""
        lines = min(lines, MOST_AROUND)
        self._view.sift(self._view.sieve, lines)
        if not self._view.sieve:
            self._view.notify(f"{lines} lines around each filtered line; & adds a filter", markup=False)
