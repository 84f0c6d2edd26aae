"""Plain columns for a terminal: widths in cells, text made safe, cells wrapped where the terminal is narrower."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TextIO

from console.probes.sanitize import clean

GAP = 2
NARROWEST = 12
"""No column is made narrower than this; a terminal that has not that much room wraps by itself."""


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]], room: int | None = None) -> Iterator[str]:
    """The head and the rows with their columns aligned; no blanks at line ends.

    `room` is how many cells a line may take, by default those of the terminal on stdout; nothing is cut for it: the widest
    columns wrap. In a pipe each row is one line.
    """
    lines = [[clean(cell) for cell in row] for row in (head, *rows)]
    widths = [max(cells(line[column]) for line in lines) for column in range(len(head))]
    room = terminal_cells(sys.stdout) if room is None else room
    while room is not None and sum(widths) + GAP * (len(widths) - 1) > room and max(widths) > NARROWEST:
        over = sum(widths) + GAP * (len(widths) - 1) - room
        widest = max(range(len(widths)), key=widths.__getitem__)
        next_widest = max((each for at, each in enumerate(widths) if at != widest), default=0)
        widths[widest] = max(NARROWEST, widths[widest] - over, min(next_widest, widths[widest] - 1))
    for line in lines:
        wrapped = [wrap(cell, width) for cell, width in zip(line, widths, strict=True)]
        for pieces in zip_longest(*wrapped, fillvalue=""):
            padded = (piece + " " * (width - cells(piece)) for piece, width in zip(pieces, widths, strict=True))
            yield (" " * GAP).join(padded).rstrip()


def terminal_cells(stream: TextIO) -> int | None:
    """How many cells a line of the terminal has; None when the stream is no terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrap(text: str, room: int | None) -> list[str]:
    """The text in pieces of at most so many cells, cut at blanks where there are any; whole without a limit."""
    if room is None or cells(text) <= room:
        return [text]
    pieces, rest = [], text
    while cells(rest) > max(1, room):
        end = next(at for at in range(len(rest), 0, -1) if at == 1 or cells(rest[:at]) <= room)
        blank = rest.rfind(" ", 0, end + 1)
        end = blank if blank > 0 else end
        pieces.append(rest[:end].rstrip())
        rest = rest[end:].lstrip(" ")
    return [*pieces, rest] if rest else pieces


def cells(text: str) -> int:
    """How many terminal cells the text takes; East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)
