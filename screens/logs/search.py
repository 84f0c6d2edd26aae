"""Searches a log for a pattern, one chunk at a time, so that the screen does not wait."""

from __future__ import annotations

from collections import deque

from screens.logs.file import LogFile
from screens.logs.filtered import FilteredLines
from screens.logs.patterns import LineFilter, Pattern


class Search:
    """A search that goes on from a place, forwards or backwards, hit by hit."""

    def __init__(self, file: LogFile, sieve: LineFilter | None, wanted: Pattern, start: int, *, forward: bool) -> None:
        self._file = file
        self._sieve = sieve
        self._start = start
        self._forward = forward
        self._found = FilteredLines(file, LineFilter((wanted,)))
        self._chunk = max(0, start) // file.span
        self._last = file.size // file.span
        self._hits: deque[int] = deque()

    @property
    def over(self) -> bool:
        """Whether nothing is left to look at."""
        return not self._hits and not 0 <= self._chunk <= self._last

    @property
    def frontier(self) -> int:
        """Where the search stands: no hit that is still to come lies on this side of it."""
        if self._hits:
            return self._hits[0]
        if self._forward:
            return max(self._start, self._chunk * self._file.span)
        return min(self._start, (self._chunk + 1) * self._file.span)

    def step(self) -> int | None:
        """Where the next hit starts; None when the chunk that was looked at has no more, which need not be the end."""
        if not self._hits and not self.over:
            found = self._found.of(self._chunk)
            self._chunk += 1 if self._forward else -1
            self._hits.extend(each for each in (found if self._forward else reversed(found)) if self._ahead(each))
        while self._hits:
            hit = self._hits.popleft()
            if self._sieve is None or self._sieve.keeps(self._file.text(hit)[0]):
                return hit
        return None

    def _ahead(self, start: int) -> bool:
        return start >= self._start if self._forward else start < self._start
