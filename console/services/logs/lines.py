"""Lines out of log copies for the command line: safe to print, with their place and time, merged over engines by time."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from console.probes.log_time import Clock, LineTimes, find
from console.probes.sanitize import decode
from console.services.logs.copies import Gap, LogBook, LogCopy

BLOCK = 256 * 1024
LONGEST = 8 * 1024
"""Bytes of a line that are shown; the rest is counted."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of one engine's log."""

    engine: str
    offset: int
    """Where it starts in the log."""
    at: float | None
    """Seconds since the epoch, by our clock, of its stamp or of one shortly before it (`log_time`); None when not known."""
    text: str
    order: float
    """What it is merged by: the time of the last stamp so far, however long before; 0 before the first."""


class Timing(NamedTuple):
    """How the times of a log are to be read."""

    clock: Clock
    written_at: float | None
    """When the log grew last, by our clock; None when not known."""


class LineReader:
    """Reads the lines of a growing copy, whole lines only, from an offset on."""

    def __init__(
        self,
        engine: str,
        copy: LogCopy,
        timing: Callable[[], Timing],
        *,
        offset: int = 0,
        since: float | None = None,
        hidden: re.Pattern[bytes] | None = None,
    ) -> None:
        """`timing` is asked for when the first line with a stamp is there; lines with `hidden` are left out and counted.

        With `since` what was surely written before it is left out: up to the last line known to be earlier than it. Lines whose
        time is not known are none of those, unless nothing was written since.
        """
        self._engine = engine
        self.copy = copy
        self._read = copy.read
        self.restarts = copy.restarts
        self._timing = timing
        self._offset = offset
        self._tail = b""
        self._times: LineTimes | None = None
        self._since = since
        self._hidden = hidden
        self.left_out = 0
        """Lines that were hidden so far."""

    @property
    def offset(self) -> int:
        """Where the line starts that comes next."""
        return self._offset

    def lines(self, *, last: bool = False) -> Iterator[LogLine]:
        """The lines that have become whole since the last call; with `last` the unfinished one too."""
        if self._since is not None:
            self._skip(self._since)
            self._since = None
        for raw in self._raw():
            if self._passes(raw):
                yield self._line(raw)
        if last and self._tail:
            if self._passes(self._tail):
                yield self._line(self._tail)
            self._offset += len(self._tail)
            self._tail = b""

    def _passes(self, raw: bytes) -> bool:
        hidden = self._hidden is not None and self._hidden.search(raw) is not None
        self.left_out += hidden
        return not hidden

    def rest(self, kept: Path) -> Iterator[LogLine]:
        """What is left of a log that started anew, out of the file that keeps what it was."""
        self._read = partial(_read_file, kept)
        return self.lines(last=True)

    def _raw(self) -> Iterator[bytes]:
        """Whole lines; the offset is that of the one handed out last until the next is asked for."""
        while data := self._read(self._on(), BLOCK):
            pieces = (self._tail + data).split(b"\n")
            self._tail = pieces.pop()
            for piece in pieces:
                yield piece
                self._offset += len(piece) + 1

    def _on(self) -> int:
        """Where to read on: behind what has gone from the copy, whose start of a line, if any, is none any more."""
        at = self._offset + len(self._tail)
        here = self.copy.present(at) if self.copy.restarts == self.restarts else at
        if here != at:
            self._offset, self._tail = here, b""
        return here

    def _skip(self, since: float) -> None:
        """Go behind the last line that is known to be earlier."""
        behind, before = self._offset, None
        for raw in self._raw():
            at = self._time(raw)
            if at is not None and at >= since:
                break
            if at is not None:
                behind, before = self._offset + len(raw) + 1, at
        else:
            written_at = self._timing().written_at
            if written_at is not None and written_at < since:
                return
        self._offset, self._tail = behind, b""
        if self._times is not None:
            self._times.resume(before)

    def _time(self, raw: bytes) -> float | None:
        if self._times is None:
            if find(raw) is None:
                return None
            self._times = LineTimes(self._timing().clock)
        return self._times.take(raw)

    def _line(self, raw: bytes) -> LogLine:
        at = self._time(raw)
        shown = raw.rstrip(b"\r").rpartition(b"\r")[2]
        text = decode(shown[:LONGEST])
        if len(shown) > LONGEST:
            text += f" … +{len(shown) - LONGEST} bytes"
        order = self._times.last if self._times is not None else None
        return LogLine(self._engine, self._offset, at, text, order or 0.0)


def merged(readers: Sequence[Iterator[LogLine]]) -> Iterator[LogLine]:
    """Lines of several engines in order of time; lines without a stamp stay behind the line before them."""
    if len(readers) == 1:
        return readers[0]
    return heapq.merge(*readers, key=lambda line: line.order)


def _read_file(path: Path, offset: int, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except OSError:
        return b""


class Readers:
    """The logs of some engines by time: of the runs they have, and when they are followed of those that start later."""

    def __init__(
        self,
        book: LogBook,
        engines: Sequence[str],
        timing: Callable[[str, LogCopy], Timing],
        told: Callable[[str, str], None],
        *,
        run: str | None = None,
        tail: int | None = None,
        since: float | None = None,
        hidden: Callable[[str], re.Pattern[bytes] | None] = lambda _: None,
    ) -> None:
        """`timing` gives the clock of an engine's log, `told` hears of an engine when another run follows, or
        when its log started anew. `hidden` gives what finds lines of an engine's log that are left out.

        `run` is an earlier run, which nothing follows; of each log only `tail` lines are read, all where that is None, and of
        those only what may have been written `since` an instant of our clock.
        """
        self._book = book
        self._engines = engines
        self._timing = timing
        self._told = told
        self._earlier = run
        self._hidden = hidden
        self._readers: dict[str, LineReader] = {}
        self._revisions: dict[str, int] = {}
        self._gaps: dict[str, Gap] = {}
        """What has gone from a log, as it was told."""
        for name in engines:
            if (copy := book.copy(name, run)) is not None:
                self._read(name, copy, 0 if tail is None else tail_offset(copy, tail, hidden(name)), since)

    @property
    def found(self) -> bool:
        """Whether any of the engines has a log."""
        return bool(self._readers)

    @property
    def left_out(self) -> int:
        """Lines that were hidden so far in the logs of the runs that are read now."""
        return sum(reader.left_out for reader in self._readers.values())

    def lines(self, *, last: bool = False) -> Iterator[LogLine]:
        """What has come since the last call; what is left of a run, or of a log that started anew, before what follows it."""
        over = []
        for name, reader in list(self._readers.items()):
            if reader.copy.revision != self._revisions[name]:
                over += self._changed(name, reader)
            gap = self._readers[name].copy.gap
            if gap is not None and gap != self._gaps.get(name) and self._readers[name].offset < gap.end:
                self._told(name, gap.words())
                self._gaps[name] = gap
        for name in self._engines if self._earlier is None else ():
            copy, before = self._book.copy(name), self._readers.get(name)
            if copy is None or (before is not None and copy is before.copy):
                continue
            if before is not None:
                over.append(before.lines(last=True))
                self._told(name, f"run {copy.key.run} follows")
            self._read(name, copy, 0)
        readers = [self._readers[name] for name in dict.fromkeys(self._engines) if name in self._readers]
        return chain(merged(over), merged([reader.lines(last=last) for reader in readers]))

    def _changed(self, name: str, reader: LineReader) -> list[Iterator[LogLine]]:
        """Go on after bytes that were read have become others; gives what is left of the bytes before."""
        copy = reader.copy
        self._revisions[name] = copy.revision
        if copy.notes:
            self._told(name, copy.notes[-1].text)
        if copy.restarts == reader.restarts:
            return []
        self._read(name, copy, 0)
        return [reader.rest(copy.earlier)] if copy.earlier is not None else []

    def _read(self, engine: str, copy: LogCopy, offset: int, since: float | None = None) -> None:
        timing = partial(self._timing, engine, copy)
        self._readers[engine] = LineReader(
            engine, copy, timing, offset=offset, since=since, hidden=self._hidden(engine)
        )
        self._revisions[engine] = copy.revision


def tail_offset(copy: LogCopy, lines: int, hidden: re.Pattern[bytes] | None = None) -> int:
    """Where the last `lines` lines without `hidden` start, read backwards in blocks."""
    floor = copy.gap.end if copy.gap is not None else 0
    position, missing, behind = copy.size, lines, b""
    while position > floor and missing > 0:
        start = max(floor, position - BLOCK)
        data = copy.read(start, position - start) + behind
        first = 0 if start == floor else data.find(b"\n") + 1
        starts = _starts(data, first, hidden) if first or start == floor else []
        if len(starts) >= missing:
            return start + starts[-missing]
        missing -= len(starts)
        position, behind = start, data[: min(first or LONGEST, LONGEST)]
    return floor if missing > 0 else copy.size


def _starts(data: bytes, first: int, hidden: re.Pattern[bytes] | None) -> list[int]:
    """Where the lines without `hidden` start in data whose first line starts at `first`."""
    found, at = [], first
    for line in data[first:].removesuffix(b"\n").split(b"\n") if first < len(data) else ():
        if hidden is None or hidden.search(line) is None:
            found.append(at)
        at += len(line) + 1
    return found
