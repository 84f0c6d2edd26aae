"""Reads a log file by byte offset: finds where lines start and end, and never loads the file.

A line starts at offset 0, after each newline, and at the end of each whole chunk that has no newline at all. The last rule
bounds the work on a file of one endless line, and depends only on bytes that never change, so that line numbers do not either.
Screens must not enter.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from console.services.logs.copies import Gap

CHUNK = 256 * 1024
LINE_LIMIT = 8 * 1024
"""Bytes of one line that are shown; the rest is counted, not drawn."""

_KEPT = 12
NEAR = 4096
"""Bytes behind a chunk in which its last line nearly always ends."""


class BorrowedLines(NamedTuple):
    """Lines in a buffer that the next call overwrites: where the first starts in the file, and where they are in the buffer."""

    offset: int
    data: bytes | bytearray
    begin: int
    end: int


class LogFile:
    """The bytes of a local log copy, as far as `grow` has been told that they reach."""

    def __init__(self, path: Path, span: int = CHUNK) -> None:
        self.path = path
        self.span = span
        """Bytes of one chunk."""
        self.size = 0
        self.gap: Gap | None = None
        """Whole lines that are not here any more."""
        self._revision = 0
        self._changed = False
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        self._descriptor: int | None = None
        self._buffer = bytearray()
        self._ended = -1
        """The chunk that was lent last, when it has a newline."""
        self._line = (-1, 0)
        """The line that was asked for last: its start and its end."""

    def let_go(self, gap: Gap | None) -> None:
        """Take what is not in the file any more: it is one empty line, and reads as zeros."""
        self._changed = self._changed or gap != self.gap
        self.gap = gap

    def revise(self, revision: int) -> None:
        """Take the number of the file's revision: of another one nothing that is known of the bytes holds."""
        self._changed = self._changed or revision != self._revision
        self._revision = revision

    def grow(self, size: int) -> bool:
        """Take the new size; True when the file has started anew and everything known of it is void."""
        if size == self.size and not self._changed:
            return False
        restarted, self._changed = self._changed or size < self.size, False
        self._line = (-1, 0)
        if restarted:
            self.close()
        else:
            for index in [each for each in self._chunks if each >= self.size // self.span]:
                del self._chunks[index]
        self.size = size
        return restarted

    def close(self) -> None:
        """Let the file go."""
        self._chunks.clear()
        self._ended = -1
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def chunk(self, index: int) -> bytes:
        """The bytes of one chunk; shorter at the end of the file, empty behind it or when the file cannot be read."""
        if (kept := self._chunks.get(index)) is not None:
            self._chunks.move_to_end(index)
            return kept
        data = self.read(index * self.span, min(self.span, max(0, self.size - index * self.span)))
        self._chunks[index] = data
        if len(self._chunks) > _KEPT:
            self._chunks.popitem(last=False)
        return data

    def read(self, offset: int, length: int) -> bytes:
        """Bytes at an offset, not remembered."""
        if length <= 0:
            return b""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._descriptor, length, offset)
        except OSError:
            return b""

    def _bare(self, index: int) -> bool:
        """Whether a chunk is whole and no line starts inside it, so that a line is cut at its end."""
        return (index + 1) * self.span <= self.size and b"\n" not in self.chunk(index) and not self._resumes_in(index)

    def _resumes_in(self, index: int) -> bool:
        """Whether the first line behind the gap starts inside a chunk."""
        return self.gap is not None and index * self.span < self.gap.end < (index + 1) * self.span

    def after(self, start: int) -> int:
        """Where the line that starts at `start` ends, its newline included: the beginning of the next one, or the size."""
        if self._line[0] != start:
            self._line = start, self._after(start)
        return self._line[1]

    def _after(self, start: int) -> int:
        if self.gap is not None and self.gap.begin <= start < self.gap.end:
            return self.gap.end
        index = start // self.span
        found = self.chunk(index).find(b"\n", start - index * self.span)
        if found >= 0:
            return index * self.span + found + 1
        if self._bare(index):
            return (index + 1) * self.span
        index += 1
        found = self.chunk(index).find(b"\n")
        if found >= 0:
            return index * self.span + found + 1
        return min(self.size, (index + 1) * self.span)

    def ends_line(self, end: int) -> bool:
        """Whether the byte before an offset is a newline."""
        return end > 0 and self.chunk((end - 1) // self.span)[(end - 1) % self.span :][:1] == b"\n"

    def start_of(self, offset: int) -> int:
        """Where the line that holds the byte at `offset` starts."""
        if self.gap is None or offset < self.gap.begin:
            return self._start_of(offset)
        return max(self.gap.end, self._start_of(offset)) if offset >= self.gap.end else self.gap.begin

    def _start_of(self, offset: int) -> int:
        index = offset // self.span
        found = self.chunk(index).rfind(b"\n", 0, offset - index * self.span)
        if found >= 0:
            return index * self.span + found + 1
        if index == 0:
            return 0
        found = self.chunk(index - 1).rfind(b"\n")
        if found < 0:
            return self.gap.end if self.gap is not None and self._resumes_in(index - 1) else index * self.span
        return (index - 1) * self.span + found + 1

    def before(self, start: int) -> int | None:
        """Where the line before the one at `start` starts; None at the top."""
        return self.start_of(start - 1) if start > 0 else None

    def text(self, start: int) -> tuple[bytes, int]:
        """The line at `start` without its newline, at most `LINE_LIMIT` bytes of it; and how many bytes were left out."""
        if self.gap is not None and start == self.gap.begin:
            return b"", 0
        end = self.after(start)
        index = start // self.span
        at = start - index * self.span
        length = min(end - start, LINE_LIMIT)
        data = self.chunk(index)[at : at + length]
        if len(data) < length:
            data += self.chunk(index + 1)[: length - len(data)]
        return (data[:-1] if data.endswith(b"\n") else data), max(0, end - start - LINE_LIMIT)

    def region(self, index: int) -> tuple[int, bytes]:
        """All lines that start in a chunk: the offset of the first, and their bytes. Not remembered; for scans."""
        base = index * self.span
        begins = self.start_of(base)
        first = base if begins == base else self.after(begins)
        limit = min(base + self.span, self.size)
        if first >= limit:
            return first, b""
        if self.gap is not None and first <= self.gap.begin < limit:
            return first, self.chunk(index)[first - base : self.gap.begin - base]
        end = self.after(self.start_of(limit - 1))
        data = self.chunk(index)[first - base :]
        return first, data + self.chunk(index + 1)[: end - limit] if end > limit else data

    def lend(self, index: int) -> BorrowedLines:
        """All lines that start in a chunk, for a scan that goes from chunk to chunk: read into one buffer, with one read."""
        base = index * self.span
        known, self._ended = self._ended, -1
        if base < self.size and known == index - 1 and (quick := self._lend(base)) is not None:
            self._ended = index
            return quick
        first, data = self.region(index)
        if not self._bare(index):
            self._ended = index
        return BorrowedLines(first, data, 0, len(data))

    def _lend(self, base: int) -> BorrowedLines | None:
        """None unless the chunk has a newline and its last line ends near behind it."""
        begin, limit = max(0, base - 1), min(base + self.span, self.size)
        length = self._fill(begin, min(self.size, limit + min(NEAR, self.span)) - begin)
        data = self._buffer
        first = data.find(b"\n", 0, limit - begin) + 1 if base else 0
        last = data.find(b"\n", limit - 1 - begin, length) + 1 if limit < self.size else length
        if begin + length < limit or not last or data.find(b"\n", base - begin, limit - begin) < 0:
            return None
        return BorrowedLines(begin + first, data, first, last)

    def _fill(self, offset: int, length: int) -> int:
        """Read into the buffer; gives how many bytes there were."""
        if len(self._buffer) < length:
            self._buffer = bytearray(self.span + min(NEAR, self.span) + 1)
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            return os.preadv(self._descriptor, [memoryview(self._buffer)[:length]], offset)
        except OSError:
            return 0


class LineCount:
    """How many lines start before each chunk: eight bytes for a quarter of a mebibyte of log."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._before = array("Q", [0])
        self._near = (0, 1)
        """A line and its number, to count on from: rows of one screen follow each other."""

    def advance(self) -> bool:
        """Count one more whole chunk; False when none is left. Behind lines that are not here nobody knows a number."""
        index = len(self._before) - 1
        gap = self._file.gap
        if (index + 1) * self._file.span > (self._file.size if gap is None else gap.begin):
            return False
        data = self._file.read(index * self._file.span, self._file.span)
        self._before.append(self._before[-1] + max(1, data.count(b"\n")))
        return True

    @property
    def share(self) -> float:
        """How much of the file has been counted, 0–1."""
        return min(1.0, (len(self._before) * self._file.span) / self._file.size) if self._file.size else 1.0

    def number(self, start: int) -> int | None:
        """The number of the line that starts at `start`, from 1; None while it has not been counted so far."""
        index = start // self._file.span
        if index >= len(self._before):
            return None
        base = index * self._file.span
        known, number = self._near
        if not base <= known <= start:
            known, number = base, 1 + self._before[index]
        number += self._file.chunk(index).count(b"\n", known - base, start - base)
        self._near = (start, number)
        return number

    def start_of_line(self, number: int) -> int | None:
        """Where the line of a number starts; None when there is none, or it has not been counted so far."""
        index = bisect_right(self._before, number - 2) - 1
        start = self._file.start_of(min(index * self._file.span, max(0, self._file.size - 1)))
        while start < self._file.size:
            found = self.number(start)
            if found is None or found >= number:
                return start if found == number else None
            start = self._file.after(start)
        return None

    def total(self) -> int | None:
        """Lines of the whole file; a last line without its newline counts."""
        size = self._file.size
        if not size:
            return 0
        number = self.number(size)
        if number is None:
            return None
        return number - 1 if self._file.start_of(size) == size else number
