"""Shortens names that are too long for their column; different names stay different. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rich.cells import chop_cells

from console.model.name_ranges import MOST, name_ranges
from console.model.shortening import first_part
from screens.styled_lines import shown, width

_TAILS = (0.6, 0.75, 1.0, 0.4, 0.25)
"""Shares of the room for the end of a name; the end often has the number."""


@lru_cache(maxsize=16)
def short_names(names: Sequence[str], cells: int) -> dict[str, str]:
    """Each name in at most `cells` cells, its middle replaced by `~` where it is longer; `names` must be hashable.

    The first way of shortening is taken that leaves no two names equal.
    """
    ways = [{name: _middle_cut(name, cells, round((cells - 1) * share)) for name in names} for share in _TAILS]
    alike = [len(set(chars)) == 1 for chars in zip(*(name for name in names if width(name) > cells), strict=False)]
    shared = alike.index(False) if False in alike else len(alike)
    shared = len(next(iter(name for name in names if width(name) > cells), "")[:shared].rstrip("0123456789"))
    ways.append({name: name if width(name) <= cells else "~" + _begin(name[shared:], cells - 1) for name in names})
    return next((way for way in ways if len(set(way.values())) == len(way)), ways[0])


def _middle_cut(name: str, cells: int, tail: int) -> str:
    if width(name) <= cells:
        return name
    end = _end(name, tail)
    return f"{_begin(name, cells - 1 - width(end))}~{end}"


def _begin(text: str, cells: int) -> str:
    """As much of the start as fits, without a part of a number."""
    return first_part(text, len(chop_cells(text, cells)[0])) if cells > 0 and text else ""


def _end(text: str, cells: int) -> str:
    """As much of the end as fits, without a part of a number."""
    start = len(text)
    while start > 0 and width(text[start - 1 :]) <= cells:
        start -= 1
    cut_number = 0 < start < len(text) and text[start - 1].isdigit() and text[start].isdigit()
    return text[start:].lstrip("0123456789") if cut_number else text[start:]


def names_in(names: Sequence[str], cells: int) -> str:
    """Names in short, as many of them as fit into so many cells, the others counted: a range is never cut."""
    return next(
        (text for most in range(MOST, 1, -1) if width(text := shown(name_ranges(names, most))) <= cells),
        shown(name_ranges(names, 1)),
    )
