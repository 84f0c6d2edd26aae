"""Reads the time stamps of engine logs: the format of a stamp, and the instant that it means.

    clock = Clock(zone, around=Around.since(run.started_at), ahead_s=offset)     # an engine of a node
    clock = Clock(here, around=Around.until(path.stat().st_mtime))               # a file from another source
    clock.at(line)              # bytes of a line → seconds since the epoch on our clock, None without a stamp
    LineTimes(clock).take(line) # the same for the lines of one log in order; a line without a stamp can use an earlier stamp
    written(line)               # the stamp as text, for `clock.read`
    clock.wall(at)              # an instant as the log would write it, a datetime without zone

Formats: vLLM `11-20 08:00:01`, ISO `2026-11-20 08:00:01.123` (also `,123`, `T`, with a zone), CANN and torch_npu
`2026-11-20-08:00:01.123.456`, glog and c10d `E1120 08:00:01.123456` and `E20261120 …`, after the head of a line: process,
rank, level, colours. A date in the text of a line is not its stamp, and uvicorn writes none.

A stamp without a year belongs to the year of `around`; a stamp without a zone belongs to the zone of the clock. In an hour that
daylight saving repeats, the line before decides; in an hour that it skips, the old offset counts.

A line without a stamp has the time of the last stamped line, if fewer than `CARRY_LINES` lines, `CARRY_BYTES` bytes and
`CARRY_RECORDS` records without a time are between them. Otherwise its time is unknown.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

HEAD_BYTES = 240
"""A stamp is within this many bytes of its line."""
CARRY_LINES = 200
"""Most lines of a traceback or a dump that belong to the line above it."""
CARRY_BYTES = 16 * 1024
CARRY_RECORDS = 8
"""Records of uvicorn can be minutes apart; the text after several of them is not of the time before them."""
CARRY_S = 2.0
"""When arrivals are known: a line that arrives this long after a stamped line has its arrival as time; in seconds."""

Zone = Callable[[float], float]
"""Instant (seconds since the epoch) → seconds that the zone is ahead of UTC."""

_QUARTER_S = 900.0
_FARTHEST_S = 14 * 3600.0
"""Largest difference of a zone to UTC."""
_YEAR_S = 365.25 * 86400.0
_EARLY_S = 31 * 86400.0
"""Largest clock error for which a stamp without a year still gets the right year."""
_FIRST_S = 840.0
"""A run stamps its first line within this time after its start; less than the smallest difference of two zones."""
_TRUNCATED_S = 60.0
"""A stamp may be that much earlier than the start of its run: seconds are cut off, and clocks are set."""

_SOURCE = (
    r"(?:\s|\x1b\[[\d;]*m"  # colours
    r"|\([^()\n]{1,80}\)"  # (Worker_TP0 pid=300)
    r"|\[(?!\d\d\d\d-|\d\d-|[A-Z]\d{4})[^\[\]\n]{1,40}\]:?"  # [rank0]:  [ERROR]  [PID: 300]
    r"|(?:TRACE|DEBUG|INFO|NOTICE|EVENT|WARNING|WARN|ERROR|CRITICAL|FATAL)\b:?"
    r"|[A-Z]\w{0,31}\(\d+,[^()\n]{0,64}\):"  # APP(300,python3):
    r")*+\[?"
    r"(?P<stamp>(?:(?P<dated>(?:\d{4}-)?[01]\d-[0-3]\d[ T-][0-2]\d:[0-5]\d:[0-6]\d)"
    r"|[A-Z](?P<glog>(?:\d{4})?[01]\d[0-3]\d [0-2]\d:[0-5]\d:[0-6]\d))"
    r"(?P<part>(?:[.,]\d{1,9}){0,3})(?P<zone>Z| ?[+-][01]\d:?[0-5]\d)?(?![\d:]))"
)
_LINE = re.compile(_SOURCE.encode())
_TEXT = re.compile(_SOURCE)
_DAY_TIME = re.compile(r"\d\d:\d\d:\d\d")
_RECORD = re.compile(rb"(?:\([^()\n]{1,80}\) ?)*(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):\s")
"""The start of a record of uvicorn."""


def find(line: bytes) -> re.Match[bytes] | None:
    """The place of the stamp of a line, as group `stamp`; None without one."""
    found = _LINE.match(line, 0, HEAD_BYTES)
    if found is None and b"\r" in line:
        found = _LINE.match(line, line.rstrip(b"\r").rfind(b"\r") + 1)
    return found


def written(line: bytes) -> str:
    """The stamp of a line as text; empty without one."""
    found = find(line)
    return found["stamp"].decode("ascii") if found else ""


def span(text: str) -> tuple[int, int] | None:
    """(start, end) of the stamp in the text of a line; None without one."""
    found = _TEXT.match(text, 0, HEAD_BYTES)
    return found.span("stamp") if found else None


def day_time(stamp: str) -> str:
    """The time of day of a stamp as text, to the second: `08:00:01`; empty for an empty stamp."""
    found = _DAY_TIME.search(stamp)
    return found[0] if found else ""


def utc(_at: float) -> float:
    """The zone of clocks that show UTC."""
    return 0.0


def here(at: float) -> float:
    """The zone of this machine."""
    return float(time.localtime(at).tm_gmtoff)


@dataclass(frozen=True, slots=True)
class Steps:
    """A zone as a list of changes `(from, seconds ahead of UTC)`, in order; before the first change its value holds too."""

    table: tuple[tuple[float, float], ...]

    def __call__(self, at: float) -> float:
        """Seconds ahead of UTC at an instant."""
        return self.table[max(0, bisect_right(self.table, (at, _FARTHEST_S * 2)) - 1)][1]


def fixed(east_s: float) -> Zone:
    """A zone with a fixed offset, in seconds ahead of UTC."""
    return Steps(((0.0, east_s),))


@dataclass(frozen=True, slots=True)
class Around:
    """The year to which stamps without a year belong: from `begin`, in seconds since the epoch."""

    begin: float

    @classmethod
    def since(cls, at: float) -> Around:
        """For a log that started at an instant: from one month before it (for wrong clocks) to eleven months after it."""
        return cls(at - _EARLY_S)

    @classmethod
    def until(cls, at: float) -> Around:
        """For a log that was written last at an instant: from eleven months before it to one month after it."""
        return cls(at + _EARLY_S - _YEAR_S)


class Meanings(NamedTuple):
    """The instants that a stamp can mean; two different ones only in an hour that daylight saving repeats."""

    early: float
    late: float


class Clock:
    """The clock of the stamps of one log."""

    def __init__(self, zone: Zone, around: Around, *, ahead_s: float = 0.0, begun: float | None = None) -> None:
        """`zone` is that of the stamps; `ahead_s` is how far that clock is ahead of ours, measured, seconds.

        `around` is by our clock, and so is `begun`, before which no line was stamped.
        """
        self.zone = zone
        self.begun = begun
        self.ahead_s = ahead_s
        self.around = around
        self._hours: dict[bytes, Meanings] = {}

    def at(self, line: bytes, after: float | None = None) -> float | None:
        """The time of a line in seconds since the epoch on our clock; None without a stamp, or with an impossible one.

        `after` is the time of an earlier line, which decides in a repeated hour.
        """
        meant = self.meanings(line)
        return None if meant is None else self._chosen(meant, after)

    def meanings(self, line: bytes) -> Meanings | None:
        """All instants that the stamp of a line can mean; None as for `at`."""
        found = find(line)
        return None if found is None else self.stamped(found)

    def read(self, stamp: str, after: float | None = None) -> float | None:
        """The same for a stamp from `written`."""
        found = _LINE.fullmatch(stamp.encode("ascii", "replace"))
        meant = None if found is None else self.stamped(found)
        return None if meant is None else self._chosen(meant, after)

    def wall(self, at: float) -> datetime:
        """Date and time of this clock at an instant of our clock, as a datetime without zone."""
        moment = at + self.ahead_s
        return datetime.fromtimestamp(moment + self.zone(moment), UTC).replace(tzinfo=None)

    def instant(self, wall: datetime, after: float | None = None) -> float:
        """The instant of a date and time on this clock, in seconds since the epoch on our clock."""
        meant = self._meant(wall.replace(tzinfo=UTC).timestamp())
        return self._chosen(Meanings(meant.early - self.ahead_s, meant.late - self.ahead_s), after)

    def put_back(self, meant: Meanings) -> float:
        """The instant at which the clock is put back to repeat an hour, by two instants that it shows alike."""
        low, high = meant.early + self.ahead_s, meant.late + self.ahead_s
        before = self.zone(low)
        while high - low > 0.01:
            middle = (low + high) / 2
            low, high = (middle, high) if self.zone(middle) == before else (low, middle)
        return round(high) - self.ahead_s

    def stamped(self, found: re.Match[bytes]) -> Meanings | None:
        """The same for a stamp from `find`."""
        dated, glog, part, zone = found.group("dated", "glog", "part", "zone")
        key = dated or glog
        within = int(key[-5:-3]) * 60.0 + int(key[-2:])
        if part:
            within += float(b"0." + part.translate(None, b".,"))
        hour = None if zone else self._hours.get(key[:-6])
        if hour is None:
            start = _hour(key[:-6], self.around.begin + self.ahead_s)
            if start is None:
                return None
            hour = Meanings(*[start - _east(zone)] * 2) if zone else self._hour_of(key[:-6], start, within)
        within -= self.ahead_s
        early, late = hour
        if early == late:
            return Meanings(early + within, early + within)
        early, late = early + within, late + within
        return Meanings(late if self.begun is not None and early < self.begun - _BACK_S else early, late)

    def _hour_of(self, key: bytes, start: float, within: float) -> Meanings:
        """When an hour of the clock starts as its second at `within` sees it; remembered where all its seconds see the same."""
        first, last, meant = (self._meant(start + at) for at in (0.0, 3599.0, within))
        if (last.early - first.early, last.late - first.late) == (3599.0, 3599.0):
            if len(self._hours) >= _KNOWN:
                self._hours.clear()
            self._hours[key] = first
        return Meanings(meant.early - within, meant.late - within)

    def _meant(self, wall: float) -> Meanings:
        """The instants, on the log's clock, at which its zone shows a time that is given as if it were UTC."""
        before, behind = self.zone(wall - 86400.0), self.zone(wall + 86400.0)
        if before == behind:
            return Meanings(wall - before, wall - before)
        fits = [wall - east for east in (before, behind) if self.zone(wall - east) == east]
        return Meanings(min(fits), max(fits)) if fits else Meanings(wall - before, wall - before)

    def _chosen(self, meant: Meanings, after: float | None) -> float:
        return meant.early if after is None or meant.early >= after - _BACK_S else meant.late


_KNOWN = 1024
"""Hours whose instants are remembered."""
_BACK_S = 60.0
"""Lines of several processes are out of order by less than this; a repeated hour goes back by more."""


def _hour(key: bytes, begin: float) -> float | None:
    """The start of an hour, date and hour as they are written, as if it were UTC; without a year of the year from `begin` on.

    None for a date that does not exist.
    """
    digits = key.translate(None, b"-: T")
    month, day, hour = int(digits[-6:-4]), int(digits[-4:-2]), int(digits[-2:])
    first = datetime.fromtimestamp(begin, UTC).year
    years = (first, first + 1) if len(digits) == 6 else (int(digits[:4]),)
    for year in years:
        try:
            found = datetime(year, month, day, hour, tzinfo=UTC).timestamp()
        except ValueError:
            continue
        if len(years) == 1 or begin - 86400.0 <= found < begin + _YEAR_S:
            return found
    return None


def _east(zone: bytes) -> float:
    """`Z`, `+08:00`, `-0700` in seconds ahead of UTC."""
    if zone == b"Z":
        return 0.0
    digits = zone.strip().replace(b":", b"")
    east = int(digits[1:3]) * 3600.0 + int(digits[3:5]) * 60.0
    return -east if digits[:1] == b"-" else east


def zone_of(first: bytes, started_at: float, told: Zone | None = None) -> Zone | None:
    """The zone of a log by its first stamped line and the start of its run, both on the node's clock; None when it cannot be.

    The zone that the node `told` is taken when the log does not contradict it. A container may have another one than its host,
    and then the log alone shows it, to a quarter of an hour.
    """
    shown = Clock(utc, Around.since(started_at - _FARTHEST_S)).at(first)
    if shown is None:
        return told
    ahead = shown - started_at
    if told is not None and -_TRUNCATED_S <= ahead - told(started_at) < _FIRST_S + _TRUNCATED_S:
        return told
    east = (ahead + _TRUNCATED_S) // _QUARTER_S * _QUARTER_S
    return fixed(east) if abs(east) <= _FARTHEST_S else told


def first_stamped(head: bytes) -> bytes:
    """The first line with a stamp in the first bytes of a log; empty without one."""
    return next((line for line in head.split(b"\n") if find(line) is not None), b"")


def clock_of(head: bytes, started_at: float | None, told: Zone | None, *, until: float, ahead_s: float = 0.0) -> Clock:
    """The clock of a log, by its first bytes and what is known of its run.

    `started_at` is when the run started, on the clock that stamps; `told` the zone as the node tells it; `until` when the log was
    written last, on ours; `ahead_s` how far the stamping clock is ahead of ours. Where nothing is known of the run, the zone of
    this machine is assumed.
    """
    if started_at is None:
        return Clock(told or here, Around.until(until), ahead_s=ahead_s)
    zone = zone_of(first_stamped(head), started_at, told)
    begun = started_at - ahead_s
    return Clock(zone or here, Around.since(begun), ahead_s=ahead_s, begun=begun)


class LineTimes:
    """The times of the lines of one log, read in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.last: float | None = None
        """Of the last line with a stamp: no later line is earlier, but for processes that write at once."""
        self._left = _Budget()

    def resume(self, last: float | None) -> None:
        """Go on elsewhere in the log, behind a line of that time, which is too far away to be taken."""
        self.last = last
        self._left = _Budget(0)

    def take(self, line: bytes) -> float | None:
        """The time of the next line: its own, or that of a line before it within the bound; None beyond it."""
        own = self._clock.at(line, self.last)
        if own is not None:
            self.last = own
            self._left = _Budget()
            return own
        if not self._left.open:
            return None
        self._left.spend(line)
        return self.last


@dataclass(slots=True)
class _Budget:
    """What can still be between a stamped line and a line that uses its time."""

    left_lines: int = CARRY_LINES
    left_bytes: int = CARRY_BYTES
    left_records: int = CARRY_RECORDS

    @property
    def open(self) -> bool:
        """Whether the stamped line is near enough."""
        return self.left_lines > 0 and self.left_bytes > 0 and self.left_records > 0

    def spend(self, line: bytes) -> None:
        """Pass a line without a stamp."""
        self.left_lines -= 1
        self.left_bytes -= len(line) + 1
        self.left_records -= _RECORD.match(line) is not None


def before(block: bytes, end: int) -> str:
    """The stamp, as written, that a line without one takes from the lines before it: those of `block` up to `end`.

    Empty when no stamped line is within the bound.
    """
    left = _Budget()
    end = min(end, len(block))
    while end > 0 and left.open:
        start = block.rfind(b"\n", 0, end - 1) + 1
        line = block[start:end].removesuffix(b"\n")
        if stamp := written(line):
            return stamp
        left.spend(line)
        end = start
    return ""


def newest_date(lines: Sequence[bytes]) -> float | None:
    """The latest full date among some lines, as if their zone were UTC: a reference for the stamps without a year beside them."""
    keys = [match["dated"] or match["glog"] for line in lines if (match := find(line)) is not None]
    full = [key for key in keys if len(key.translate(None, b"-: T")) == 14]
    dates = [(date, key) for key in full if (date := _hour(key[:-6], 0.0)) is not None]
    return max((date + int(key[-5:-3]) * 60.0 + int(key[-2:]) for date, key in dates), default=None)
