"""The lines of a log that a sieve keeps, and those around them; found without holding more than counts for each chunk.

How a line is matched is the sieve's matter, how it is drawn nobody's here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence

from screens.logs.file import LogFile
from screens.logs.patterns import LineFilter, line_count

FEW = 8


class FilteredLines:
    """The lines of a file that a sieve keeps: counts for each chunk, positions only of the few chunks in use."""

    def __init__(
        self, file: LogFile, sieve: LineFilter, *, counts: bool = False, base: FilteredLines | None = None
    ) -> None:
        """`base` keeps all lines but those that the sieve does not want, whatever it wants."""
        self._file = file
        self._base = base
        self.sieve = sieve
        self.counts = counts
        """Whether all lines that are looked at are counted, kept or not."""
        self._before = array("Q", [0])
        self._starts: OrderedDict[int, tuple[int, list[int]]] = OrderedDict()
        self._few: dict[int, array[int]] = {}
        """Positions in chunks that keep hardly any line: rare lines are far apart, and each would cost a chunk to find again."""
        self._dense = not sieve.wanted
        """Whether most chunks keep lines, so that those not scanned yet are looked at one by one."""
        self._lines = 0
        self._dropped = array("L")
        """Lines of each chunk that are not kept, where nothing is wanted or all are counted."""
        self._tail = (-1, 0)
        """The size of the file when the lines behind the scan were last counted, and how many there were."""

    def advance(self) -> bool:
        """Scan one more whole chunk; False when only the growing end is left."""
        index = len(self._before) - 1
        if (index + 2) * self._file.span > self._file.size:
            return False
        lines = self._file.lend(index)
        dropped = self._base.dropped(index) if self._base is not None else None
        kept, few = self.sieve.scan(lines.data, lines.begin, lines.end, FEW, dropped)
        if few:
            self._few[index] = array("Q", [lines.offset + at - lines.begin for at in few])
        self._before.append(self._before[-1] + kept)
        if self.counts or not self.sieve.wanted:
            every = line_count(lines.data, lines.begin, lines.end)
            self._lines += every
            self._dropped.append(every - kept)
        return True

    def dropped(self, index: int) -> int | None:
        """How many lines of a chunk are not kept; None where they were not counted yet."""
        return self._dropped[index] if index < len(self._dropped) else None

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
            self._tail = (self._file.size, sum(line_count(data, 0, len(data)) for data in ends))
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
        walks = self._dense or index + 1 <= scanned + 1 or self.share >= 1.0
        return index + 1 if walks else self._file.size // self._file.span + 1

    def _previous_chunk(self, index: int) -> int:
        scanned = len(self._before) - 1
        if index > scanned:
            return index - 1 if self._dense or self.share >= 1.0 else scanned
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
    """What is shown of a log: the lines that a filter keeps and so many lines around each, but never the hidden ones."""

    def __init__(
        self, file: LogFile, sieve: LineFilter, around: int, hidden: LineFilter, *, counts: bool = False
    ) -> None:
        self._file = file
        self._counts = counts
        self._hidden = hidden
        self._filter = sieve
        self.around = around if sieve else 0
        self.sieve = sieve.without(hidden)
        """What a line must pass to be kept."""
        self.base = FilteredLines(file, hidden, counts=counts) if hidden else None
        """All lines but the hidden ones."""
        self.kept = (
            self.base if self.base and not sieve else FilteredLines(file, self.sieve, counts=counts, base=self.base)
        )

    @property
    def filtered(self) -> bool:
        """Whether there is a filter, not only something hidden."""
        return bool(self._filter)

    @classmethod
    def over(
        cls,
        file: LogFile,
        sieve: LineFilter,
        around: int,
        hidden: LineFilter,
        before: Shown | None,
        *,
        counts: bool = False,
    ) -> Shown | None:
        """What is shown from now on, None for all; what is known of the lines from `before` stays known."""
        if not sieve and not hidden:
            return None
        made = cls(file, sieve, around, hidden, counts=counts)
        if before is not None and before._hidden == hidden:
            made.take_base(before.base)
        if made.base and not sieve:
            made.kept = made.base
        elif before is not None and before.sieve == made.sieve:
            made.kept = before.kept
        return made

    def take_base(self, base: FilteredLines | None) -> None:
        """Go on with what is known of the lines but the hidden ones."""
        self.base = base
        self.kept = FilteredLines(self._file, self.sieve, counts=self._counts, base=base)

    def anew(self, file: LogFile) -> Shown:
        """The same on a file that has started anew."""
        return Shown(file, self._filter, self.around, self._hidden, counts=self._counts)

    def scans(self) -> tuple[FilteredLines, ...]:
        """What is still to be scanned."""
        return (self.kept,) if self.base is None or self.base is self.kept else (self.kept, self.base)

    def advance(self) -> bool:
        """Scan a little more; False when only the growing end is left."""
        return any(scan.advance() for scan in self.scans())

    def holds(self, start: int) -> bool:
        """Whether a line is kept itself, not only shown for being near."""
        return not self.around or self.sieve.keeps(self._file.text(start)[0])

    def hidden(self, lines: int) -> int | None:
        """How many of so many lines of the log are hidden whatever the filter; None while they are not counted."""
        if self.base is None:
            return 0
        return max(0, lines - self.base.total()) if self.base.share >= 1.0 else None

    def at_or_after(self, start: int) -> int | None:
        """Where the first shown line at or behind the line at `start` starts."""
        if self.around and (above := self.kept.before(start)) is not None and start < self._file.size:
            for _ in range(self.around):
                above = self._after(above)
                if above >= start:
                    return above if above < self._file.size else None
        found = self.kept.at_or_after(start)
        for _ in range(self.around if found is not None else 0):
            assert found is not None
            above = self._before(found)
            if above is None or above < start:
                break
            found = above
        return found

    def before(self, start: int) -> int | None:
        """Where the last shown line before the line at `start` starts."""
        below = self.kept.at_or_after(start) if self.around else None
        for _ in range(self.around if below is not None else 0):
            assert below is not None
            below = self._before(below)
            if below is None or below < start:
                return below
        found = self.kept.before(start)
        for _ in range(self.around if found is not None else 0):
            assert found is not None
            below = self._after(found)
            if below >= start:
                break
            found = below
        return found

    def _after(self, start: int) -> int:
        """Where the line after one starts, of those that are not hidden; the size of the file behind the last."""
        after = self._file.after(start)
        found = self.base.at_or_after(after) if self.base is not None else after
        return self._file.size if found is None else found

    def _before(self, start: int) -> int | None:
        return self.base.before(start) if self.base is not None else self._file.before(start)
