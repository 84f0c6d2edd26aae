"""One line of a log as styled pieces: progress bars collapsed, levels coloured, hits shown. It reads no file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from console.probes.sanitize import clean
from screens.lines import Line, Span, fit, width, wrap
from screens.logs.sieve import Pattern

_LEVEL = re.compile(
    r"\b(ERROR|CRITICAL|FATAL|WARNING|WARN)\b|^Traceback \(most recent call last\)|^[A-Za-z_.]{0,80}(?:Error|Exception):"
)
_LEVEL_WITHIN = 160


@dataclass(frozen=True, slots=True)
class Manner:
    """How lines are drawn."""

    cells: int
    left: int = 0
    """Cells cut off at the left; only without wrapping."""
    wrapped: bool = False
    numbers: bool = True
    number_cells: int = 7
    needle: re.Pattern[str] | None = None

    @property
    def text_cells(self) -> int:
        """Cells left for the text."""
        return max(8, self.cells - (self.number_cells + 1 if self.numbers else 0) - 1)


def display_pattern(pattern: Pattern | None) -> re.Pattern[str] | None:
    """A search as it is shown in cleaned text."""
    if pattern is None:
        return None
    flags = re.IGNORECASE if pattern.fold else re.NOFLAG
    return re.compile(re.escape(pattern.text) if pattern.literal else pattern.text, flags)


def collapse(raw: bytes) -> bytes:
    """What a terminal would be left with: the text behind the last carriage return that has any."""
    if b"\r" not in raw:
        return raw
    return next((part for part in reversed(raw.split(b"\r")) if part.strip()), b"")


def text_of(raw: bytes, left_out: int) -> str:
    """The readable text of a line; bytes that were too many are counted at its end."""
    text = clean(collapse(raw).decode("utf-8", "backslashreplace").expandtabs(8))
    return f"{text} ~ +{left_out} bytes not shown" if left_out else text


def level_role(text: str) -> str:
    """The role of a line's level, empty for ordinary lines."""
    found = _LEVEL.search(text, 0, _LEVEL_WITHIN)
    if found is None:
        return ""
    return "warn" if found.group(1) in ("WARNING", "WARN") else "fail"


def pieces(text: str, number: int | None, manner: Manner, *, marked: bool = False, current: bool = False) -> list[Line]:
    """The rows of one line: gutter with its number and level, then its text, cut or wrapped."""
    role = level_role(text)
    bodies = wrap(text, manner.text_cells) if manner.wrapped else [_crop(text, manner.left, manner.text_cells)]
    rows: list[Line] = []
    for index, body in enumerate(bodies):
        spans: list[Span] = []
        if manner.numbers:
            shown = "" if index or number is None else str(number)
            spans.append(
                (fit(shown, manner.number_cells, right=True) + ("  " if not role and not marked else " "), "gutter")
            )
        if role or marked or not manner.numbers:
            spans.append(_edge(role, marked=marked))
        spans.extend(_body(body, role, manner.needle, current=current))
        rows.append(tuple(spans))
    return rows


def note_row(text: str, manner: Manner) -> Line:
    """A marker line that is not of the log."""
    return ((fit(f" -- {clean(text)} --", manner.cells), "note"),)


def _edge(role: str, *, marked: bool) -> Span:
    if marked:
        return ("*", "mark")
    return ("!", role) if role else (" ", "")


def _crop(text: str, left: int, cells: int) -> str:
    if left:
        taken = 0
        for index, char in enumerate(text):
            if taken >= left:
                text = " " * (taken - left) + text[index:]
                break
            taken += width(char)
        else:
            return ""
    return fit(text, cells).rstrip(" ") if width(text) > cells else text


def _body(text: str, role: str, needle: re.Pattern[str] | None, *, current: bool) -> list[Span]:
    if needle is not None and (spans := _hits(text, needle, current=current)):
        return spans
    found = _LEVEL.search(text, 0, _LEVEL_WITHIN) if role else None
    if found is None:
        return [(text, "")]
    return [(text[: found.start()], ""), (found.group(), role), (text[found.end() :], "")]


def _hits(text: str, needle: re.Pattern[str], *, current: bool) -> list[Span]:
    spans: list[Span] = []
    at = 0
    for found in needle.finditer(text):
        if found.end() > found.start():
            spans.append((text[at : found.start()], ""))
            spans.append((found.group(), "current" if current else "hit"))
            at = found.end()
    if spans:
        spans.append((text[at:], ""))
    return spans
