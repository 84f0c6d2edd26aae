"""Finds the lines of a block of log that can matter, much faster than splitting it into lines. Does not interpret them."""

from __future__ import annotations

import re

MANY_LINES = 64
"""With more lines than this, a search of the whole block is faster than a test of each line."""
_TOLD = re.compile(rb"\n(?!\([^ ()\n]+ pid=\d+\) INFO[ :]|INFO[ :])")
"""Matches before every line that is not a plain INFO line; only such lines can show an error."""


def found(block: bytes, marks: tuple[bytes, ...], errors: tuple[bytes, ...], most: int) -> list[int]:
    """The starts of lines with one of the marks, and of lines above INFO with one of the texts of errors, in order.

    Only the first `most` bytes of a line are searched for errors.
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
    """The starts of lines that are not plain INFO lines; None when there are many, or when their heads do not show it.

    Floods consist of INFO lines, and a test of each head is faster than many searches of the block. A line that carriage returns
    rewrote can end as another line.
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
