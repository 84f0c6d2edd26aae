"""Charts as plain text of a given size, in braille dots or in ASCII. No colour, no terminal.

Every line is exactly `width` columns wide. Braille takes one column everywhere; block elements and `×` take two on terminals
that are set up for Chinese, Japanese or Korean, and are therefore not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_SPREAD, _ASCII_SPREAD = "⣿⣤⣀", "#=-"


@dataclass(frozen=True, slots=True)
class Frame:
    """What charts of one time axis share, so that they can stand one above the other. None is taken from the points."""

    left: float | None = None
    right: float | None = None
    top: float | None = None
    gutter: int = 0
    """Columns left of the canvas at least, for the labels."""


def line_chart(
    series: Sequence[tuple[float, float]],
    *,
    width: int,
    height: int,
    unit: str = "",
    ascii_only: bool = False,
    mark: tuple[float, float] | None = None,
    frame: Frame = Frame(),
) -> list[str]:
    """(x, y) points joined by lines, with the y range at the left and the x range below; `mark` is drawn as a cross.

    A point that is not finite is a gap: no line goes over it. Gives `height` lines of `width` columns; blank ones when
    there is nothing finite to draw or no room for it.
    """
    points = [(x, y) for x, y in series if math.isfinite(x) and math.isfinite(y)]
    highest = max((y for _, y in points), default=0.0)
    top = highest if frame.top is None else max(highest, frame.top)
    bottom = min((0.0, *(y for _, y in points)))
    labels = (number(top, unit), number(bottom, unit))
    gutter = max(frame.gutter, *(len(label) + 1 for label in labels))
    columns, rows = width - gutter, height - 1
    if not points or columns < 4 or rows < 2:
        return [" " * max(0, width)] * max(0, height)
    left = min(x for x, _ in points) if frame.left is None else frame.left
    right = max(x for x, _ in points) if frame.right is None else frame.right
    area = _Area(columns, rows, (left, right), (bottom, top), ascii_only)
    for x, y in points:
        area.draw(x, y, x, y)
    for (x0, y0), (x1, y1) in pairwise(series):
        if all(map(math.isfinite, (x0, y0, x1, y1))):
            area.draw(x0, y0, x1, y1)
    if mark is not None:
        area.cross(*mark)
    lines = []
    for row, text in enumerate(area.lines()):
        label = labels[0] if row == 0 else labels[1] if row == rows - 1 else ""
        lines.append(f"{label:>{gutter - 1}} {text}")
    first, last = number(left), number(right)
    axis = first + last.rjust(max(0, columns - len(first)))
    return [*lines, (" " * gutter + axis)[:width].ljust(width)]


class _Area:
    """A canvas of dots: 2 × 4 in a braille cell, one in an ASCII cell."""

    def __init__(
        self, columns: int, rows: int, xs: tuple[float, float], ys: tuple[float, float], ascii_only: bool
    ) -> None:
        self._columns, self._rows, self._xs, self._ys, self._ascii = columns, rows, xs, ys, ascii_only
        self._wide, self._high = (columns, rows) if ascii_only else (columns * 2, rows * 4)
        self._cells = [[0] * columns for _ in range(rows)]
        self._crosses: set[tuple[int, int]] = set()

    def draw(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A straight line between two points."""
        (column0, row0), (column1, row1) = self._dot(x0, y0), self._dot(x1, y1)
        steps = max(abs(column1 - column0), abs(row1 - row0), 1)
        for step in range(steps + 1):
            column = round(column0 + (column1 - column0) * step / steps)
            row = round(row0 + (row1 - row0) * step / steps)
            self._set(column, row)

    def cross(self, x: float, y: float) -> None:
        """A cross on the cell of a point."""
        column, row = self._dot(x, y)
        self._crosses.add((column, row) if self._ascii else (column // 2, row // 4))

    def lines(self) -> list[str]:
        """The canvas as text."""
        return ["".join(self._cell(column, row) for column in range(self._columns)) for row in range(self._rows)]

    def _cell(self, column: int, row: int) -> str:
        if (column, row) in self._crosses:
            return "X"
        bits = self._cells[row][column]
        if self._ascii:
            return "*" if bits else " "
        return chr(_BRAILLE + bits) if bits else " "

    def _set(self, column: int, row: int) -> None:
        if self._ascii:
            self._cells[row][column] = 1
        else:
            self._cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]

    def _dot(self, x: float, y: float) -> tuple[int, int]:
        return (
            _place(x, *self._xs, self._wide),
            self._high - 1 - _place(y, *self._ys, self._high),
        )


def _place(value: float, low: float, high: float, count: int) -> int:
    if high <= low or not math.isfinite(high - low):
        return 0
    return min(count - 1, max(0, round((value - low) / (high - low) * (count - 1))))


def spread(steps: Sequence[float | None], *, width: int, ascii_only: bool = False) -> str:
    """Percentiles of one number as a bar of `width` columns that thins out: full to the first, less to the second, least to
    the third, which fills it. Blank unless all are known and rise.
    """
    known = [value for value in steps if value is not None and math.isfinite(value) and value >= 0]
    rises = len(known) == len(steps) == len(_SPREAD) and known == sorted(known) and known[-1] > 0
    if not rises or width <= 0:
        return " " * max(0, width)
    places = [round(value / known[-1] * width) for value in known]
    bar, start = "", 0
    for place, glyph in zip(places, _ASCII_SPREAD if ascii_only else _SPREAD, strict=True):
        bar += glyph * (place - start)
        start = max(start, place)
    return bar.ljust(width)


def number(value: float, unit: str = "") -> str:
    """A number in at most five characters and its unit: `41.6`, `12k`, `3.4M`."""
    size = abs(value)
    for limit, divisor, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= limit:
            text = f"{value / divisor:.3g}"
            return (text if "e" not in text else f"{value / divisor:.0f}") + letter + unit
    text = f"{value:.0f}" if size >= 100 or value == int(value) else f"{value:.3g}"
    return text + unit
