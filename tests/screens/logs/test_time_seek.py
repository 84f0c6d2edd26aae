"""Moments in a log: found by halving as by reading all of it, over daylight saving, over the year's end, in any form of stamp."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.probes.log_time import Around, Clock, LineTimes, Steps, Zone, clock_of, fixed
from screens.logs.file import LogFile
from screens.logs.time_seek import LogTimes

CHANGE = datetime(2026, 11, 1, 9, tzinfo=UTC).timestamp()
"""When the clocks of California go back from 02:00 to 01:00."""
PACIFIC = Steps(((CHANGE - 2e7, -7 * 3600.0), (CHANGE, -8 * 3600.0)))


def log(path: Path, clock: Clock, instants: list[float], form: str = "%m-%d %H:%M:%S") -> LogTimes:
    """A log with a line at each instant, and one without a stamp below each, in chunks small enough to matter."""
    lines = [f"(W pid=1) INFO {clock.wall(at).strftime(form)} [a.py:1] {n}\n  more\n" for n, at in enumerate(instants)]
    path.write_text("".join(lines))
    file = LogFile(path, 4096)
    file.grow(path.stat().st_size)
    return LogTimes(file, lambda _: clock)


def starts(times: LogTimes) -> list[int]:
    """Where the lines with a stamp begin."""
    found, at = [], 0
    while at < times._file.size:
        found.append(at)
        at = times._file.after(times._file.after(at))
    return found


@pytest.mark.parametrize("begin_s", [-5400.0, -1800.0, 600.0], ids=["before", "in the hour", "in its repetition"])
@pytest.mark.parametrize("order", [1, -1], ids=["down", "up"])
@pytest.mark.parametrize("gap_s", [10.0, 1300.0])
def test_the_hour_that_is_repeated_is_told_apart_wherever_one_looks(
    tmp_path: Path, begin_s: float, order: int, gap_s: float
) -> None:
    clock = Clock(PACIFIC, Around.since(CHANGE + begin_s), begun=CHANGE + begin_s)
    instants = [CHANGE + begin_s + gap_s * number for number in range(int((5400 - begin_s) / gap_s))]
    times = log(tmp_path / "log", clock, instants)
    wanted = list(zip(starts(times), instants, strict=True))
    for start, at in wanted[::order]:
        assert times.own(start) == at
    for start, at in wanted[::order]:
        assert times.at(at) == start
    reader = LineTimes(clock)
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert [reader.take(line) for line in lines][::2] == instants, "and as the command line reads it"


@pytest.mark.parametrize("form", ["%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"])
@pytest.mark.parametrize("zone", [fixed(8 * 3600.0), fixed(0.0), fixed(-7 * 3600.0)], ids=["+8", "0", "-7"])
def test_a_moment_in_words_is_the_newest_of_that_name(tmp_path: Path, zone: Zone, form: str) -> None:
    """In the zone of the node, over the year's end."""
    east = timedelta(seconds=zone(0.0))
    begin = datetime(2026, 12, 30, 22, tzinfo=UTC) - east
    instants = [(begin + timedelta(minutes=each)).timestamp() for each in range(0, 3 * 1440, 5)]
    clock = Clock(zone, Around.since(instants[0]), ahead_s=30.0)
    times = log(tmp_path / "log", clock, [each + 0.5 if "f" in form else each for each in instants], form)
    last = times.last()
    assert last is not None

    def found(words: str) -> datetime | None:
        at = times.meant(words, last)
        return None if at is None else clock.wall(at)

    assert found("21:55") == datetime(2027, 1, 2, 21, 55)
    assert found("23:00") == datetime(2027, 1, 1, 23), "at 21:55 it was 23:00 the day before"
    assert found("12-31 23:55") == datetime(2026, 12, 31, 23, 55)
    assert found("01-01 00:05:30") == datetime(2027, 1, 1, 0, 5, 30)
    assert found("2026-12-31 00:00") == datetime(2026, 12, 31)
    assert found("25:00") is None
    assert found("02-30 10:00") is None
    start = times.at(times.meant("12-31 23:58", last) or 0.0)
    assert start is not None
    assert clock.wall(times.own(start) or 0.0).replace(second=0, microsecond=0) == datetime(2027, 1, 1)


def test_the_clock_is_made_for_good_once_the_log_has_a_stamp(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"no stamp yet\n")
    file = LogFile(path)
    file.grow(path.stat().st_size)
    started = datetime(2026, 11, 20, 0, 0, tzinfo=UTC).timestamp()
    times = LogTimes(file, lambda head: clock_of(head, started, None, until=started))
    assert times.own(0) is None
    path.write_bytes(b"no stamp yet\nINFO 11-20 08:00:05 [a.py:1] x\n")
    file.grow(path.stat().st_size)
    assert times.own(13) == started + 5, "eight hours east, as the log shows"
    path.write_bytes(b"INFO 11-19 17:00:05 x\n")
    file.grow(path.stat().st_size)
    times.forget()
    assert times.own(0) == started + 5, "seven hours west, in the log that took its place"
