"""The stretch of several logs that is merged, and the place of the screen in it: rows of a `Merge` with who wrote each line.

The stretch grows where the reader goes. At the end it is taken up anew when more arrives than anybody could read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from console.services.logs.copies import LogNote
from screens.logs.folding import Entry, Spot
from screens.logs.line_drawing import note_row, pieces, text_of
from screens.logs.merge import LONGEST
from screens.logs.merge_member import MergeMember
from screens.logs.sources import Sources
from screens.styled_lines import Line

STEP = 400
"""Lines that are merged at a time."""
MOST_BEHIND = 512 * 1024
"""Bytes that are merged line by line to catch up; with more of them only the end is merged."""
CATCH_UP_STEPS = 4
COUNTED = 1024 * 1024
"""Bytes of one log in which new lines are counted at a time."""


class MergeWindow(Sources):
    """The logs, the stretch of them that is merged, and the place of the screen in it."""

    def __init__(self, members: Sequence[MergeMember]) -> None:
        super().__init__(members)
        self.fresh = 0
        """Lines that came since the reader paused."""
        self._top = 0
        self._counted = [0] * len(self.merge.members)
        self._behind = True

    def grow(self, sizes: Sequence[int], notes: Sequence[tuple[LogNote, ...]] = ()) -> bool:
        """Take what has arrived in each log; True when something on the screen may have changed."""
        changed = restarted = False
        for member, said in zip(self.merge.members, notes, strict=False):
            changed = changed or member.notes != said
            member.notes = said
        for member, size in zip(self.merge.members, sizes, strict=True):
            changed = changed or size != member.file.size
            if member.file.grow(size):
                member.forget()
                restarted = True
        self._behind = self._behind or changed
        if restarted:
            self.hit = self.anchor = self.cursor = None
            self.marks.clear()
            self.merge.begin_at_end()
            self.follow()
        elif changed and not self.following:
            self._count_fresh()
        return changed

    def _count_fresh(self) -> None:
        for index, member in enumerate(self.merge.members):
            data = member.file.read(self._counted[index], min(COUNTED, member.file.size - self._counted[index]))
            whole = data.rfind(b"\n") + 1
            self._counted[index] += whole or len(data) // COUNTED * COUNTED
            self.fresh += member.hidden.scan(data, 0, whole, 0)[0]

    def when(self) -> str:
        """The time of the line on top, or of the last one while following, by the clock of the first log: `10:15:02`."""
        entries = self.merge.entries
        at = entries[-1 if self.following else min(self._top, len(entries) - 1)].time if entries else 0.0
        return f"{self.merge.members[0].times.clock.wall(at):%H:%M:%S}" if at else ""

    def writers(self) -> str:
        """Who wrote the line the search stands on, when that were several."""
        entry = next((each for each in self.merge.entries if self.hit in each.spots), None) if self.hit else None
        return self.names.words(entry) if entry is not None and len(entry.spots) > 1 else ""

    def _anew(self) -> None:
        """Take the stretch up again around the line on top, or at the end."""
        top = None if self.following else self._spot()
        if top is None:
            self.merge.begin_at_end()
            self._behind = True
        else:
            self.merge.begin(self.merge.cut(top))
        self._top = self._sub = 0

    def _spot(self) -> Spot | None:
        entries = self.merge.entries
        return entries[min(self._top, len(entries) - 1)].spots[0] if entries else None

    def pieces(self, entry: Entry) -> list[Line]:
        """The rows of one line."""
        index, start = entry.spots[0]
        member = self.merge.members[index]
        raw, left_out = member.file.text(start)
        order = self.merge.order
        ends = sorted((order(self.anchor), order(self.cursor))) if self.anchor and self.cursor else [(0.0, 0, 0)] * 2
        line_state = self.line_state(
            (index, start),
            order((index, start)) if self.anchor else 0,
            *ends,
            near=member.shown is not None and not member.shown.holds(start),
        )
        if self.hit in entry.spots:
            line_state = replace(line_state, current=True)
        stamped = member.times.own(start)
        notes = [
            note_row(f"{self.names.engines[each]}: {note.text}", self.manner)
            for each, at in entry.spots
            for note in self.merge.members[each].notes_before(at)
        ]
        return notes + pieces(
            text_of(raw, left_out),
            None,
            self.manner,
            line_state,
            at=stamped,
            label=self.names.label(entry),
            several=len(entry.spots) > 1,
        )

    def _rows_of(self, index: int) -> int:
        several = self.manner.wrapped or any(member.notes for member in self.merge.members)
        return len(self.pieces(self.merge.entries[index])) if several else 1

    def _catch_up(self) -> None:
        merge = self.merge
        if self._behind:
            self._behind = False
            flood = not self.sieve and merge.waiting() > MOST_BEHIND
            if flood or not 0 < len(merge.entries) <= LONGEST or not self._caught_up():
                merge.begin_at_end()
        needed = self.height
        while len(merge.entries) < needed and merge.up(STEP):
            pass

    def _caught_up(self) -> bool:
        return any(self.merge.down(STEP) < STEP for _ in range(CATCH_UP_STEPS))

    def _to_end(self) -> None:
        index, rows = len(self.merge.entries), 0
        while index and rows < self.height:
            index -= 1
            rows += self._rows_of(index)
        self._top, self._sub = index, max(0, rows - self.height)

    def _up(self, rows: int) -> None:
        left = rows - self._sub
        self._sub = max(0, self._sub - rows)
        while left > 0:
            if not self._top:
                self._top = self.merge.up(STEP)
                if not self._top:
                    return
            self._top -= 1
            height = self._rows_of(self._top)
            self._sub = max(0, height - left)
            left -= height

    def _below(self, rows: int) -> int:
        """Take in what is needed for so many rows from the top of the screen; gives how many there are, at most."""
        index, found = self._top, -self._sub
        while found < rows:
            if index >= len(self.merge.entries) and not self.merge.down(STEP):
                break
            if index < len(self.merge.entries):
                found += self._rows_of(index)
                index += 1
        return found
