"""Finding a moment in a log: vLLM stamps its lines `MM-DD HH:MM:SS` in the node's local time, without a year (vllm/logger.py).

Lines without a stamp take the time of the one before. Stamps of one file only grow, so a moment is found by halving.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache

from screens.logs.file import LogFile

_STAMP = re.compile(rb"(?:^|[ )])(?:\d{4}-)?(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)\b")
_TRIES = 400
"""Lines without a stamp that are passed over before a place counts as having none."""
_YEAR = 2000
"""A leap year to hold stamps that have none; only differences within a log are taken."""
ORIGIN = datetime(_YEAR, 1, 1)
"""What seconds are counted from."""


def stamp(raw: bytes) -> datetime | None:
    """The time of a line; None when it bears none."""
    found = _STAMP.search(raw, 0, 240)
    if found is None:
        return None
    try:
        return datetime(_YEAR, *(int(part) for part in found.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None


def seconds(moment: datetime) -> float:
    """A stamp as a number."""
    return (moment - ORIGIN).total_seconds()


@lru_cache(maxsize=256)
def _seconds(month: bytes, day: bytes, hour: bytes, minute: bytes, second: bytes) -> float | None:
    try:
        return seconds(datetime(_YEAR, int(month), int(day), int(hour), int(minute), int(second)))
    except ValueError:
        return None


def stamp_s(raw: bytes) -> float | None:
    """The time of a line in seconds; None when it bears none. Lines of one second are worked out once."""
    found = _STAMP.search(raw, 0, 240)
    return None if found is None else _seconds(*found.groups())


def first_stamp(file: LogFile, start: int) -> datetime | None:
    """The first time at or behind a line."""
    for _ in range(_TRIES):
        if start >= file.size:
            return None
        if (found := stamp(file.text(start)[0])) is not None:
            return found
        start = file.after(start)
    return None


def last_stamp(file: LogFile) -> datetime | None:
    """The last time in the file."""
    start = file.before(file.size)
    for _ in range(_TRIES):
        if start is None:
            return None
        if (found := stamp(file.text(start)[0])) is not None:
            return found
        start = file.before(start)
    return None


def at(file: LogFile, moment: datetime) -> int | None:
    """Where the first line of a moment or later begins; None when there is none."""
    low, high = 0, file.size
    while low < high:
        middle = file.start_of((low + high) // 2)
        found = first_stamp(file, middle)
        if found is not None and found < moment:
            low = file.after(max(middle, low))
        else:
            high = middle if middle < high else low
    while low < file.size:
        found = first_stamp(file, low)
        if found is None:
            return None
        if found >= moment and (own := stamp(file.text(low)[0])) is not None and own >= moment:
            return low
        low = file.after(low)
    return None


def ago(file: LogFile, seconds: float) -> int | None:
    """Where the last so many seconds of the log begin, counted from its last stamp."""
    last = last_stamp(file)
    return None if last is None else at(file, last - timedelta(seconds=seconds))


def moment(words: str, last: datetime) -> datetime | None:
    """The moment that is meant by `HH:MM`, `HH:MM:SS` or `MM-DD HH:MM[:SS]`; without a day it is the day of `last`."""
    parts = re.fullmatch(r"(?:(\d\d)-(\d\d) )?(\d?\d):(\d\d)(?::(\d\d))?", words.strip())
    if parts is None:
        return None
    month, day, hour, minute, second = (None if part is None else int(part) for part in parts.groups())
    try:
        return last.replace(
            month=month or last.month, day=day or last.day, hour=hour or 0, minute=minute or 0, second=second or 0
        )
    except ValueError:
        return None


def clock(file: LogFile, words: str) -> int | None:
    """Where a moment in words begins."""
    last = last_stamp(file)
    found = moment(words, last) if last else None
    return None if found is None else at(file, found)
