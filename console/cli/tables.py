"""Plain columns for a terminal: widths in cells, text made safe, cells wrapped where the terminal is narrower."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest
from typing import TextIO

from console.model.shortening import first_part
from console.probes.sanitize import clean

GAP = 2
_NOTHING = ("", "-")
"""What says that there is nothing, in a cell."""
SENTENCE = 24
"""Cells that a column of sentences keeps while another one can become narrower."""
NARROWEST = 9
"""No column is made narrower than this; a terminal that has not that much room wraps by itself."""


def table_lines(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    room: int | None = None,
    *,
    right: Collection[str] = (),
    cut_last: bool = False,
) -> Iterator[str]:
    """The head and the rows with their columns aligned, those of the titles in `right` at their right; no blanks at line ends.

    `room` is how many cells a line may take, by default those of the terminal on stdout. For it columns that say nothing
    go, then the widest ones wrap; the last one is cut instead with `cut_last`. In a pipe each row is one line with all
    columns.
    """
    lines = [[clean(cell) for cell in row] for row in (head, *rows)]
    room = terminal_cells(sys.stdout) if room is None else room
    widths = _widths(lines)
    if room is not None and sum(widths) + GAP * (len(widths) - 1) > room:
        telling = [at for at in range(len(head)) if any(line[at] not in _NOTHING for line in lines[1:])]
        lines = [[line[at] for at in telling] for line in lines]
        widths = _widths(lines)
    if room is not None:
        widths = _narrowed(widths, [any(" " in line[at] for line in lines[1:]) for at in range(len(widths))], room)
    for line in lines:
        wrapped = [wrap(cell, width) for cell, width in zip(line, widths, strict=True)]
        if cut_last:
            wrapped[-1] = [_cut(line[-1], widths[-1])]
        for pieces in zip_longest(*wrapped, fillvalue=""):
            padded = (
                " " * (width - cells(piece)) + piece if title in right else piece + " " * (width - cells(piece))
                for piece, width, title in zip(pieces, widths, lines[0], strict=True)
            )
            yield (" " * GAP).join(padded).rstrip()


def _cut(text: str, room: int) -> str:
    """The text in so many cells, its end replaced by `…`; a number is left out whole."""
    if cells(text) <= room:
        return text
    end = next(at for at in range(len(text), -1, -1) if cells(text[:at]) < room)
    return f"{first_part(text, end)}…"


def _narrowed(widths: Sequence[int], sentences: Sequence[bool], room: int) -> list[int]:
    """The widths made to fit, as far as that goes: sentences first, which wrap at blanks, then the widest columns."""
    made, left = [*widths], room - GAP * (len(widths) - 1)
    for least, chosen in ((SENTENCE, sentences), (NARROWEST, [True] * len(made))):
        while sum(made) > left and (wide := [at for at, yes in enumerate(chosen) if yes and made[at] > least]):
            widest = max(wide, key=made.__getitem__)
            following = max((made[at] for at in wide if at != widest), default=0)
            made[widest] = max(least, made[widest] - (sum(made) - left), min(following, made[widest] - 1))
    return made


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(cells(line[column]) for line in lines) for column in range(len(lines[0]))]


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
