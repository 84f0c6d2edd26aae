"""Writes lines of logs to a file: byte for byte for the operator, or cleaned for a pager. Runs in the background.

A terminal or a pager sees only what has passed the sanitiser; a saved log is for tools and keeps every byte of the node's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.private_files import open_private
from console.services.logs.copies import Gap
from screens.logs.file import LogFile
from screens.logs.filtered import Shown
from screens.logs.line_drawing import text_of
from screens.logs.patterns import LineFilter

PAGED = 128 * 1024 * 1024
"""Bytes of a log before and after the reader's place that a pager is given."""
_HARMLESS = bytes(range(0x20, 0x7F)) + b"\n\t"


def save(source: Path, size: int, sieve: LineFilter, target: Path, gap: Gap | None = None) -> int:
    """Write the first `size` bytes of a log but for its `gap`, or the lines that are kept; gives how many. Raises OSError."""
    file = LogFile(source)
    file.let_go(gap)
    file.grow(size)
    try:
        parts = (_kept(file.region(index)[1], sieve) for index in range(size // file.span + 1))
        return _write(parts, target)
    finally:
        file.close()


def save_lines(lines: list[str], target: Path) -> int:
    """Write lines that are clean already; gives the bytes. Raises OSError."""
    return _write(((line + "\n").encode() for line in lines), target)


def _write(parts: Iterator[bytes], target: Path) -> int:
    descriptor = open_private(target, os.O_WRONLY | os.O_EXCL)
    with os.fdopen(descriptor, "wb") as out:
        return sum(out.write(part) for part in parts)


def _kept(data: bytes, sieve: LineFilter) -> bytes:
    if not sieve:
        return data
    parts = []
    for start in sieve.kept(data):
        end = data.find(b"\n", start)
        parts.append(data[start : end + 1 if end >= 0 else len(data)])
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Paged:
    """What a pager was given."""

    line: int
    """Number, in the file it was given, of the line that was on top."""
    left_out: int
    """Bytes of the log that are not in it."""


def page(source: Path, size: int, shown: Shown | None, top: int, target: Path, gap: Gap | None = None) -> Paged:
    """Write a clean copy of what is shown of a log around a line. Raises OSError."""
    file = LogFile(source)
    file.let_go(gap)
    file.grow(size)
    begin = max(0, top - PAGED) // file.span
    end = min(size, top + PAGED) // file.span
    above = [0]

    def parts() -> Iterator[bytes]:
        for index in range(begin, end + 1):
            first, data = file.region(index)
            clean = _clean_shown(file, shown, first, data)
            above[0] += _lines_above(file, shown, first, data, top, clean)
            yield clean

    try:
        _write(parts(), target)
    finally:
        file.close()
    return Paged(above[0] + 1, max(0, begin * file.span) + max(0, size - (end + 1) * file.span))


def _lines_above(file: LogFile, shown: Shown | None, first: int, data: bytes, top: int, clean: bytes) -> int:
    if first + len(data) <= top:
        return clean.count(b"\n")
    if first >= top:
        return 0
    return _clean_shown(file, shown, first, data[: top - first]).count(b"\n")


def _clean(data: bytes) -> bytes:
    """Lines as the screen would show them in full; nearly all logs are harmless and are passed on as they are."""
    if not data.translate(None, _HARMLESS):
        return data
    whole = data.endswith(b"\n")
    lines = (data[:-1] if whole else data).split(b"\n")
    return "\n".join(text_of(line, 0) for line in lines).encode() + (b"\n" if whole else b"")


def _clean_shown(file: LogFile, shown: Shown | None, first: int, data: bytes) -> bytes:
    """The shown lines among those that start at an offset."""
    if shown is None or not shown.around:
        return _clean(_kept(data, shown.sieve if shown is not None else LineFilter()))
    found: list[bytes] = []
    start = shown.at_or_after(first) if data else None
    while start is not None and start < first + len(data):
        found.append(text_of(*file.text(start)).encode() + b"\n")
        start = shown.at_or_after(file.after(start))
    return b"".join(found)
