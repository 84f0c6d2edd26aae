"""A view of several logs by time, with moves, search, filters and selection. No widget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from screens.logs.filtered import Shown
from screens.logs.folding import Spot
from screens.logs.line_drawing import text_of
from screens.logs.merge import LONGEST
from screens.logs.merge_window import STEP, MergeWindow
from screens.logs.patterns import LineFilter, Pattern
from screens.styled_lines import Line


class Merged(MergeWindow):
    """A view of several logs, as many rows high as the screen has room."""

    def filter(self, sieve: LineFilter, around: int = 0, hidden: Sequence[LineFilter] | None = None) -> None:
        """Show only what a sieve keeps of each log, and so many of that log's lines around each."""
        self.sieve, self.around = sieve, around
        for member, each in zip(self.merge.members, hidden or (), strict=hidden is not None):
            member.hidden = each
        for member in self.merge.members:
            member.shown = Shown.over(member.file, sieve, around, member.hidden, member.shown, counts=True)
        self._sifting = bool(sieve)
        self._anew()
        self._count_hits()

    def fold(self, on: bool) -> None:
        """Show equal lines of several ranks as one, or each by itself."""
        self.merge.folded = on
        self._anew()

    def rows(self) -> list[Line]:
        """The rows on the screen now."""
        if self.following:
            self._catch_up()
            self._to_end()
        else:
            self._below(self.height)
            if len(self.merge.entries) > 2 * LONGEST:
                self._anew()
                self._below(self.height)
        found: list[Line] = []
        skip = self._sub
        for entry in self.merge.entries[self._top :]:
            if len(found) >= self.height:
                break
            found.extend(self.pieces(entry)[skip:])
            skip = 0
        return found[: self.height]

    def seen(self) -> list[Spot]:
        """The lines on the screen."""
        return [entry.spots[0] for entry in self.merge.entries[self._top : self._top + self.height]]

    def move(self, by: int) -> None:
        """So many rows down, or up when negative. Reaching the end means to follow again."""
        if by < 0:
            self.pause()
            self._up(-by)
        elif not self.following:
            found = self._below(self.height + by)
            if found < self.height + by:
                self.follow()
                return
            self._sub += by
            while self._sub >= (height := self._rows_of(self._top)):
                self._sub -= height
                self._top += 1

    def pause(self) -> None:
        """Stay where the reader is."""
        if self.following:
            self._catch_up()
            self._to_end()
            self.following = False
            self.fresh = 0
            self._counted = [member.file.size for member in self.merge.members]

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.following = True
        self._behind = True

    def go(self, spot: Spot, above: int = 0) -> None:
        """Put a line on the screen, `above` rows from its top."""
        self.pause()
        found = self.merge.find(spot)
        if found is None:
            found = self.merge.reach(spot)
        self._top, self._sub = found or 0, 0
        self._up(above)

    def to_top(self) -> None:
        """To the first line of all."""
        self.pause()
        self.merge.begin([0] * len(self.merge.members))
        self._top = self._sub = 0

    def here(self) -> Spot | None:
        """The line the search stands on, else the one on top."""
        return self.hit or self._spot()

    def next_mark(self) -> Spot | None:
        """The next marked line, from the last one back to the first."""
        here = self.here()
        order = self.merge.order
        after = [spot for spot in self.marks if here is not None and order(spot) > order(here)]
        return min(after or self.marks, key=order, default=None)

    def find(self, wanted: Pattern, *, forward: bool) -> Iterator[Spot | None]:
        """Look through all logs at once, always in the one whose search is least far, so that no hit is passed over."""
        merge = self.merge
        here = self.hit or (self._spot() if forward else None)
        stands_on = next((set(entry.spots) for entry in merge.entries if here in entry.spots), {here})
        if here is None:
            cut = [0 if forward else member.file.size for member in merge.members]
        else:
            cut = merge.cut(here, behind=forward and self.hit is not None)
        hunts = [member.hunt(wanted, start, forward=forward) for member, start in zip(merge.members, cut, strict=True)]
        sign = 1 if forward else -1
        pending: dict[int, Spot] = {}
        passed = stands_on if self.hit else set()
        while True:
            best = min(pending.values(), key=lambda spot: _times(sign, merge.order(spot)), default=None)
            limit = None if best is None else sign * merge.order(best)[0]
            behind = {
                index: sign * merge.members[index].time(min(hunt.frontier, merge.members[index].end()))
                for index, hunt in enumerate(hunts)
                if index not in pending and not hunt.over
            }
            nearest = min(behind, key=lambda index: behind[index], default=None)
            if nearest is not None and (limit is None or behind[nearest] <= limit):
                start = hunts[nearest].step()
                if start is not None:
                    pending[nearest] = (nearest, start)
            elif best is None:
                return
            elif best in passed:
                del pending[best[0]]
            else:
                yield best
                return
            yield None

    def moment(self, words: str) -> Spot | None:
        """Where a moment starts, by the clock of the first log."""
        last = self._last()
        found = self.merge.members[0].times.meant(words, last) if last is not None else None
        return self._at(found) if found is not None else None

    def ago(self, seconds: float) -> Spot | None:
        """Where the last so many seconds begin."""
        last = self._last()
        return None if last is None else self._at(last - seconds)

    def _last(self) -> float | None:
        lasts = (member.times.last() for member in self.merge.members)
        return max((last for last in lasts if last is not None), default=None)

    def _at(self, when: float) -> Spot | None:
        spots = [
            (index, start)
            for index, member in enumerate(self.merge.members)
            if (start := member.first(member.at(when))) is not None
        ]
        return min(spots, key=self.merge.order, default=None)

    def step(self, spot: Spot, by: int) -> Spot:
        """The line so many lines further that is shown, or the last one that way."""
        index = self.merge.find(spot)
        if index is None:
            return spot
        index += by
        while index < 0 and (more := self.merge.up(STEP)):
            index += more
            self._top += more
        while index >= len(self.merge.entries) and self.merge.down(STEP):
            pass
        return self.merge.entries[max(0, min(index, len(self.merge.entries) - 1))].spots[0]

    def chosen(self) -> list[Spot]:
        """The lines that are selected, in order; of a group of equal lines the first."""
        if self.anchor is None or self.cursor is None:
            return []
        ends = [self.merge.find(spot) for spot in (self.anchor, self.cursor)]
        if ends[0] is None or ends[1] is None:
            return [self.cursor]
        low, high = sorted((ends[0], ends[1]))
        return [entry.spots[0] for entry in self.merge.entries[low : high + 1]]

    def texts(self, spots: Sequence[Spot]) -> list[str]:
        """Lines in full, each behind the ranks that wrote it."""
        groups = {entry.spots[0]: entry for entry in self.merge.entries}
        labels = [
            self.names.label(groups[spot])[0] if spot in groups else self.names.engines[spot[0]] for spot in spots
        ]
        return [f"{label:{self.names.cells}} {self.text(spot)}" for label, spot in zip(labels, spots, strict=True)]

    def text(self, spot: Spot) -> str:
        """A line, safe to show and to copy."""
        return text_of(*self.merge.members[spot[0]].file.text(spot[1]))


def _times(sign: int, order: tuple[float, int, int]) -> tuple[float, int, int]:
    return sign * order[0], sign * order[1], sign * order[2]
