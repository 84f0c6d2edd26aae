"""Lines out of log copies for the command line: safe to print, with their place and time, merged over engines by time."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from console.probes.sanitize import decode
from console.services.logs.copies import LogBook, LogCopy

BLOCK = 256 * 1024
LONGEST = 8 * 1024
"""Bytes of a line that are shown; the rest is counted."""

_STAMP = re.compile(rb"(?:^|[\s\[(])(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of one engine's log."""

    engine: str
    offset: int
    """Where it begins in the log."""
    at: float | None
    """Seconds since the epoch, by our clock, of the line's own stamp or the last one before it; None before the first."""
    text: str


class LineReader:
    """Reads the lines of a growing copy, whole lines only, from an offset on."""

    def __init__(
        self, engine: str, copy: LogCopy, *, offset: int = 0, year: int | None = None, ahead_s: float = 0.0
    ) -> None:
        """`ahead_s` is how far the clock of the node is ahead of ours."""
        self._engine = engine
        self.copy = copy
        self._offset = offset
        self._tail = b""
        self._at: float | None = None
        self._year = year or datetime.now().astimezone().year
        self._ahead_s = ahead_s

    def lines(self, *, last: bool = False) -> Iterator[LogLine]:
        """The lines that have become whole since the last call; with `last` the unfinished one too."""
        while data := self.copy.read(self._offset + len(self._tail), BLOCK):
            pieces = (self._tail + data).split(b"\n")
            self._tail = pieces.pop()
            for piece in pieces:
                yield self._line(piece)
                self._offset += len(piece) + 1
        if last and self._tail:
            yield self._line(self._tail)
            self._offset += len(self._tail)
            self._tail = b""

    def _line(self, raw: bytes) -> LogLine:
        if (found := _STAMP.search(raw[:200])) is not None:
            self._at = self._stamp(found) or self._at
        shown = raw.rstrip(b"\r").rpartition(b"\r")[2]
        text = decode(shown[:LONGEST])
        if len(shown) > LONGEST:
            text += f" … +{len(shown) - LONGEST} bytes"
        return LogLine(self._engine, self._offset, self._at, text)

    def _stamp(self, found: re.Match[bytes]) -> float | None:
        month, day, hour, minute, second = (int(group) for group in found.groups())
        try:
            return datetime(self._year, month, day, hour, minute, second).astimezone().timestamp() - self._ahead_s
        except ValueError:
            return None


def merged(readers: Sequence[Iterator[LogLine]]) -> Iterator[LogLine]:
    """Lines of several engines in order of time; lines without a stamp stay behind the line before them."""
    if len(readers) == 1:
        return readers[0]
    return heapq.merge(*readers, key=lambda line: line.at or 0.0)


class Readers:
    """The logs of some engines by time: of the runs they have, and when they are followed of those that begin later."""

    def __init__(
        self,
        book: LogBook,
        engines: Sequence[str],
        ahead_s: Callable[[str], float],
        told: Callable[[str, str], None],
        *,
        run: str | None = None,
        tail: int | None = None,
    ) -> None:
        """`ahead_s` gives how far the clock of an engine's node is ahead, `told` hears of engine and run when another follows.

        `run` is an earlier run, which nothing follows; of each log only `tail` lines are read, all where that is None.
        """
        self._book = book
        self._engines = engines
        self._ahead_s = ahead_s
        self._told = told
        self._earlier = run
        self._readers: dict[str, LineReader] = {}
        for name in engines:
            if (copy := book.copy(name, run)) is not None:
                self._read(name, copy, 0 if tail is None else tail_offset(copy, tail))

    @property
    def found(self) -> bool:
        """Whether any of the engines has a log."""
        return bool(self._readers)

    def lines(self, *, last: bool = False) -> Iterator[LogLine]:
        """What has come since the last call; what is left of a run before the run after it."""
        over = []
        for name in self._engines if self._earlier is None else ():
            copy, reader = self._book.copy(name), self._readers.get(name)
            if copy is None or (reader is not None and copy is reader.copy):
                continue
            if reader is not None:
                over.append(reader.lines(last=True))
                self._told(name, copy.key.run)
            self._read(name, copy, 0)
        return chain(merged(over), merged([reader.lines(last=last) for reader in self._readers.values()]))

    def _read(self, engine: str, copy: LogCopy, offset: int) -> None:
        self._readers[engine] = LineReader(engine, copy, offset=offset, ahead_s=self._ahead_s(engine))


def tail_offset(copy: LogCopy, lines: int) -> int:
    """Where the last `lines` lines begin, read backwards in blocks."""
    end = copy.size
    position = end
    missing = lines + 1
    while position > 0:
        start = max(0, position - BLOCK)
        block = copy.read(start, position - start)
        if position == end and block.endswith(b"\n"):
            missing += 0
        elif position == end:
            missing -= 1
        count = block.count(b"\n")
        if count >= missing:
            cut = len(block)
            for _ in range(missing):
                cut = block.rfind(b"\n", 0, cut)
            return start + cut + 1
        missing -= count
        position = start
    return 0
