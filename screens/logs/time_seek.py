"""Finds a time in a log by bisection, because its time stamps only grow. `console.probes.log_time` reads the stamps."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta

from console.probes.log_time import Clock, Meanings, clock_of, find, first_stamped
from screens.logs.file import LogFile

HEAD_BYTES = 64 * 1024
"""Of a log so much is looked at for its first stamp."""
_TRIES = 400
"""Lines without a stamp that are passed over before a place counts as having none."""
_REPEATED_BYTES = 64 * 1024 * 1024
"""Of the lines of an hour that daylight saving repeats so many bytes are looked through for where it starts again."""
_BACK_S = 60.0
"""Processes that write at once are out of order by less."""
_WORDS = re.compile(r"(?:(?:(\d{4})-)?(\d\d)-(\d\d) )?(\d?\d):(\d\d)(?::(\d\d))?")


def assumed(head: bytes) -> Clock:
    """The clock of a log of which nothing is known."""
    return clock_of(head, None, None, until=time.time())


class LogTimes:
    """The times of one log's lines: seconds since the epoch, by our clock."""

    def __init__(self, file: LogFile, clock: Callable[[bytes], Clock] = assumed) -> None:
        """`clock` gives the log's clock from its first bytes."""
        self._file = file
        self._make = clock
        self._clock: Clock | None = None
        self.seen: tuple[int, bytes, re.Match[bytes] | None] = (-1, b"", None)
        """The line that was asked for last: where it starts, its bytes, and its stamp."""
        self._again: dict[float, int] = {}
        """The instant at which an hour starts again → where in the log."""

    @property
    def clock(self) -> Clock:
        """The clock that stamps the log, for good once the log has a stamp."""
        if self._clock is not None:
            return self._clock
        head = self._file.read(0, min(self._file.size, HEAD_BYTES))
        made = self._make(head)
        if len(head) == HEAD_BYTES or first_stamped(head):
            self._clock = made
        return made

    def forget(self) -> None:
        """The log has started anew."""
        self._clock = None
        self.seen = (-1, b"", None)
        self._again.clear()

    def own(self, start: int) -> float | None:
        """When the line at an offset was stamped; None when it bears no stamp."""
        raw = self._file.text(start)[0]
        found = find(raw)
        self.seen = (start, raw, found)
        meant = None if found is None else self.clock.stamped(found)
        if meant is None or meant.early == meant.late:
            return meant.early if meant else None
        return meant.late if start >= self._repeats(meant) else meant.early

    def _early(self, start: int) -> float | None:
        """The same, of an hour that is repeated always the first."""
        meant = self.clock.meanings(self._file.text(start)[0])
        return meant.early if meant else None

    def _repeats(self, meant: Meanings) -> int:
        """Where the lines of a repeated hour start for the second time; the end of the hour when they do not."""
        change = self.clock.put_back(meant)
        if (known := self._again.get(change)) is not None:
            return known
        first = self._halve(change - (meant.late - meant.early), self._early)
        found = self._file.size if first is None else self._drop(first, change)
        if found < self._file.size:
            self._again[change] = found
        return found

    def _drop(self, start: int, change: float) -> int:
        end, before = start + _REPEATED_BYTES, 0.0
        while start < min(self._file.size, end):
            at = self._early(start)
            if at is not None and (at >= change or at < before - _BACK_S):
                break
            before = before if at is None else at
            start = self._file.after(start)
        return start

    def first(self, start: int) -> float | None:
        """The first time at or behind a line."""
        return self._first(start, self.own)

    def _first(self, start: int, time_of: Callable[[int], float | None]) -> float | None:
        for _ in range(_TRIES):
            if start >= self._file.size:
                return None
            if (found := time_of(start)) is not None:
                return found
            start = self._file.after(start)
        return None

    def last(self) -> float | None:
        """The last time in the file."""
        start = self._file.before(self._file.size)
        for _ in range(_TRIES):
            if start is None:
                return None
            if (found := self.own(start)) is not None:
                return found
            start = self._file.before(start)
        return None

    def at(self, moment: float) -> int | None:
        """Where the first line of a moment or later starts; None when there is none."""
        file = self._file
        low = self._halve(moment, self.own)
        while low is not None and low < file.size:
            own = self.own(low)
            if own is not None and own >= moment:
                return low
            if own is None and self.first(low) is None:
                return None
            low = file.after(low)
        return None

    def _halve(self, moment: float, time_of: Callable[[int], float | None]) -> int | None:
        """Where the lines before a moment end; None when all are."""
        file, low, high = self._file, 0, self._file.size
        while low < high:
            middle = file.start_of((low + high) // 2)
            found = self._first(middle, time_of)
            if found is not None and found < moment:
                low = file.after(max(middle, low))
            else:
                high = middle if middle < high else low
        return low if low < file.size else None

    def ago(self, seconds: float) -> int | None:
        """Where the last so many seconds of the log start, counted from its last stamp."""
        last = self.last()
        return None if last is None else self.at(last - seconds)

    def meant(self, words: str, last: float) -> float | None:
        """The moment that is meant by `HH:MM`, `HH:MM:SS` or `[YYYY-]MM-DD HH:MM[:SS]` on the log's clock; None for other words.

        What is left out is taken so that the moment is the newest one that is not after `last`.
        """
        parts = _WORDS.fullmatch(words.strip())
        if parts is None:
            return None
        year, month, day, hour, minute, second = (None if part is None else int(part) for part in parts.groups())
        shown = self.clock.wall(last)
        try:
            wall = shown.replace(
                year=year or shown.year,
                month=month or shown.month,
                day=day or shown.day,
                hour=hour or 0,
                minute=minute or 0,
                second=second or 0,
                microsecond=0,
            )
            if wall > shown and month is None:
                wall -= timedelta(days=1)
            elif wall > shown and year is None:
                wall = wall.replace(year=wall.year - 1)
        except ValueError:
            return None
        return self.clock.instant(wall)
