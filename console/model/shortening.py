"""Shortens texts and lists. Does not cut a number, because a part of a number is another number."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DIGITS = "0123456789"
_GOES_ON = re.compile(r"[.,]?[0-9]|%")


def shortened(text: str, limit: int) -> str:
    """The text in at most `limit` characters; `…` replaces its end, and a number at the end is left out as a whole."""
    return text if len(text) <= limit else f"{first_part(text, limit - 1)}…"


def first_part(text: str, end: int) -> str:
    """The text before `end`, without a number that continues after `end`."""
    kept = text[: max(end, 0)]
    return kept.rstrip(_DIGITS) if kept[-1:].isdigit() and _GOES_ON.match(text, len(kept)) else kept


def list_text(items: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first `most` items and the number of the others: `d0, d1, d2 +5 more`."""
    text = separator.join(items[:most])
    return f"{text} +{len(items) - most} more" if len(items) > most else text
