"""Patterns that decide which lines of a log are shown. Does not read files.

A pattern is a regular expression on the bytes of the file, as `grep -E` would see them; lower case finds both cases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

_CROSSING = re.compile(rb"\\[snWDSZAb]|\[\^|\(\?|[*?]\)?\Z")
_BY_NUMBER = re.compile(rb"\\[xuU0-9]|\(\?")
"""Characters written by number, and flags: these may mean capitals without having any."""
_NEWLINE = re.compile(rb"\n")
RARE = 64
"""Most lines in a part of a log that are looked at one by one for what is not wanted in them."""
_SPECIAL = frozenset(b"\\.^$*+?{}[]|()")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What an operator typed, ready to search with."""

    text: str
    literal: bytes
    """The bytes to look for when no character is special; empty otherwise."""
    fold: bool
    """Whether both cases are found."""
    lowers: bool
    """Whether that is done by looking at the data in lower case, which is several times faster than matching both."""
    regex: re.Pattern[bytes]
    any_of: tuple[bytes, ...] = ()
    """The literals of `one|other`, each looked for by itself: an expression of several is tried at every byte."""
    counter: re.Pattern[bytes] | None = None
    """The expression and the rest of its line, for counting in one call; None when it might reach into the next line."""
    hint: re.Pattern[bytes] | None = None
    """A cheaper expression that every line with a match has too: where it is rare, the other is tried on few lines."""
    always: bytes = b""
    """A text that every line with a match has."""
    taken_literally: bool = False
    """It was no valid expression, so its characters are looked for as they are."""

    def search(self, line: bytes) -> bool:
        """Whether a line has it."""
        line = line.lower() if self.lowers else line
        return self.literal in line if self.literal else self.regex.search(line) is not None

    def scan(self, data: bytes | bytearray, begin: int, end: int, few: int) -> tuple[int, list[int]]:
        """How many lines of a part of the data have it, and positions in the first of them, at most one more than `few`."""
        where = data.lower() if self.lowers else data
        starts = self._starts(where, begin, end)
        first = list(islice(starts, few + 1))
        if len(first) <= few:
            return len(first), first
        if self.counter is None:
            return len(first) + sum(1 for _ in starts), first
        return few + len(self.counter.findall(where, first[-1], end)), first

    def lines(self, data: bytes | bytearray, begin: int, end: int) -> Iterator[int]:
        """Where the lines with it start in a part of the data."""
        where = data.lower() if self.lowers else data
        return (max(begin, where.rfind(b"\n", begin, at) + 1) for at in self._starts(where, begin, end))

    def texts(self, data: bytes | bytearray, begin: int, end: int) -> list[bytes]:
        """The lines with it in a part of the data."""
        if self.counter is not self.regex:
            return [_line(data, at, end) for at in self.lines(data, begin, end)]
        newline_before, copied = data.rfind, bytes(data)
        return [
            copied[max(begin, newline_before(b"\n", begin, found.start()) + 1) : found.end()]
            for found in self.regex.finditer(data, begin, end)
        ]

    def _starts(self, where: bytes | bytearray, begin: int, end: int) -> Iterator[int]:
        if self.literal:
            return self._literal_starts(where, begin, end)
        if self.any_of:
            return self._any_starts(where, begin, end)
        if self.hint is not None:
            return self._hinted_starts(self.hint, where, begin, end)
        if self.counter is self.regex:
            return (found.start() for found in self.regex.finditer(where, begin, end))
        return self._regex_starts(where, begin, end)

    def _hinted_starts(self, hint: re.Pattern[bytes], where: bytes | bytearray, begin: int, end: int) -> Iterator[int]:
        at = begin
        while (near := hint.search(where, at, end)) is not None:
            newline = where.find(b"\n", near.end(), end)
            stop = newline if newline >= 0 else end
            found = self.regex.search(where, max(begin, where.rfind(b"\n", begin, near.start()) + 1), stop)
            if found is not None:
                yield found.start()
            if newline < 0:
                return
            at = newline + 1

    def _any_starts(self, where: bytes | bytearray, begin: int, end: int) -> Iterator[int]:
        ahead = {each: where.find(each, begin, end) for each in self.any_of}
        while (found := min((at for at in ahead.values() if at >= 0), default=-1)) >= 0:
            yield found
            newline = where.find(b"\n", found, end)
            if newline < 0:
                return
            for each, at in ahead.items():
                if 0 <= at < newline:
                    ahead[each] = where.find(each, newline, end)

    def _literal_starts(self, where: bytes | bytearray, begin: int, end: int) -> Iterator[int]:
        literal = self.literal
        at = where.find(literal, begin, end)
        while at >= 0:
            yield at
            newline = where.find(b"\n", at, end)
            if newline < 0:
                return
            at = where.find(literal, newline, end)

    def _regex_starts(self, data: bytes | bytearray, begin: int, end: int) -> Iterator[int]:
        at = begin
        while (found := self.regex.search(data, at, end)) is not None:
            if found.start() == end and (end == begin or data[end - 1] == 0x0A):  # nothing, found behind the last line
                return
            newline = data.find(b"\n", found.start(), end)
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
    lowers = fold and not _BY_NUMBER.search(raw)
    flags = re.MULTILINE | (re.IGNORECASE if fold and not lowers else re.NOFLAG)
    if not any(byte in _SPECIAL for byte in raw):
        return _literal(text, raw, fold)
    try:
        regex = re.compile(raw, flags)
    except re.error:
        return replace(_literal(text, raw, fold), taken_literally=True)
    counter = None if _CROSSING.search(raw) or regex.search(b"") else re.compile(b"(?:" + raw + b").*", flags)
    parts = tuple(raw.split(b"|"))
    if all(part and not any(byte in _SPECIAL for byte in part) for part in parts):
        return Pattern(text, b"", fold, lowers, regex, parts)
    return Pattern(text, b"", fold, lowers, regex, counter=counter)


def prepared(text: str, regex: re.Pattern[bytes], always: bytes = b"") -> Pattern:
    """A pattern of ours whose expression ends at the end of its line; `text` is what it is called, `always` in every match."""
    return Pattern(text, b"", False, False, regex, counter=regex, always=always)


def literal(text: str) -> Pattern:
    """A pattern that is exactly this text, whatever its characters would mean in an expression."""
    return _literal(text, text.encode(), fold=False)


def _literal(text: str, raw: bytes, fold: bool) -> Pattern:
    found = re.escape(raw)
    return Pattern(text, raw, fold, fold, re.compile(found), counter=re.compile(found + rb".*()"))


ERRORS = Pattern(
    "errors",
    b"",
    False,
    False,
    re.compile(
        rb"\b(?:ERROR|CRITICAL|FATAL)\b|Traceback \(most recent call last\)"
        rb"|^(?:\([^)\n]{1,60}\) )*[A-Za-z_.]{0,80}(?:Error|Exception)\b: ?",
        re.MULTILINE,
    ),
    hint=re.compile(rb"ERROR|CRITICAL|FATAL|Traceback|Error|Exception"),
)
WARNINGS = Pattern("warnings", b"", False, False, re.compile(rb"\bWARN(?:ING)?\b", re.M), hint=re.compile(rb"WARN"))


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Patterns that a line must all have, and patterns it must have none of."""

    wanted: tuple[Pattern, ...] = ()
    unwanted: tuple[Pattern, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.wanted or self.unwanted)

    def keeps(self, line: bytes) -> bool:
        """Whether a line is shown."""
        return all(each.search(line) for each in self.wanted) and not self._unwanted(line)

    def scan(
        self, data: bytes | bytearray, begin: int, end: int, few: int, hidden: int | None = None
    ) -> tuple[int, list[int]]:
        """How many lines of a part of the data are kept, and where they start in it when they are not more than `few`.

        With at most one wanted pattern lines are counted without being taken apart, all but the unwanted among them; those
        are looked for only where wanted ones are not rare. `hidden` is how many unwanted ones there are, where that is known.
        """
        if len(self.wanted) <= 1:
            rare = max(few, RARE) if self.unwanted else few
            count, found = (
                self.wanted[0].scan(data, begin, end, rare) if self.wanted else (line_count(data, begin, end), [])
            )
            if self.wanted and count <= rare:
                starts = [max(begin, data.rfind(b"\n", begin, at) + 1) for at in found]
                starts = [at for at in starts if not self._unwanted(_line(data, at, end))]
                return len(starts), starts if len(starts) <= few else []
            count -= self._dropped(data, begin, end, hidden)
            if count > few:
                return count, []
        kept = self.kept(bytes(data[begin:end]))
        return len(kept), [begin + each for each in kept] if len(kept) <= few else []

    def kept(self, data: bytes) -> list[int]:
        """Where the kept lines begin."""
        if not self.wanted:
            dropped = {at for each in self.unwanted for at in each.lines(data, 0, len(data))}
            return [at for at in _starts(data) if at not in dropped]
        starts = self.wanted[0].lines(data, 0, len(data))
        more = len(self.wanted) + len(self.unwanted) > 1
        return [at for at in starts if self.keeps(_line(data, at, len(data)))] if more else list(starts)

    def _unwanted(self, line: bytes) -> bool:
        return any(each.search(line) for each in self.unwanted)

    def _dropped(self, data: bytes | bytearray, begin: int, end: int, hidden: int | None) -> int:
        """How many lines have an unwanted pattern, of those that have the wanted one."""
        if not self.unwanted:
            return 0
        if not self.wanted and len(self.unwanted) == 1:
            return self.unwanted[0].scan(data, begin, end, 0)[0]
        if len(self.unwanted) == 1:
            wanted, always = self.wanted[0], self.unwanted[0].always
            if wanted.literal and wanted.literal in (always.lower() if wanted.lowers else always):
                return self.unwanted[0].scan(data, begin, end, 0)[0] if hidden is None else hidden
            dropped = self.unwanted[0].texts(data, begin, end)
        else:
            starts = {at for each in self.unwanted for at in each.lines(data, begin, end)}
            if not self.wanted:
                return len(starts)
            dropped = [_line(data, at, end) for at in starts]
        lines = b"\n".join(dropped)
        return self.wanted[0].scan(lines, 0, len(lines), 0)[0]

    def without(self, hidden: LineFilter) -> LineFilter:
        """The same, and none of what is hidden."""
        return replace(self, unwanted=(*self.unwanted, *hidden.unwanted))

    def words(self) -> str:
        """The filters as they were typed."""
        return " ".join([each.text for each in self.wanted] + [f"!{each.text}" for each in self.unwanted])


def line_count(data: bytes | bytearray, begin: int, end: int) -> int:
    """How many lines start in a part of the data that starts with one; the last need not be whole."""
    return data.count(b"\n", begin, end) + (end > begin and data[end - 1] != 0x0A)


def _starts(data: bytes) -> list[int]:
    starts = [0, *(found.end() for found in _NEWLINE.finditer(data))]
    return starts[:-1] if starts[-1] == len(data) else starts


def _line(data: bytes | bytearray, at: int, end: int) -> bytes:
    newline = data.find(b"\n", at, end)
    return bytes(data[at : newline if newline >= 0 else end])
