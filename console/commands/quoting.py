"""POSIX shell quoting. All shell words are made here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from console.model.errors import UsageError

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def quote(word: str) -> str:
    """The text as one POSIX shell word that every shell reads back unchanged.

    Raises UsageError for text that a process cannot get: a NUL, or half of a surrogate pair.
    """
    if "\0" in word or any("\ud800" <= char <= "\udfff" for char in word):
        raise UsageError(f"{word!r} cannot be passed to a process", hint="remove the NUL or the invalid character")
    if _SAFE.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def join(words: Iterable[str]) -> str:
    """A command line that a POSIX shell splits into exactly these words."""
    return " ".join(quote(word) for word in words)
