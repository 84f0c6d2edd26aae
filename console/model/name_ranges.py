"""Shortens lists of engine or node names: ranks in a row become `decode-0..15`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MOST = 4
"""Most parts that are named; the other names are counted."""
_ROW = 3
"""Fewest names with consecutive numbers that become a range."""


def name_ranges(names: Iterable[str]) -> str:
    """`decode-0..15, proxy`; of more than four parts the rest as `+5 more`. Equal names count once, their order is kept."""
    parts = [*_parts([*dict.fromkeys(names)])]
    hidden = sum(count for _, count in parts[MOST:])
    return ", ".join(text for text, _ in parts[:MOST]) + (f" +{hidden} more" if hidden else "")


def _parts(names: list[str]) -> Iterator[tuple[str, int]]:
    """Each range or name, and the number of names it stands for."""
    start = 0
    while start < len(names):
        end = start + 1
        while end < len(names) and _follows(names[end - 1], names[end]):
            end += 1
        if end - start >= _ROW:
            yield f"{names[start]}..{names[end - 1].rpartition('-')[2]}", end - start
        else:
            yield from ((name, 1) for name in names[start:end])
        start = end


def _follows(name: str, later: str) -> bool:
    stem, _, number = name.rpartition("-")
    later_stem, _, later_number = later.rpartition("-")
    return (
        stem == later_stem and number.isdecimal() and later_number.isdecimal() and int(number) + 1 == int(later_number)
    )


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted by stem and number, so that rows of ranks stand together."""
    return sorted(set(names), key=_place)


def _place(name: str) -> tuple[str, int, str]:
    stem, _, number = name.rpartition("-")
    return (stem, int(number), "") if stem and number.isdecimal() else (name, -1, "")
