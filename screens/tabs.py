"""The two lines between grid and pane: the tabs, and the title of the open pane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from screens.bars import Bar
from screens.styled_lines import Line, Span, brief, cut, join, length, width

LEAST_WORDS = 6
"""Cells below which the rest of a shortened text would say nothing."""


@dataclass(frozen=True, slots=True)
class Tab:
    """The tab of a pane."""

    id: str
    word: str
    key: str
    """The key that opens it, as written for people; empty when it has none."""
    part: str
    """Tabs of one part stand together."""


class Tabs(Bar):
    """Every tab with its key; where room is short the parts that are not open lose their tabs' names, never a part of one."""

    def draw(self, tabs: Sequence[Tab], current: str, *, here: bool) -> None:
        """Draw them; `current` is the id of the open one, `here` says that keys go to its pane."""
        self.write(tab_line(tabs, current, self.size.width, here=here))


class PaneTitle(Bar):
    """What the open pane shows: its name, counts and state, and at the right how many of its rows are not seen."""

    DEFAULT_CSS = "PaneTitle { background: $background; }"

    def draw(self, title: Line, more: str) -> None:
        """Draw it; `more` says how many rows are not seen."""
        self.write(title_line(title, more, self.size.width))


def tab_line(tabs: Sequence[Tab], current: str, cells: int, *, here: bool) -> Line:
    """The tabs with as much said of them as fits into so many cells.

    First the gaps become smaller, then parts that are not open are a word with their keys, then their keys alone; at last
    so are the tabs that stand beside the open one.
    """
    parts = [tuple(each) for _, each in groupby(tabs, key=lambda tab: tab.part)]
    opened = next((part for part in parts if any(tab.id == current for tab in part)), parts[0])

    def whole(part: Sequence[Tab], gap: int) -> Line:
        return join((_tab(tab, current, here=here) for tab in part), (" " * gap, ""))

    def word(part: Sequence[Tab], gap: int) -> Line:
        return whole(part, gap) if part is opened else _key_and_word(keys_word(part), part[0].part.capitalize())

    def keys(part: Sequence[Tab], gap: int) -> Line:
        return whole(part, gap) if part is opened else ((keys_word(part), "dim"),)

    def alone(part: Sequence[Tab], gap: int) -> Line:
        others = [tab for tab in part if tab.id != current]
        rest: Line = ((keys_word(others), "dim"),) if others else ()
        return join((*(_tab(tab, current, here=here) for tab in part if tab.id == current), rest), (" " * gap, ""))

    forms: Sequence[tuple[Callable[[Sequence[Tab], int], Line], int]] = (
        (whole, 2), (whole, 1), (word, 2), (word, 1), (keys, 2), (keys, 1), (alone, 1),
    )  # fmt: skip
    lines = (((" ", ""), *join((form(part, gap) for part in parts), _RULE)) for form, gap in forms)
    least = next(tab for tab in opened if tab.id == current or tab is opened[-1])
    return next((line for line in lines if length(line) <= cells), _tab(least, current, here=here))


_RULE: Span = (" | ", "gutter")


def _tab(tab: Tab, current: str, *, here: bool) -> Line:
    if tab.id == current:
        return ((f"{tab.key} {tab.word}".lstrip(), "title cursor" if here else "title under"),)
    return _key_and_word(tab.key, tab.word)


def _key_and_word(key: str, word: str) -> Line:
    """The key stays behind the name: a line of bright keys would be the loudest of a calm screen."""
    return ((key, "dim"), (f" {word}", "plain")) if key else ((word, "plain"),)


def keys_word(tabs: Sequence[Tab]) -> str:
    """The keys of several tabs in short: `7-0` for digits in a row, `YBJ` for letters."""
    keys = [tab.key for tab in tabs if tab.key]
    if len(keys) > 2 and "".join(keys) in "1234567890":
        return f"{keys[0]}-{keys[-1]}"
    return ("" if all(len(key) == 1 for key in keys) else " ").join(keys)


def title_line(title: Line, more: str, cells: int) -> Line:
    """A title in so many cells, behind one blank, with `more` at its right end.

    What is dim tells least: where room is short such parts go, from the end on; of the first of them the beginning stays,
    and then of the whole title.
    """
    right: Line = ((f"  {more} ", "key"),) if more else ()
    room = max(0, cells - 1 - length(right))
    spans = list(title)
    dim = [at for at, (_, role) in enumerate(spans) if role == "dim"]
    while dim and length(tuple(spans)) > room:
        at = dim.pop()
        text, role = spans[at]
        left = width(text) - (length(tuple(spans)) - room)
        spans[at] = (brief(text, left) if not dim and left >= LEAST_WORDS else "", role)
    line: Line = ((" ", ""), *(span for span in spans if span[0]))
    return (*cut(line, room + 1), *right)
