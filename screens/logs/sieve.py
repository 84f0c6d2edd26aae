"""Which lines of a log are wanted: patterns in and out. Files do not enter here.

A pattern is a regular expression on the bytes of the file, as `grep -E` would see them; lower case finds both cases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

_CROSSING = re.compile(rb"\\[snWDSZAb]|\[\^|\(\?|[*?]\)?\Z")
_SPECIAL = frozenset(b"\\.^$*+?{}[]|()")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What an operator typed, ready to search with."""

    text: str
    literal: bytes
    """The bytes to look for when no character is special; empty otherwise."""
    fold: bool
    """Whether both cases are found."""
    regex: re.Pattern[bytes]
    counter: re.Pattern[bytes] | None = None
    """The expression and the rest of its line, for counting in one call; None when it might reach into the next line."""
    taken_literally: bool = False
    """It was no valid expression, so its characters are looked for as they are."""

    def search(self, line: bytes) -> bool:
        """Whether a line has it."""
        if self.literal:
            return self.literal in (line.lower() if self.fold else line)
        return self.regex.search(line) is not None

    def count(self, data: bytes) -> int:
        """How many of several lines have it."""
        if self.counter is None:
            return sum(1 for _ in self._regex_starts(data))
        if not self.literal:
            return len(self.counter.findall(data))
        where = data.lower() if self.fold else data
        found = where.count(self.literal)
        return found if found < 2 else len(self.counter.findall(where))

    def starts(self, data: bytes) -> Iterator[int]:
        """Positions in several lines where it is found, at most one in each line, in order."""
        return self._literal_starts(data) if self.literal else self._regex_starts(data)

    def _literal_starts(self, data: bytes) -> Iterator[int]:
        where = data.lower() if self.fold else data
        literal = self.literal
        at = where.find(literal)
        while at >= 0:
            yield at
            newline = where.find(b"\n", at)
            if newline < 0:
                return
            at = where.find(literal, newline)

    def _regex_starts(self, data: bytes) -> Iterator[int]:
        at = 0
        while (found := self.regex.search(data, at)) is not None:
            newline = data.find(b"\n", found.start())
            if (
                found.end() > newline >= 0
                and self.regex.search(data[data.rfind(b"\n", 0, found.start()) + 1 : newline]) is None
            ):
                at = newline + 1
                continue
            yield found.start()
            if newline < 0:
                return
            at = newline + 1


def pattern(text: str) -> Pattern:
    """A pattern from what was typed; an invalid expression is looked for as plain text, and says so."""
    raw = text.encode()
    fold = text == text.lower()
    flags = re.MULTILINE | (re.IGNORECASE if fold else re.NOFLAG)
    if not any(byte in _SPECIAL for byte in raw):
        return _literal(text, raw, fold)
    try:
        regex = re.compile(raw, flags)
    except re.error:
        return replace(_literal(text, raw, fold), taken_literally=True)
    counter = None if _CROSSING.search(raw) else re.compile(b"(?:" + raw + b")[^\n]*", flags)
    return Pattern(text, b"", fold, regex, counter)


def _literal(text: str, raw: bytes, fold: bool) -> Pattern:
    flags = re.IGNORECASE if fold else re.NOFLAG
    return Pattern(text, raw, fold, re.compile(re.escape(raw), flags), re.compile(re.escape(raw) + rb"[^\n]*()"))


ERRORS = Pattern(
    "errors",
    b"",
    False,
    re.compile(
        rb"\b(?:ERROR|CRITICAL|FATAL)\b|Traceback \(most recent call last\)"
        rb"|^(?:\([^)\n]{1,60}\) )*[A-Za-z_.]{0,80}(?:Error|Exception)\b: ?",
        re.MULTILINE,
    ),
)
WARNINGS = Pattern("warnings", b"", False, re.compile(rb"\bWARN(?:ING)?\b", re.M))


@dataclass(frozen=True, slots=True)
class Sieve:
    """Patterns that a line must all have, and patterns it must have none of."""

    wanted: tuple[Pattern, ...] = ()
    unwanted: tuple[Pattern, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.wanted or self.unwanted)

    def keeps(self, line: bytes) -> bool:
        """Whether a line is shown."""
        return all(each.search(line) for each in self.wanted) and not any(each.search(line) for each in self.unwanted)

    def count(self, data: bytes) -> int:
        """How many of these lines are kept."""
        if len(self.wanted) == 1 and not self.unwanted:
            return self.wanted[0].count(data)
        return len(self.kept(data))

    def kept(self, data: bytes) -> list[int]:
        """Where the kept lines begin."""
        starts = self._candidates(data)
        return [at for at in starts if self.keeps(_line(data, at))] if self._more else list(starts)

    @property
    def _more(self) -> bool:
        return len(self.wanted) + len(self.unwanted) > 1 or not self.wanted

    def _candidates(self, data: bytes) -> Iterator[int]:
        if self.wanted:
            for found in self.wanted[0].starts(data):
                yield data.rfind(b"\n", 0, found) + 1
            return
        at = 0
        while at < len(data):
            yield at
            newline = data.find(b"\n", at)
            if newline < 0:
                return
            at = newline + 1

    def words(self) -> str:
        """The filters as they were typed."""
        return " ".join([each.text for each in self.wanted] + [f"!{each.text}" for each in self.unwanted])


def _line(data: bytes, at: int) -> bytes:
    end = data.find(b"\n", at)
    return data[at : end if end >= 0 else len(data)]
