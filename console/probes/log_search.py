"""Finds the lines of a block of log that may matter, far cheaper than cutting it into lines. What they say is not read here."""

from __future__ import annotations

import re

MANY_LINES = 64
"""Looking at more lines of a block one by one costs more than searching it as a whole."""
_TOLD = re.compile(rb"\n(?!\([^ ()\n]+ pid=\d+\) INFO[ :]|INFO[ :])")
"""What ends before a line that is not one of plain INFO; only such a line can tell of an error."""


def found(block: bytes, marks: tuple[bytes, ...], errors: tuple[bytes, ...], most: int) -> list[int]:
    """Starts, in order, of the lines with one of the marks, or with one of the words of errors and not of plain INFO.

    Of a longer line only `most` bytes are looked at for errors.
    """
    starts: set[int] = set()
    if errors:
        few = _not_info(block)
        if few is None:
            marks += errors
        else:
            starts.update(each for each in few if _holds(block, each, errors, most))
    for mark in marks:
        at = block.find(mark)
        while at >= 0:
            starts.add(block.rfind(b"\n", 0, at) + 1)
            after = block.find(b"\n", at)
            at = block.find(mark, after) if after >= 0 else -1
    return sorted(starts)


def _not_info(block: bytes) -> list[int] | None:
    """Starts of the lines that are not of plain INFO; None when they are many, or when that cannot be told from their heads.

    Floods are of INFO, and one look at each head costs less than many searches of the block. What carriage returns rewrote
    may end as another line than it started.
    """
    if b"\r" in block:
        return None
    starts = [0]
    for end in _TOLD.finditer(block):
        starts.append(end.end())
        if len(starts) > MANY_LINES:
            return None
    return starts


def _holds(block: bytes, start: int, words: tuple[bytes, ...], most: int) -> bool:
    end = block.find(b"\n", start)
    line = block[start : min(end if end >= 0 else len(block), start + most)]
    return any(word in line for word in words)
