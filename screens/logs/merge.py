"""Several logs in the order of their times, as far as somebody looks: a stretch of lines that grows at both ends on demand.

No log is read as a whole: the stretch starts anywhere, and its ends are one offset in each log.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from screens.logs.folding import WITHIN_S, Entry, Folds, Spot
from screens.logs.merge_member import MergeMember

LONGEST = 20_000
"""Entries that a stretch may have before it is taken up anew."""


class Merge:
    """A stretch of merged lines."""

    def __init__(self, members: Sequence[MergeMember]) -> None:
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
        heads = [
            (member.time(start), index, start)
            for index, member in enumerate(self.members)
            if (start := member.first(self._high[index])) is not None
        ]
        heapq.heapify(heads)
        taken = 0
        while heads and taken < lines:
            when, index, start = heads[0]
            member = self.members[index]
            self._add(self.entries, self._folds, (index, start), when, member.key(start) if self.folded else b"")
            self._high[index] = member.file.after(start)
            taken += 1
            if (following := member.first(self._high[index])) is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (member.time(following), index, following))
        if not heads:
            self._high = [max(high, member.end()) for high, member in zip(self._high, self.members, strict=True)]
        return taken

    def up(self, lines: int) -> int:
        """Take in up to so many lines before the stretch; gives how many entries came to stand before the others."""
        heads = [
            (-member.time(start), -index, -start)
            for index, member in enumerate(self.members)
            if (start := member.before(self._low[index])) is not None
        ]
        heapq.heapify(heads)
        block: list[tuple[Spot, float, bytes]] = []
        while heads and len(block) < lines:
            when, index, start = heads[0]
            index, start = -index, -start
            member = self.members[index]
            block.append(((index, start), -when, member.key(start) if self.folded else b""))
            self._low[index] = start
            if (above := member.before(start)) is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (-member.time(above), -index, -above))
        entries: list[Entry] = []
        folds = self._folds if not self.entries else Folds()
        for spot, when, key in reversed(block):
            self._add(entries, folds, spot, when, key)
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

    def _add(self, entries: list[Entry], folds: Folds, spot: Spot, when: float, key: bytes) -> None:
        if not self.folded:
            entries.append(Entry(when, [spot], 1 << spot[0]))
            return
        made = folds.take(spot, when, key)
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
        """Take up the stretch so that it starts a moment before a line, and holds it; gives its entry."""
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
