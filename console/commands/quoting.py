"""The one place where text becomes shell words. POSIX quoting, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from console.model.errors import UsageError

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def quote(word: str) -> str:
    """The text as one POSIX shell word that any sh reads back byte for byte.

    Raises UsageError for text no process can be given: a NUL, or half of a surrogate pair.
    """
    if "\0" in word or any("\ud800" <= char <= "\udfff" for char in word):
        raise UsageError(f"{word!r} cannot be an argument or a variable", hint="remove the NUL or the broken character")
    if _SAFE.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def join(words: Iterable[str]) -> str:
    """A command line that a POSIX shell splits into exactly these words."""
    return " ".join(quote(word) for word in words)
