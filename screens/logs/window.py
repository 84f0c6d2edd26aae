"""The part of a log that is on the screen: a place in the file and how to move it. No widget; the file is read through `LogFile`.

The place is a byte offset and a row within that line, never a line number: so nothing shifts when the file grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from console.services.logs import LogNote
from screens.lines import Line
from screens.logs.drawing import Manner, display_pattern, note_row, pieces, text_of
from screens.logs.file import LineCount, LogFile
from screens.logs.sieve import Kept, Pattern, Sieve


class Place:
    """A place in a log file, what is around it, and how many rows that takes."""

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self.count = LineCount(file)
        self.kept: Kept | None = None
        self.needle: Pattern | None = None
        self.manner = Manner(80)
        self.height = 1
        self.following = True
        self.hit: int | None = None
        """Beginning of the line the search stands on."""
        self.marks: set[int] = set()
        """Beginnings of lines the operator marked."""
        self.notes: tuple[LogNote, ...] = ()
        self._top = 0
        self._sub = 0
        self._lines_at_pause: int | None = None

    @property
    def top(self) -> int:
        """Beginning of the first line on the screen."""
        return self._top

    def resize(self, cells: int, height: int) -> None:
        """Take another size."""
        self.manner = replace(self.manner, cells=cells)
        self.height = max(1, height)
        self._sub = 0

    def grow(self, size: int, notes: tuple[LogNote, ...] = ()) -> bool:
        """Take what has arrived; True when something on the screen may have changed."""
        old = self.file.size
        changed = notes != self.notes or size != old
        self.notes = notes
        if self.file.grow(size):
            self.count = LineCount(self.file)
            self.kept = Kept(self.file, self.kept.sieve) if self.kept else None
            self._top = self._sub = 0
            self.hit = None
            self.marks.clear()
        return changed

    def work(self) -> bool:
        """Do one small part of counting and filtering; False when there is none left."""
        counted = self.count.advance()
        scanned = self.kept.advance() if self.kept else False
        return counted or scanned

    def pieces(self, start: int) -> list[Line]:
        """The rows of one line, markers before it included."""
        raw, left_out = self.file.text(start)
        rows = [note_row(note.text, self.manner) for note in self._notes_before(start)]
        rows += pieces(
            text_of(raw, left_out),
            self.count.number(start),
            self.manner,
            marked=start in self.marks,
            current=start == self.hit,
        )
        end = self.file.after(start)
        if end >= self.file.size:
            rows += [note_row(note.text, self.manner) for note in self.notes if note.offset >= end]
        return rows

    def _rows_of(self, start: int) -> int:
        return len(self.pieces(start)) if self.manner.wrapped or self.notes else 1

    def _notes_before(self, start: int) -> list[LogNote]:
        if not self.notes:
            return []
        above = self._previous(start)
        low = -1 if above is None else above
        return [note for note in self.notes if low < note.offset <= start]

    def _next(self, start: int) -> int | None:
        after = self.file.after(start)
        if self.kept is not None:
            return self.kept.at_or_after(after)
        return after if after < self.file.size else None

    def _previous(self, start: int) -> int | None:
        return self.kept.before(start) if self.kept is not None else self.file.before(start)

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

    def _to_kept(self) -> None:
        assert self.kept is not None
        found = self.kept.at_or_after(self._top)
        if found is None:
            found = self.kept.before(self._top)
        if found is not None and found != self._top:
            self._top, self._sub = found, 0

    def starts(self) -> Iterator[int]:
        """Beginnings of the lines on the screen."""
        start: int | None = self._top if self.file.size else None
        rows = -self._sub
        while start is not None and rows < self.height:
            yield start
            rows += self._rows_of(start)
            start = self._next(start)

    def place(self) -> tuple[int | None, int | None]:
        """Number of the top line and of all lines; None where it is not counted yet."""
        return (self.count.number(self._top) if self.file.size else None), self.count.total()


class Window(Place):
    """A view of one log file, as many rows high as the screen has room."""

    def filter(self, sieve: Sieve) -> None:
        """Show only what a sieve keeps; an empty one shows all. The reader stays near the line on top."""
        self.kept = Kept(self.file, sieve) if sieve else None
        if self.kept is not None and not self.following:
            self._sub = 0

    def search(self, needle: Pattern | None) -> None:
        """What `n` and `N` look for."""
        self.needle = needle
        self.hit = None
        self.manner = replace(self.manner, needle=display_pattern(needle))

    def wrap(self, on: bool) -> None:
        """Break long lines, or cut them."""
        self.manner = replace(self.manner, wrapped=on, left=0)
        self._sub = 0

    def rows(self) -> list[Line]:
        """The rows on the screen now."""
        if self.kept is not None and self.kept.at_or_after(0) is None:
            return []
        if self.following:
            self._to_end()
        elif self.kept is not None:
            self._to_kept()
        found: list[Line] = []
        start: int | None = self._top if self.file.size else None
        skip = self._sub
        while start is not None and len(found) < self.height:
            found.extend(self.pieces(start)[skip:])
            skip = 0
            start = self._next(start)
        return found[: self.height]

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
            self._lines_at_pause = self.count.total()

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.following = True
        self._lines_at_pause = None

    def go(self, start: int, above: int = 0) -> None:
        """Put a line on the screen, `above` rows from its top."""
        self.pause()
        self._top, self._sub = start, 0
        self._up(above)

    def to_top(self) -> None:
        """To the first line."""
        self.pause()
        self._top = self._sub = 0

    def new_lines(self) -> int | None:
        """Lines that came since the reader paused; None while they are not counted."""
        if self._lines_at_pause is None:
            return None
        total = self.count.total()
        return None if total is None else max(0, total - self._lines_at_pause)

    def mark(self) -> None:
        """Mark the line the search stands on, else the one on top; again takes the mark away."""
        self.marks ^= {self.hit if self.hit is not None else self._top}

    def next_mark(self) -> int | None:
        """The next marked line, from the last one back to the first."""
        here = self.hit if self.hit is not None else self._top
        after = [start for start in self.marks if start > here]
        return min(after or self.marks, default=None)

    def find(self, wanted: Pattern, *, forward: bool) -> Iterator[int | None]:
        """Look for a line from the last hit, or from the screen; None after each chunk without one, then where it begins."""
        at = self.hit if self.hit is not None else self._top if forward else self.file.size
        start = (self.file.after(at) if self.hit is not None else at) if forward else at
        found = Kept(self.file, Sieve((wanted,)))
        chunk = max(0, start) // self.file.span
        last = self.file.size // self.file.span
        while 0 <= chunk <= last:
            hits = found.of(chunk)
            hits = [each for each in hits if (each >= start if forward else each < start) and self._shown(each)]
            if hits:
                yield hits[0] if forward else hits[-1]
                return
            yield None
            chunk += 1 if forward else -1

    def _shown(self, start: int) -> bool:
        return self.kept is None or self.kept.sieve.keeps(self.file.text(start)[0])

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
