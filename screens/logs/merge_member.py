"""One engine's log inside a view of several: its lines with the time they count for, seconds since the epoch by our clock.

A line without a stamp counts for the time of the line before it. What is merged, folded or drawn is decided elsewhere.
"""

from __future__ import annotations

from console.services.logs.copies import LogNote
from screens.logs.file import LogFile
from screens.logs.filtered import Shown
from screens.logs.folding import key_of, stamped_key
from screens.logs.patterns import LineFilter, Pattern
from screens.logs.search import Search
from screens.logs.time_seek import LogTimes

_LOOKED_BACK = 400
"""Lines without a stamp that are passed over on the way back to one that has it."""


class MergeMember:
    """A log, the name of its engine, and its times."""

    def __init__(self, engine: str, file: LogFile, times: LogTimes | None = None) -> None:
        self.engine = engine
        self.file = file
        self.times = times or LogTimes(file)
        self.shown: Shown | None = None
        """What is shown of the log; None is all."""
        self.hidden = LineFilter()
        """What passes it may be shown, whatever the filter."""
        self.ended = False
        """Whether the run is over, so that a last line without its newline will not get one."""
        self.notes: tuple[LogNote, ...] = ()
        """Gaps and truncations of the log."""
        self._run = (0, -1, 0.0)
        """Beginnings of the first and the last of some lines that follow each other, and the time they all count for."""

    def forget(self) -> None:
        """The file has started anew."""
        self.times.forget()
        self._run = (0, -1, 0.0)
        if self.shown is not None:
            self.shown = self.shown.anew(self.file)

    def first(self, offset: int) -> int | None:
        """Where the first whole line at or behind an offset starts that is shown; None when there is none so far."""
        start = self.shown.at_or_after(offset) if self.shown else offset
        return start if start is not None and self._whole(start) else None

    def before(self, offset: int) -> int | None:
        """Where the last whole line before an offset starts that is shown."""
        start = self.shown.before(offset) if self.shown else self.file.before(offset)
        if start is not None and not self._whole(start):
            return self.before(start)
        return start

    def end(self) -> int:
        """Where the whole lines end."""
        size = self.file.size
        start = self.file.before(size)
        return size if start is None or self._whole(start) else start

    def _whole(self, start: int) -> bool:
        if start >= self.file.size:
            return False
        end = self.file.after(start)
        return end < self.file.size or self.ended or self.file.ends_line(end)

    def time(self, start: int) -> float:
        """What a line is ordered by: the time of the last stamp up to it, however long before; 0 in a log without any stamp."""
        low, high, when = self._run
        if low <= start <= high:
            return when
        at: int | None = start
        for _ in range(_LOOKED_BACK):
            if at is None:
                break
            if low <= at <= high:
                self._run = (low, start, when)
                return when
            if (own := self.times.own(at)) is not None:
                self._run = (at, start, own)
                return own
            at = self.file.before(at)
        when = self.times.first(start) or 0.0
        self._run = (at or 0, start, when)
        return when

    def key(self, start: int) -> bytes:
        """What a line has in common with equal lines of other ranks; its stamp is not looked for again after `time`."""
        seen, raw, found = self.times.seen
        if seen == start and b"\r" not in raw:
            return stamped_key(raw, found)
        return key_of(self.file.text(start)[0])

    def at(self, when: float) -> int:
        """Where the first line of a moment starts; the end of the file when there is none."""
        found = self.times.at(when)
        return self.file.size if found is None else found

    def notes_before(self, start: int) -> list[LogNote]:
        """What is to be said between a line and the one before it in this log."""
        if not self.notes:
            return []
        above = self.file.before(start)
        return [note for note in self.notes if (-1 if above is None else above) < note.offset <= start]

    def hunt(self, wanted: Pattern, start: int, *, forward: bool) -> Search:
        """Look for a pattern among the lines that a filter keeps."""
        return Search(self.file, self.shown.sieve if self.shown else None, wanted, start, forward=forward)
