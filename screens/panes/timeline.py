"""The base of time line panes: the newest entry first, a line between days, ages, and equal entries as one row that unfolds."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from console.model.name_ranges import in_order, name_ranges
from screens.grid.rows import age_words
from screens.panes.folding import FoldingPane
from screens.short_names import names_in
from screens.styled_lines import Line, Row, fit, length

NEAR = 3
"""Rows above, within which an equal entry is folded into an earlier one: what alternates is two rows, not a page."""
TOGETHER_S = 600.0
"""Equal entries further apart than this from the next one stay rows of their own."""
AGE_CELLS = 4
INDENT = 2 + 8 + 1 + AGE_CELLS + 1
"""Cells before the words of an entry: the mark of its fold, its time, its age."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened."""

    key: str
    at: float
    """Seconds since the epoch, this machine's clock."""
    names: tuple[str, ...]
    """Whom it happened to; of equal entries they are put together."""
    alike: Hashable
    """Entries of which this is equal are folded into one."""
    head: Line
    """What stands before the names."""
    words: Line
    """What stands behind them, or in the rest of the row."""
    more: tuple[str, ...] = ()
    """What is shown below it while it is unfolded."""


@dataclass(slots=True)
class _Fold:
    """Equal entries, the newest first."""

    entries: list[TimelineEntry] = field(default_factory=list)

    @property
    def all_names(self) -> list[str]:
        return in_order(name for each in self.entries for name in each.names)

    @property
    def names(self) -> str:
        return name_ranges(self.all_names)


class TimelinePane(FoldingPane):
    """Stays at its newest row until the reader goes down; subclasses give `show_entries` what happened, newest first."""

    names_cells = 13
    """Cells of the names; 0 puts them behind the words."""

    def show_entries(self, entries: Iterable[TimelineEntry], now: float) -> None:
        """Show what happened; `now` is the moment ages are counted to, seconds since the epoch."""
        if self.cursor == 0:
            self.rows = []  # who is at the newest row stays there, not at the entry that was the newest
        self.folds.begin()
        self.show([*self._rows(fold_entries(entries), now)])

    def _rows(self, folds: Iterable[_Fold], now: float) -> Iterator[Row]:
        day = time.localtime(now)[:3]
        for fold in folds:
            newest = fold.entries[0]
            moment = time.localtime(newest.at)
            if moment[:3] != day:
                day = moment[:3]
                words = f"{time.strftime('%A %Y-%m-%d', moment)} "
                rule = "-" * max(0, self.cells - 3 - len(words))
                yield Row(f"day/{day}", ((f"  {words}", "title"), (rule, "gutter")))
            yield from self._fold(fold, now)

    def _fold(self, fold: _Fold, now: float) -> Iterator[Row]:
        newest, oldest = fold.entries[0], fold.entries[-1]
        key = oldest.key
        clock: Line = (
            (time.strftime("%H:%M:%S ", time.localtime(newest.at)), "dim"),
            (f"{age_words(max(0.0, now - newest.at)):>{AGE_CELLS}} ", "dim"),
        )
        count: Line = ((f"{len(fold.entries)} times  ", "key"),) if len(fold.entries) > 1 else ()
        short = names_in(fold.all_names, self.names_cells) if fold.all_names else ""
        names: Line = ((fit(short, self.names_cells) + " ", "bold"),) if self.names_cells else ()
        behind: Line = ((f"  {fold.names}", "dim"),) if not self.names_cells else ()
        line = (*clock, *newest.head, *names, *count, *newest.words, *behind)
        cut = length(line) > self.cells - 2 or (self.names_cells and short != fold.names)
        if len(fold.entries) == 1 and not newest.more and not cut:
            yield Row(key, (("  ", ""), *line))
        else:
            yield from self.folded(key, line, self._below(fold))

    def _below(self, fold: _Fold) -> Iterator[Row]:
        """The whole text, then each of the equal entries with its own time."""
        newest = fold.entries[0]
        names = f"{fold.names}: " if fold.names else ""
        text = "".join(words for words, _ in newest.words)
        yield from self.texts(f"{newest.key}/text", f"{names}{text}", INDENT, "plain")
        for number, more in enumerate(newest.more):
            yield from self.texts(f"{newest.key}/more/{number}", more, INDENT, "plain")
        for each in fold.entries if len(fold.entries) > 1 else ():
            at = time.strftime("%H:%M:%S", time.localtime(each.at))
            yield Row(f"{each.key}/each", ((f"{'':{INDENT}}{at}  ", "dim"), (name_ranges(each.names), "plain")))


def fold_entries(entries: Iterable[TimelineEntry]) -> list[_Fold]:
    """Entries, newest first, with equal ones that are near to each other as one; never over midnight."""
    folds: list[_Fold] = []
    for each in entries:
        for fold in folds[-NEAR:]:
            last = fold.entries[-1]
            if last.alike == each.alike and last.at - each.at <= TOGETHER_S and _day(last.at) == _day(each.at):
                fold.entries.append(each)
                break
        else:
            folds.append(_Fold([each]))
    return folds


def _day(at: float) -> tuple[int, ...]:
    return time.localtime(at)[:3]
