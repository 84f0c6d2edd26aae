"""The single lines of the main screen below the grid: tabs and footer. Each repaints only when its text changes."""

from __future__ import annotations

from collections.abc import Sequence

from screens.actions import ACTIONS, BY_ID, FOOTERS, Action, Place
from screens.key_map import Keys
from screens.styled_lines import Line, Span, end_of, join, length, width
from screens.widgets import LineWidget


class Bar(LineWidget):
    """One line."""

    DEFAULT_CSS = "Bar { height: 1; width: 1fr; background: $surface; }"

    def write(self, line: Line) -> None:
        """Show this line."""
        self.paint([(line, ())])


class Tabs(Bar):
    """Names of the panes with their digits, and at the right what the open pane says of itself."""

    def draw(
        self,
        names: Sequence[tuple[str, str, str]],
        current: str,
        title: Line,
        *,
        here: bool = False,
        more: str = "",
    ) -> None:
        """Draw the tabs; when room is short the others lose letters, then all of them, then the pane's words their beginning.

        `here` says that keys go to the open pane, `more` how many of its rows are not seen; it is a bare `+` and number where
        there is no room for its words.
        """
        if more:
            least = length(_tab_words(names, current, 0, here=here)) + length(title) + 2
            brief = f"+{more.split()[0]}" if least + width(more) >= self.size.width else more
            title = join((title, ((brief, "key"),)), ("  ", ""))
        for letters in LETTERS:
            spans = _tab_words(names, current, letters, here=here)
            if length(spans) + min(length(title), LEAST_TITLE) < self.size.width:
                break
        room = self.size.width - length(spans) - 1
        if room >= length(title):
            spans = (*spans, (" " * (room - length(title)), ""), *title)
        elif room > 8:
            spans = (*spans, (" ", ""), *end_of(title, room - 1))
        self.write(spans)


LETTERS = (99, 3, 0)
"""How many letters of a tab that is not open are shown, most first."""
LEAST_TITLE = 72
"""Cells of the pane's own words that are worth more than the letters of other tabs."""


def _tab_words(names: Sequence[tuple[str, str, str]], current: str, letters: int, *, here: bool) -> Line:
    """`names` are the pane's id, its word and its key."""
    spans: list[Span] = []
    role = "title cursor" if here else "title under"
    for name, words, key in names:
        spans.append((f" {key}", "key"))
        opened = name == current
        shown_words = words if opened else words[:letters]
        if shown_words:
            blank = " " if opened or letters > 3 else ""
            spans.append((blank + shown_words, role if opened else "dim"))
    spans.append((" ", ""))
    return tuple(spans)


class Footer(Bar):
    """Help and Quit first, then the keys of this place."""

    def draw(self, place: Place, keys: Keys, *, read_only: bool, back: bool) -> None:
        """Draw as many hints as fit; a place with hints of its own moves them closer together before one is left out."""
        own = [(BY_ID[name], word) for name, word in FOOTERS.get(place, ())]
        hints = [
            (keys.word(action), "Back" if action.id == "quit" and back else word)
            for action, word in own or _general(place)
            if keys.of(action) and not (action.danger and read_only)
        ]
        wide = sum(width(key) + width(word) + 3 for key, word in hints)
        gap = " " if own and wide > self.size.width else "  "
        spans: list[Span] = [(" ", "")]
        for key, word in hints:
            hint: Line = ((key, "key"), (f" {word}{gap}", "plain"))
            if length(tuple(spans)) + length(hint) - len(gap) > self.size.width:
                break
            spans.extend(hint)
        self.write(tuple(spans))


def _general(place: Place) -> list[tuple[Action, str]]:
    """The hints of the table for a place that has none of its own."""
    there = (each for each in ACTIONS if each.footer and ("everywhere" in each.where or place in each.where))
    return [(each, each.label) for each in sorted(there, key=lambda each: each.footer)]
