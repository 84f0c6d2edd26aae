"""Tables of plain text with columns as wide as their longest cell. Does not colour or wrap."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from console.probes.sanitize import clean


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The head and the rows as lines with aligned columns; the cells are cleaned, and no line ends with blanks."""
    lines = [[clean(cell) for cell in row] for row in (head, *rows)]
    widths = [max(cells(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        yield "  ".join(cell + " " * (width - cells(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()


def cells(text: str) -> int:
    """How many terminal cells the text takes; East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)
