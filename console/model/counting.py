"""Numbers with their nouns, and lists that name the first items and count the rest."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`; the plural of `noun` ends with s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(items: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first `most` items and the number of the others: `d0, d1, d2 +4 more`."""
    rest = len(items) - most
    return separator.join(items[:most]) + (f" +{rest} more" if rest > 0 else "")
