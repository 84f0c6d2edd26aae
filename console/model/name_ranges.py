"""Many names of engines or nodes in few words: a row of ranks as `decode-0..15`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MOST = 4
"""Most parts that are named; the other names are counted."""
_ROW = 3
"""Fewest names with consecutive numbers that become a range."""
_NUMBERED = re.compile(r"(.*?[^0-9.]|)(0|[1-9][0-9]*)")
"""A name that ends with a number; zeros before it and a part of an engine (`mixed-0.1`) make no row."""


def name_ranges(names: Iterable[str], most: int = MOST) -> str:
    """`decode-0..15, proxy`; of more than `most` parts the rest as `+5 more`. Equal names count once, their order is kept."""
    parts = [*_parts([*dict.fromkeys(names)])]
    hidden = sum(count for _, count in parts[most:])
    return ", ".join(text for text, _ in parts[:most]) + (f" +{hidden} more" if hidden else "")


def _parts(names: list[str]) -> Iterator[tuple[str, int]]:
    """Each range or name, and the number of names it stands for."""
    start = 0
    while start < len(names):
        end = start + 1
        while end < len(names) and _follows(names[end - 1], names[end]):
            end += 1
        if end - start >= _ROW:
            yield f"{names[start]}..{_place(names[end - 1])[1]}", end - start
        else:
            yield from ((name, 1) for name in names[start:end])
        start = end


def _follows(name: str, later: str) -> bool:
    stem, number, _ = _place(name)
    return number >= 0 and _place(later)[:2] == (stem, number + 1)


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted by stem and number, so that rows of ranks stand together."""
    return sorted(set(names), key=_place)


def _place(name: str) -> tuple[str, int, str]:
    """The stem of a name and its number; the whole name and -1 where it has none."""
    found = _NUMBERED.fullmatch(name)
    return (found[1], int(found[2]), "") if found else (name, -1, "")
