"""Reads the progress bars of tools: done, total, rate and remaining time. Does not read results."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace

from console.probes.sanitize import clean

_TIME = r"(?:\d+ days?, )?(?:\d+:)?\d{1,2}:\d{2}|\?"
_TQDM = re.compile(
    rf"(?P<label>[^|\r\n]*?)(?P<percent>\d{{1,3}})%\|(?:[^|]*\|)? *(?P<done>\d+)/(?P<total>\d+)"
    rf" *\[(?P<elapsed>{_TIME}|\d+s)(?:<(?P<left>{_TIME}))?, *(?P<rate>\d+\.?\d*|\?)(?P<unit> ?[A-Za-z]+/s|s/[A-Za-z]+)?"
)
_BOARD = re.compile(
    r"\[[#█\- ]*\] (?P<done>\d+)/(?P<total>\d+) \[(?P<rate>\d+\.?\d*|\?) it/s\] \| (?P<elapsed>\d+:\d{2}:\d{2})"
)
_COUNTS = re.compile(r"'POST': (\d+), 'RECV': (\d+), 'FINISH': (\d+), 'FAIL': (\d+)")
_STATUS = re.compile(r"POST=\d+ \([\d.]+/s\) +RECV=\d+ \([\d.]+/s\) +FAIL=(\d+)")
"""A line that AISBench 3.1 with `--debug` prints below its bar."""
_ETA_WINDOW = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run. None values are not reported by the tool."""

    done: int
    total: int
    rate_per_s: float | None = None
    left_s: float | None = None
    failed: int | None = None
    label: str = ""

    @property
    def share(self) -> float:
        """0–1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class ProgressLog:
    """Reads a growing log in pieces and keeps the newest bar."""

    def __init__(self) -> None:
        self.newest: Progress | None = None
        self._rest = ""
        self._failed: int | None = None
        self._seen: deque[tuple[float, int, int]] = deque(maxlen=_ETA_WINDOW)

    def feed(self, text: str, at: float | None = None) -> None:
        """Read more of the log; with `at` (seconds, any clock) a rate is computed when the bar has none."""
        pieces = re.split(r"[\r\n]", (self._rest + text)[-65536:])
        self._rest = pieces.pop()
        for piece in (*pieces, self._rest):
            found = parse(piece)
            if found is not None:
                self.newest = self._with_rate(found, at)
            elif self.newest is not None and (status := _STATUS.search(piece[-2000:])) is not None:
                self._failed = int(status.group(1))
            if self.newest is not None and self._failed is not None:
                self.newest = replace(self.newest, failed=self._failed)

    def _with_rate(self, found: Progress, at: float | None) -> Progress:
        if at is None or found.rate_per_s is not None:
            return found
        if self._seen and (self._seen[-1][2] != found.total or self._seen[-1][1] > found.done):
            self._seen.clear()
        self._seen.append((at, found.done, found.total))
        began, first, _ = self._seen[0]
        if at <= began or found.done <= first:
            return found
        rate = (found.done - first) / (at - began)
        left = (found.total - found.done) / rate
        return Progress(found.done, found.total, rate, left, found.failed, found.label)


def parse(line: str) -> Progress | None:
    """The last bar in a line, of tqdm or of the task board of AISBench; None without a bar."""
    line = line[-2000:]
    bars = list(_TQDM.finditer(line))
    if bars:
        return _tqdm(bars[-1])
    board = _BOARD.search(line)
    if board is None:
        return None
    done, total = int(board["done"]), int(board["total"])
    rate = float(board["rate"]) if board["rate"] != "?" else None
    counts = _COUNTS.search(line)
    left = (total - done) / rate if rate else None
    return Progress(done, total, rate, left, int(counts.group(4)) if counts else None)


def _tqdm(bar: re.Match[str]) -> Progress | None:
    done, total = int(bar["done"]), int(bar["total"])
    if total <= 0 or done > total:
        return None
    rate = None
    if bar["rate"] != "?" and bar["unit"]:
        value = float(bar["rate"])
        rate = (1.0 / value if value else None) if bar["unit"].startswith("s/") else value
    left = seconds(bar["left"] or "?")
    if left is None and rate:
        left = (total - done) / rate
    return Progress(done, total, rate, left, None, clean(bar["label"]).strip().rstrip(":").strip())


def seconds(text: str) -> float | None:
    """`1:02:03`, `02:03` or `1 day, 2:00:00` in seconds; None for `?`."""
    if text == "?":
        return None
    days, comma, clock = text.partition(",")
    total = float(days.split()[0]) * 86400 if comma else 0.0
    value = 0.0
    for part in (clock if comma else text).strip().split(":"):
        value = value * 60 + float(part)
    return total + value
