"""The part of a log that is on the screen: a place in the file and how to move it. No widget; the file is read through `LogFile`.

The place is a byte offset and a row within that line, never a line number: so nothing shifts when the file grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from console.services.logs.copies import LogNote
from screens.logs.file import LineCount, LogFile
from screens.logs.filtered import FilteredLines, Shown
from screens.logs.line_drawing import divider, note_row, pieces, text_of
from screens.logs.patterns import LineFilter, Pattern
from screens.logs.search import Search
from screens.logs.time_seek import LogTimes
from screens.logs.view_base import View
from screens.styled_lines import Line


class Place(View[int]):
    """A place in a log file, what is around it, and how many rows that takes."""

    def __init__(self, file: LogFile, times: LogTimes | None = None) -> None:
        super().__init__()
        self.file = file
        self.times = times or LogTimes(file)
        self.count = LineCount(file)
        self.shown: Shown | None = None
        """What a filter leaves; None leaves all."""
        self.tally: FilteredLines | None = None
        """The lines that the search finds, to be counted."""
        self._hidden = LineFilter()
        self.notes: tuple[LogNote, ...] = ()
        self._top = 0
        self._paused_at: int | None = None
        """How long the log was when the reader paused, bytes."""

    @property
    def kept(self) -> FilteredLines | None:
        """The lines a filter keeps; None without one."""
        return self.shown.kept if self.shown else None

    @property
    def has_lines(self) -> bool:
        """Whether there is any byte."""
        return self.file.size > 0

    def grow(self, size: int, notes: tuple[LogNote, ...] = ()) -> bool:
        """Take what has arrived; True when something on the screen may have changed."""
        old = self.file.size
        changed = notes != self.notes or size != old
        self.notes = notes
        if self.file.grow(size):
            self.count = LineCount(self.file)
            self.times.forget()
            self.shown = self.shown.anew(self.file) if self.shown else None
            self.tally = FilteredLines(self.file, self.tally.sieve) if self.tally else None
            self._top = self._sub = 0
            self.hit = self.anchor = self.cursor = None
            self.marks.clear()
        return changed

    def work(self) -> bool:
        """Do one small part of counting and filtering; False when there is none left."""
        counted = self.count.advance()
        scanned = self.shown.advance() if self.shown else False
        found = self.tally.advance() if self.tally else False
        return counted or scanned or found

    def pieces(self, start: int) -> list[Line]:
        """The rows of one line, markers before it included."""
        raw, left_out = self.file.text(start)
        rows = [note_row(note.text, self.manner) for note in self._notes_before(start)]
        near = False
        if self.shown is not None and self.shown.around:
            near = not self.shown.holds(start)
            above = self.shown.before(start)
            if above is not None and self.file.after(above) != start:
                rows.append(divider(self.manner))
        low, high = sorted((self.anchor or 0, self.cursor or 0))
        rows += pieces(
            text_of(raw, left_out),
            self.count.number(start),
            self.manner,
            self.line_state(start, start, low, high, near=near),
            at=self.times.own(start) if self.manner.counts else None,
        )
        end = self.file.after(start)
        if end >= self.file.size:
            rows += [note_row(note.text, self.manner) for note in self.notes if note.offset >= end]
        return rows

    def _rows_of(self, start: int) -> int:
        several = self.manner.wrapped or self.notes or (self.shown is not None and self.shown.around)
        return len(self.pieces(start)) if several else 1

    def _notes_before(self, start: int) -> list[LogNote]:
        if not self.notes:
            return []
        above = self._previous(start)
        low = -1 if above is None else above
        return [note for note in self.notes if low < note.offset <= start]

    def _next(self, start: int) -> int | None:
        after = self.file.after(start)
        if self.shown is not None:
            return self.shown.at_or_after(after)
        return after if after < self.file.size else None

    def _previous(self, start: int) -> int | None:
        return self.shown.before(start) if self.shown is not None else self.file.before(start)

    def _end(self) -> tuple[int, int]:
        start, rows = self.file.size, 0
        while rows < self.height:
            above = self._previous(start)
            if above is None:
                break
            start = above
            rows += self._rows_of(start)
        return (start, max(0, rows - self.height)) if rows else (0, 0)

    def _to_end(self) -> None:
        self._top, self._sub = self._end()

    def _to_shown(self) -> None:
        assert self.shown is not None
        found = self.shown.at_or_after(self._top)
        if found is None:
            found = self.shown.before(self._top)
        if found is not None and found != self._top:
            self._top, self._sub = found, 0

    def place(self) -> tuple[int | None, int | None]:
        """Number of the top line and of all lines; None where it is not counted yet."""
        return (self.count.number(self._top) if self.file.size else None), self.count.total()

    def kept_lines(self) -> tuple[float, int, int | None] | None:
        """How much is filtered, how many lines are kept and hidden."""
        if self.shown is None or not self.shown.filtered:
            return None
        kept, total, hidden = self.shown.kept.total(), self.count.total(), self.hidden_lines()
        return self.shown.kept.share, kept, None if total is None or hidden is None else total - kept - hidden

    def hidden_lines(self) -> int | None:
        """How many lines are left out whatever the filter."""
        total = self.count.total()
        return 0 if self.shown is None else None if total is None else self.shown.hidden(total)

    def search(self, needle: Pattern | None) -> None:
        """What `n` and `N` look for; its hits are counted in the background."""
        super().search(needle)
        self._count_hits()

    def _count_hits(self) -> None:
        sieve = self.shown.sieve if self.shown else LineFilter()
        self.tally = (
            FilteredLines(self.file, replace(sieve, wanted=(self.needle, *sieve.wanted)))
            if self.needle is not None
            else None
        )

    def hits(self) -> tuple[int | None, int] | None:
        """Which hit the search stands on, and how many there are."""
        if self.tally is None or self.tally.share < 1.0:
            return None
        position = self.tally.position(self.hit) if self.hit is not None else None
        return position, self.tally.total()


class Window(Place):
    """A view of one log file, as many rows high as the screen has room."""

    def filter(self, sieve: LineFilter, around: int = 0, hidden: Sequence[LineFilter] | None = None) -> None:
        """Show only what a sieve keeps and so many lines around each. The reader stays near the line on top."""
        self.sieve, self.around = sieve, around
        (self._hidden,) = hidden or (self._hidden,)
        self.shown = Shown.over(self.file, sieve, around, self._hidden, self.shown)
        if self.shown is not None and not self.following:
            self._sub = 0
        self._count_hits()

    def rows(self) -> list[Line]:
        """The rows on the screen now."""
        if self.shown is not None and self.shown.at_or_after(0) is None:
            return []
        if self.following:
            self._to_end()
        elif self.shown is not None:
            self._to_shown()
        found: list[Line] = []
        start: int | None = self._top if self.file.size else None
        skip = self._sub
        while start is not None and len(found) < self.height:
            found.extend(self.pieces(start)[skip:])
            skip = 0
            start = self._next(start)
        return found[: self.height]

    def seen(self) -> list[int]:
        """Beginnings of the lines on the screen."""
        found: list[int] = []
        start: int | None = self._top if self.file.size else None
        rows = -self._sub
        while start is not None and rows < self.height:
            found.append(start)
            rows += self._rows_of(start)
            start = self._next(start)
        return found

    def move(self, by: int) -> None:
        """So many rows down, or up when negative. Reaching the end means to follow again."""
        if not self.file.size:
            return
        if by < 0:
            self.pause()
            self._up(-by)
        elif not self.following:
            self._down(by)

    def pause(self) -> None:
        """Stay where the reader is."""
        if self.following:
            self._to_end()
            self.following = False
            self._paused_at = self.file.size

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.following = True
        self._paused_at = None

    def go(self, spot: int, above: int = 0) -> None:
        """Put a line on the screen, `above` rows from its top."""
        self.pause()
        self._top, self._sub = spot, 0
        self._up(above)

    def to_top(self) -> None:
        """To the first line."""
        self.pause()
        self._top = self._sub = 0

    def new_lines(self) -> int | None:
        """Lines to read that came since the reader paused; None while they are not counted."""
        if self._paused_at is None:
            return None
        last = self._paused_at - 1
        base = self.shown.base if self.shown is not None else None
        if base is not None:
            total, before = base.total() if base.share >= 1.0 else None, base.position(last)
        else:
            total, before = self.count.total(), self.count.number(last)
        if last < 0:
            return total
        return None if total is None or before is None else max(0, total - before)

    def here(self) -> int | None:
        """The line the search stands on, else the one on top."""
        return (self.hit if self.hit is not None else self._top) if self.file.size else None

    def next_mark(self) -> int | None:
        """The next marked line, from the last one back to the first."""
        here = self.hit if self.hit is not None else self._top
        after = [start for start in self.marks if start > here]
        return min(after or self.marks, default=None)

    def find(self, wanted: Pattern, *, forward: bool) -> Iterator[int | None]:
        """Look for a line from the last hit, or from the screen; None after each chunk without one, then where it starts."""
        at = self.hit if self.hit is not None else self._top if forward else self.file.size
        start = (self.file.after(at) if self.hit is not None else at) if forward else at
        hunt = Search(self.file, self.shown.sieve if self.shown else None, wanted, start, forward=forward)
        while not hunt.over:
            found = hunt.step()
            yield found
            if found is not None:
                return

    def moment(self, words: str) -> int | None:
        """Where a moment starts, by the clock of the node."""
        last = self.times.last()
        found = self.times.meant(words, last) if last is not None else None
        return None if found is None else self.times.at(found)

    def ago(self, seconds: float) -> int | None:
        """Where the last so many seconds begin."""
        return self.times.ago(seconds)

    def step(self, spot: int, by: int) -> int:
        """The line so many lines further that is shown, or the last one that way."""
        for _ in range(abs(by)):
            following = self._next(spot) if by > 0 else self._previous(spot)
            if following is None:
                break
            spot = following
        return spot

    def chosen(self) -> list[int]:
        """The lines that are selected, in order."""
        if self.anchor is None or self.cursor is None:
            return []
        at, last = sorted((self.anchor, self.cursor))
        found = [at]
        while at < last and (following := self._next(at)) is not None:
            at = following
            found.append(at)
        return found

    def texts(self, spots: Sequence[int]) -> list[str]:
        """Lines in full."""
        return [self.text(spot) for spot in spots]

    def text(self, spot: int) -> str:
        """A line, safe to show and to copy."""
        return text_of(*self.file.text(spot))

    def _up(self, rows: int) -> None:
        left = rows - self._sub
        self._sub = max(0, self._sub - rows)
        while left > 0:
            above = self._previous(self._top)
            if above is None:
                return
            self._top = above
            height = self._rows_of(above)
            self._sub = max(0, height - left)
            left -= height

    def _down(self, rows: int) -> None:
        end = self._end()
        self._sub += rows
        while self._sub >= (height := self._rows_of(self._top)):
            below = self._next(self._top)
            if below is None:
                break
            self._sub -= height
            self._top = below
        if (self._top, self._sub) >= end:
            self.follow()
