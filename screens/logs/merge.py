"""Several logs in the order of their times, as far as somebody looks: a stretch of lines that grows at both ends on demand.

No log is read as a whole: the stretch begins anywhere, and its ends are one offset in each log.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from screens.logs.folding import WITHIN_S, Entry, Folds, Spot, key_of
from screens.logs.member import Member

LONGEST = 20_000
"""Entries that a stretch may have before it is taken up anew."""


class Merge:
    """A stretch of merged lines."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self.folded = True
        self.entries: list[Entry] = []
        self._low = [0] * len(self.members)
        self._high = [0] * len(self.members)
        self._folds = Folds()

    def begin(self, cut: Sequence[int]) -> None:
        """Take up an empty stretch at one place in each log."""
        self.entries = []
        self._folds = Folds()
        self._low = list(cut)
        self._high = list(cut)

    def begin_at_end(self) -> None:
        """Take up an empty stretch behind the last whole line of each log."""
        self.begin([member.end() for member in self.members])

    def waiting(self) -> int:
        """Bytes behind the stretch."""
        return sum(max(0, member.file.size - high) for member, high in zip(self.members, self._high, strict=True))

    def down(self, lines: int) -> int:
        """Take in up to so many lines behind the stretch; gives how many there were."""
        heads: list[tuple[float, int, int]] = []
        for index, member in enumerate(self.members):
            self._push(heads, index, member.first(self._high[index]))
        heapq.heapify(heads)
        taken = 0
        while heads and taken < lines:
            when, index, start = heapq.heappop(heads)
            member = self.members[index]
            self._add(self.entries, self._folds, (index, start), when)
            self._high[index] = member.file.after(start)
            taken += 1
            following: list[tuple[float, int, int]] = []
            self._push(following, index, member.first(self._high[index]))
            for each in following:
                heapq.heappush(heads, each)
        if not heads:
            self._high = [max(high, member.end()) for high, member in zip(self._high, self.members, strict=True)]
        return taken

    def _push(self, heads: list[tuple[float, int, int]], index: int, start: int | None) -> None:
        if start is not None:
            heads.append((self.members[index].time(start), index, start))

    def up(self, lines: int) -> int:
        """Take in up to so many lines before the stretch; gives how many entries came to stand before the others."""
        heads: list[tuple[float, int, int]] = []
        for index, member in enumerate(self.members):
            self._push_above(heads, index, member.before(self._low[index]))
        heapq.heapify(heads)
        block: list[tuple[Spot, float]] = []
        while heads and len(block) < lines:
            when, index, start = heapq.heappop(heads)
            index, start = -index, -start
            block.append(((index, start), -when))
            self._low[index] = start
            above: list[tuple[float, int, int]] = []
            self._push_above(above, index, self.members[index].before(start))
            for each in above:
                heapq.heappush(heads, each)
        entries: list[Entry] = []
        folds = self._folds if not self.entries else Folds()
        for spot, when in reversed(block):
            self._add(entries, folds, spot, when)
        if self.folded and self.entries and entries:
            self._join(folds, entries[-1].time)
        self.entries = entries + self.entries
        return len(entries)

    def _join(self, above: Folds, until: float) -> None:
        """Let groups at the upper end of the stretch join those of the lines that now come before them."""
        near = next(
            (index for index, each in enumerate(self.entries) if each.time - until > WITHIN_S), len(self.entries)
        )
        left: list[Entry] = []
        for entry in self.entries[:near]:
            if (group := above.absorb(entry)) is None:
                left.append(entry)
            else:
                self._folds.exchange(entry, group)
        self.entries[:near] = left

    def _push_above(self, heads: list[tuple[float, int, int]], index: int, start: int | None) -> None:
        if start is not None:
            heads.append((-self.members[index].time(start), -index, -start))

    def _add(self, entries: list[Entry], folds: Folds, spot: Spot, when: float) -> None:
        if not self.folded:
            entries.append(Entry(when, [spot], 1 << spot[0]))
            return
        made = folds.take(spot, when, key_of(self.members[spot[0]].file.text(spot[1])[0]))
        if made is not None:
            entries.append(made)

    def find(self, spot: Spot) -> int | None:
        """Which entry holds a line; None when it is not in the stretch."""
        return next((index for index, entry in enumerate(self.entries) if spot in entry.spots), None)

    def order(self, spot: Spot) -> tuple[float, int, int]:
        """What lines of all logs are ordered by."""
        index, start = spot
        return self.members[index].time(start), index, start

    def cut(self, spot: Spot, *, behind: bool = False) -> list[int]:
        """The place in each log that comes next in order at a line; with `behind`, behind it."""
        at, start = spot
        when = self.members[at].time(start)
        return [
            (member.file.after(start) if behind else start)
            if index == at
            else member.at(math.nextafter(when, math.inf) if index < at else when)
            for index, member in enumerate(self.members)
        ]

    def reach(self, spot: Spot) -> int | None:
        """Take up the stretch so that it begins a moment before a line, and holds it; gives its entry."""
        index, start = spot
        when = self.members[index].time(start)
        cut = [member.at(when) for member in self.members]
        cut[index] = min(cut[index], start)
        for first in (cut, self.cut(spot)):
            self.begin(first)
            for _ in range(4):
                self.down(1000)
                if (found := self.find(spot)) is not None:
                    return found
        return None
