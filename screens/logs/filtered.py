"""The lines of a log that a sieve keeps, and those around them; found without holding more than counts for each chunk.

How a line is matched is the sieve's matter, how it is drawn nobody's here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence

from screens.logs.file import LogFile
from screens.logs.patterns import LineFilter

FEW = 8


class FilteredLines:
    """The lines of a file that a sieve keeps: counts for each chunk, positions only of the few chunks in use."""

    def __init__(self, file: LogFile, sieve: LineFilter, *, counts: bool = False) -> None:
        self._file = file
        self.sieve = sieve
        self.counts = counts
        """Whether all lines that are looked at are counted, kept or not."""
        self._before = array("Q", [0])
        self._starts: OrderedDict[int, tuple[int, list[int]]] = OrderedDict()
        self._few: dict[int, array[int]] = {}
        """Positions in chunks that keep hardly any line: rare lines are far apart, and each would cost a chunk to find again."""
        self._lines = 0
        self._tail = (-1, 0)
        """The size of the file when the lines behind the scan were last counted, and how many there were."""

    def advance(self) -> bool:
        """Scan one more whole chunk; False when only the growing end is left."""
        index = len(self._before) - 1
        if (index + 2) * self._file.span > self._file.size:
            return False
        lines = self._file.lend(index)
        kept, few = self.sieve.scan(lines.data, lines.begin, lines.end, FEW)
        if few:
            self._few[index] = array("Q", [lines.offset + at - lines.begin for at in few])
        self._before.append(self._before[-1] + kept)
        if self.counts:
            self._lines += lines.data.count(b"\n", lines.begin, lines.end)
        return True

    @property
    def share(self) -> float:
        """How much of the file has been scanned, 0–1."""
        return min(1.0, (len(self._before) + 1) * self._file.span / self._file.size) if self._file.size else 1.0

    def total(self) -> int:
        """Lines kept in what has been scanned, the growing end included when the scan has come so far."""
        scanned = len(self._before) - 1
        ends = (scanned, scanned + 1) if self.share >= 1.0 else ()
        return self._before[-1] + sum(len(self.of(index)) for index in ends)

    def lines(self) -> int:
        """Lines of all that has been scanned, kept or not."""
        if self.share < 1.0:
            return self._lines
        if self._tail[0] != self._file.size:
            scanned = len(self._before) - 1
            ends = (self._file.region(index)[1] for index in (scanned, scanned + 1))
            self._tail = (self._file.size, sum(data.count(b"\n") for data in ends))
        return self._lines + self._tail[1]

    def at_or_after(self, offset: int) -> int | None:
        """Where the first kept line at or behind an offset starts."""
        index = offset // self._file.span
        last = self._file.size // self._file.span
        while index <= last:
            starts = self.of(index)
            position = bisect_left(starts, offset)
            if position < len(starts):
                return starts[position]
            index = self._next_chunk(index)
        return None

    def before(self, offset: int) -> int | None:
        """Where the last kept line before an offset starts."""
        index = min(offset, self._file.size) // self._file.span
        while index >= 0:
            starts = self.of(index)
            position = bisect_left(starts, offset)
            if position:
                return starts[position - 1]
            index = self._previous_chunk(index)
        return None

    def _next_chunk(self, index: int) -> int:
        """The next chunk that may keep a line; chunks not scanned yet all may, but are left for the scan."""
        scanned = len(self._before) - 1
        if index + 1 < scanned:
            return bisect_right(self._before, self._before[index + 1]) - 1
        return index + 1 if index + 1 <= scanned + 1 or self.share >= 1.0 else self._file.size // self._file.span + 1

    def _previous_chunk(self, index: int) -> int:
        scanned = len(self._before) - 1
        if index > scanned:
            return index - 1 if self.share >= 1.0 else scanned
        return bisect_left(self._before, self._before[index]) - 1 if index else -1

    def of(self, index: int) -> Sequence[int]:
        """Positions of the kept lines of one chunk."""
        if (few := self._few.get(index)) is not None:
            return few
        size = min(self._file.size, (index + 2) * self._file.span)
        known = self._starts.get(index)
        if known is not None and known[0] == size:
            return known[1]
        if index + 1 < len(self._before) and self._before[index + 1] == self._before[index]:
            return []
        first, data = self._file.region(index)
        starts = [first + at for at in self.sieve.kept(data)]
        self._starts[index] = (size, starts)
        self._starts.move_to_end(index)
        if len(self._starts) > 16:
            self._starts.popitem(last=False)
        return starts

    def position(self, start: int) -> int | None:
        """How many kept lines there are up to the one that starts at `start`; None where the scan has not come so far."""
        index = start // self._file.span
        if index >= len(self._before):
            return None
        return self._before[index] + bisect_right(self.of(index), start)


class Shown:
    """What a filter leaves of a log: kept lines and so many lines around each."""

    def __init__(self, file: LogFile, sieve: LineFilter, around: int = 0, *, counts: bool = False) -> None:
        self._file = file
        self.sieve = sieve
        self.around = around
        self.kept = FilteredLines(file, sieve, counts=counts)

    def anew(self, file: LogFile) -> Shown:
        """The same on a file that has started anew."""
        return Shown(file, self.sieve, self.around, counts=self.kept.counts)

    def with_around(self, around: int) -> Shown:
        """The same lines kept, with another number of lines around them."""
        made = Shown(self._file, self.sieve, around)
        made.kept = self.kept
        return made

    def holds(self, start: int) -> bool:
        """Whether a line is kept itself, not only shown for being near."""
        return not self.around or self.sieve.keeps(self._file.text(start)[0])

    def at_or_after(self, start: int) -> int | None:
        """Where the first shown line at or behind the line at `start` starts."""
        if self.around and (above := self.kept.before(start)) is not None and start < self._file.size:
            for _ in range(self.around):
                above = self._file.after(above)
                if above >= start:
                    return above
        found = self.kept.at_or_after(start)
        for _ in range(self.around if found is not None else 0):
            assert found is not None
            above = self._file.before(found)
            if above is None or above < start:
                break
            found = above
        return found

    def before(self, start: int) -> int | None:
        """Where the last shown line before the line at `start` starts."""
        below = self.kept.at_or_after(start) if self.around else None
        for _ in range(self.around if below is not None else 0):
            assert below is not None
            below = self._file.before(below)
            if below is None or below < start:
                return below
        found = self.kept.before(start)
        for _ in range(self.around if found is not None else 0):
            assert found is not None
            below = self._file.after(found)
            if below >= start:
                break
            found = below
        return found
