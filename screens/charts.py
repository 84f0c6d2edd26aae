"""Draws values as bars, sparklines and strips of fill levels. Pure.

Each takes exactly the cells it is given and has a twin in ASCII. Braille dots are of neutral width in every terminal, block
elements are not. Unknown is blank, and never drawn like zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from screens.styled_lines import Line, Pen, Span

RAIL, FULL = "⣀", "⣿"
_PARTS = "⣀⣄⣆⣇⣧⣷"
"""One cell of a bar filled by so many sixths."""
_RAIL_PLAIN, _HALF_PLAIN, _FULL_PLAIN = ".", "=", "#"
_LEFT, _RIGHT = (0, 0x40, 0x44, 0x46, 0x47), (0, 0x80, 0xA0, 0xB0, 0xB8)
"""Dots of a braille cell's left and right column that is 0 to 4 dots high, added to U+2800."""
_HEIGHTS_PLAIN = " _:-=*#"
"""The same in ASCII, 0 to 6 high."""


def bar(fraction: float | None, cells: int, pen: Pen, *, role: str = "plain") -> Line:
    """A bar of that many cells, filled to the fraction (0 to 1) in that role, its rest dim; blank where it is unknown.

    It is empty at 0 alone and full at 1 alone: the smallest part of a cell stands for less, and is missing for more.
    """
    if fraction is None or cells <= 0:
        return ((" " * max(0, cells), ""),)
    steps = 2 if pen.ascii else len(_PARTS)
    whole = cells * steps
    share = max(0.0, min(1.0, fraction))
    filled = round(share * whole)
    if 0.0 < share < 1.0:
        filled = max(1, min(whole - 1, filled))
    full, part = divmod(filled, steps)
    if pen.ascii:
        done, rest = _FULL_PLAIN * full + _HALF_PLAIN * bool(part), _RAIL_PLAIN
    else:
        done, rest = FULL * full + (_PARTS[part] if part else ""), RAIL
    return tuple(span for span in ((done, role), (rest * (cells - len(done)), "dim")) if span[0])


def sparkline(values: Sequence[float | None], cells: int, pen: Pen, *, top: float | None = None) -> str:
    """The newest values in that many cells, two to a cell, oldest first, the newest at the right end.

    `top` is the value of full height, else the largest one shown. A known value has a dot at least, an unknown one none.
    ASCII shows the larger of each two.
    """
    if cells <= 0:
        return ""
    newest: list[float | None] = [None] * (2 * cells)
    newest = [*newest, *values][-2 * cells :]
    highest = top if top is not None else max((value for value in newest if value is not None), default=0.0)
    pairs = [(newest[at], newest[at + 1]) for at in range(0, 2 * cells, 2)]
    if pen.ascii:
        return "".join(_HEIGHTS_PLAIN[max(_height(value, highest, 6) for value in pair)] for pair in pairs)
    dots = (_LEFT[_height(left, highest, 4)] + _RIGHT[_height(right, highest, 4)] for left, right in pairs)
    return "".join(chr(0x2800 + each) if each else " " for each in dots)


def _height(value: float | None, top: float, steps: int) -> int:
    """0 where the value is unknown, else from 1 to `steps`."""
    if value is None:
        return 0
    return max(1, min(steps, ceil(steps * value / top))) if top > 0 else 1


def heat_strip(values: Sequence[float | None], pen: Pen) -> Line:
    """One cell for each value (0 to 1): as high as the value, and dim, calm or in the colour of load."""
    return tuple(heat_cell(value, pen) for value in values)


def heat_cell(value: float | None, pen: Pen, role: str = "") -> Span:
    """One cell of such a strip, in a role of its own where one is given; `?` where the value is unknown."""
    if value is None:
        return ("?", "stale")
    return (pen.level(value), role or ("dim" if value < 0.08 else "ok" if value < 0.5 else "busy"))
