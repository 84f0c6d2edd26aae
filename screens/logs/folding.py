"""Equal lines of several ranks as one: which lines count as equal, for how long, and how such a group is named.

Lines are equal when they differ only in what stands before the message: process names, process ids and the time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from console.probes.log_time import find
from screens.logs.line_drawing import collapse
from screens.styled_lines import Span

WITHIN_S = 5.0
"""Ranks that write the same line within this time of the first one are shown together."""
_PURGED_AT = 4096

_PROCESS = re.compile(rb"(?:\([^()\n]{1,60} pid=\d+\) ?)*")
_LEVEL = re.compile(rb"\b(?:DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\b")

Spot = tuple[int, int]
"""A line of several logs: which log, and where in it the line starts."""


@dataclass(slots=True)
class Entry:
    """What is shown as one line: the first line of a group and all that are equal to it."""

    time: float
    spots: list[Spot]
    members: int
    """The logs that have it, a bit for each."""
    key: bytes = b""
    """What its lines have in common."""


def key_of(raw: bytes) -> bytes:
    """What equal lines of different ranks have in common."""
    raw = collapse(raw)
    return stamped_key(raw, find(raw))


def stamped_key(raw: bytes, found: re.Match[bytes] | None) -> bytes:
    """The same of a line without carriage returns whose stamp is found."""
    if found is None:
        return _PROCESS.sub(b"", raw, count=1)
    begin, end = found.span("stamp")
    level = _LEVEL.search(raw, 0, begin)
    letter = raw[begin : begin + 1] if found["glog"] else b""
    return (level[0] if level else letter) + raw[end:]


class Folds:
    """Groups that may still grow."""

    def __init__(self) -> None:
        self._open: dict[bytes, list[Entry]] = {}

    def take(self, spot: Spot, when: float, key: bytes) -> Entry | None:
        """Put a line into the group it belongs to; gives the new group when it is the first of one."""
        bit = 1 << spot[0]
        groups = self._open.setdefault(key, [])
        for group in groups:
            if not group.members & bit and abs(when - group.time) <= WITHIN_S:
                group.members |= bit
                group.spots.append(spot)
                return None
        made = Entry(when, [spot], bit, key)
        groups[:] = [each for each in groups if abs(when - each.time) <= WITHIN_S]
        groups.append(made)
        if len(self._open) > _PURGED_AT:
            self._open = {text: found for text, found in self._open.items() if abs(when - found[-1].time) <= WITHIN_S}
        return made

    def absorb(self, later: Entry) -> Entry | None:
        """Join a group that was started without knowing of these to an earlier one; gives that one."""
        for group in self._open.get(later.key, ()):
            if not group.members & later.members and abs(later.time - group.time) <= WITHIN_S:
                group.members |= later.members
                group.spots += later.spots
                return group
        return None

    def exchange(self, gone: Entry, by: Entry) -> None:
        """Lines that would join a group join another from now on."""
        groups = self._open.get(gone.key, [])
        groups[:] = [by if each is gone else each for each in groups]


@dataclass(frozen=True, slots=True)
class Names:
    """How members are called in a narrow column."""

    engines: tuple[str, ...]
    cells: int

    @classmethod
    def of(cls, engines: Sequence[str]) -> Names:
        """Room for the longest name and for `x15 not 10`."""
        return cls(tuple(engines), max(10, min(18, max((len(each) for each in engines), default=0))))

    def short(self, member: int) -> str:
        """The number alone when all are of one group."""
        group = self.engines[0].rpartition("-")[0]
        same = all(each.rpartition("-")[0] == group for each in self.engines)
        return self.engines[member].rpartition("-")[2] if group and same else self.engines[member]

    def label(self, entry: Entry) -> Span:
        """Who wrote it, and in what role: that some lack what most wrote is a warning."""
        here = len(entry.spots)
        if here == 1:
            return self.engines[entry.spots[0][0]], "key"
        absent = self._absent(entry)
        if not absent:
            return f"x{here}", "dim"
        odd = len(absent) < here
        names = absent if odd else [self.short(each) for each in sorted(member for member, _ in entry.spots)]
        label = f"x{here} {'not ' if odd else ''}{','.join(names)}"
        return label if len(label) <= self.cells else f"x{here}/{len(self.engines)}", "warn" if odd else "key"

    def words(self, entry: Entry) -> str:
        """Who wrote it, as far as a title has room: `15/16 not 7`, `2/16 3,9`."""
        absent = self._absent(entry)
        if not absent:
            return f"{len(entry.spots)}/{len(self.engines)}"
        odd = len(absent) < len(entry.spots)
        names = absent if odd else [self.short(each) for each in sorted(member for member, _ in entry.spots)]
        return f"{len(entry.spots)}/{len(self.engines)} {'not ' if odd else ''}{','.join(names)}"

    def _absent(self, entry: Entry) -> list[str]:
        return [self.short(each) for each in range(len(self.engines)) if not entry.members >> each & 1]
