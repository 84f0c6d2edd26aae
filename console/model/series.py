"""Sums of values of which some are unknown (None), alone and interval by interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TypeVar

Number = TypeVar("Number", int, float)


def known_sum(values: Iterable[Number | None]) -> Number | None:
    """The sum of the known values; None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def summed(histories: Iterable[Sequence[float | None]]) -> tuple[float | None, ...]:
    """Histories, oldest value first, added interval by interval from the newest back; unknown where all are."""
    rows = zip_longest(*(reversed(each) for each in histories))
    return tuple(known_sum(row) for row in reversed([*rows]))
