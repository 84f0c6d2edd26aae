"""Tables of a pane: columns with a width and a rank; the least important columns are left out until the rest fits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from screens.styled_lines import Line, cut, fit, length, width

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table whose rows are drawn from a `T`."""

    title: str
    cells: int
    rank: int
    """Importance: the largest goes first when room is short; 0 always stays."""
    draw: Callable[[T], Line]
    right: bool = False
    """Whether title and figures stand at the right edge."""


def fitting(columns: Sequence[Column[T]], cells: int) -> tuple[Column[T], ...]:
    """The columns that fit side by side, one blank between them."""
    kept = list(columns)
    while sum(column.cells + 1 for column in kept) > cells + 1 and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    return tuple(kept)


def heading(columns: Sequence[Column[T]]) -> Line:
    """The line above the rows."""
    return ((" ".join(fit(column.title, column.cells, right=column.right) for column in columns), "dim"),)


def table_row(columns: Sequence[Column[T]], item: T) -> Line:
    """One row; what stands in a last column may be as long as it is."""
    line: Line = ()
    for column in columns:
        drawn = column.draw(item)
        if column.right and length(drawn) < column.cells:
            drawn = ((" " * (column.cells - length(drawn)), ""), *drawn)
        line = (*line, *(drawn if column is columns[-1] else cut(drawn, column.cells)), (" ", ""))
    return line


def widest(texts: Sequence[str], least: int, most: int) -> int:
    """Cells that a column of these texts takes."""
    return min(most, max([least, *(width(text) for text in texts)]))
