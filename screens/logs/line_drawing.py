"""One line of a log as styled pieces: progress bars shortened, levels coloured, search results highlighted. Reads no file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from console.probes.log_line import parse_text
from console.probes.log_time import day_time, span
from console.probes.sanitize import clean
from screens.logs.patterns import Pattern
from screens.styled_lines import Line, Span, brief, fit, shown, width, wrap

_LEVEL = re.compile(
    r"\b(ERROR|CRITICAL|FATAL|WARNING|WARN)\b|^Traceback \(most recent call last\)|^[A-Za-z_.]{0,80}(?:Error|Exception):"
)
_LEVEL_WITHIN = 160
_KIND = re.compile(r"(?:EngineCore|Worker)_(?=[A-Z]+\d)|(?:APIServer|ApiServer).*")
"""What a process is called before its ranks; a server's lines are those of the engine."""
_ENGINE_OWN = re.compile(rf"(?:{_KIND.pattern})(?:DP\d+(?:_|\Z))?")
Stamps = Literal["short", "written", "hidden", "age", "since"]
"""How the head of a line is shown: as time, level and rank, as its program wrote it, without its time, with the age of the line
or the time since the log started instead."""
STAMPS: tuple[Stamps, ...] = ("short", "written", "hidden", "age", "since")
STAMP_CELLS = 7
CLOCK_CELLS = 8
ROOMY = 100
"""From so many cells on a line has its number unless told otherwise."""


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How lines are drawn."""

    cells: int
    left: int = 0
    """Cells cut off at the left; only without wrapping."""
    wrapped: bool = False
    numbers: bool | None = None
    """Line numbers; None where there is room."""
    number_cells: int = 7
    needle: re.Pattern[str] | None = None
    stamps: Stamps = "short"
    origin: float | None = None
    """What ages and times since are counted from, seconds since the epoch by our clock."""
    label_cells: int = 0
    """Width of the names of ranks; 0 without them."""

    @property
    def text_cells(self) -> int:
        """Cells left for the text."""
        taken = (self.number_cells + 1 if self.numbered else 0) + (self.label_cells + 1 if self.label_cells else 0)
        return max(8, self.cells - taken - self.head_cells - 1)

    @property
    def numbered(self) -> bool:
        """Whether lines have their numbers before them."""
        return self.cells >= ROOMY if self.numbers is None else self.numbers

    @property
    def short(self) -> bool:
        """Whether the head of a line is its time, level and rank alone."""
        return self.stamps == "short"

    @property
    def head_cells(self) -> int:
        """Cells before the text for a time and a level of ours."""
        return STAMP_CELLS + 1 if self.counts else CLOCK_CELLS + 3 if self.short else 0

    @property
    def counts(self) -> bool:
        """Whether lines start with a time that is counted from another."""
        return self.stamps in ("age", "since")

    def counted(self, at: float | None) -> str:
        """The time of a line, counted; empty for a line without one."""
        if at is None or self.origin is None:
            return ""
        return span_words(self.origin - at if self.stamps == "age" else at - self.origin)


@dataclass(frozen=True, slots=True)
class LineState:
    """What one line is to the operator."""

    marked: bool = False
    """Marked by hand."""
    current: bool = False
    """The search stands on it."""
    near: bool = False
    """Shown only for being near a line that the filter keeps."""
    chosen: Literal["", "end", "within"] = ""
    """Where it is in what is being selected: at the end that moves, or within."""


def span_words(seconds: float) -> str:
    """A length of time in at most seven cells: `12s`, `3m05s`, `2h07m`, `3d04h`; clocks that differ may make it negative."""
    whole = abs(round(seconds))
    sign = "-" if seconds <= -0.5 else ""
    for size, unit, small, low in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{sign}{whole // size}{unit}{whole % size // small:02}{low}"
    return f"{sign}{whole}s"


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


def without_stamp(text: str) -> str:
    """The text of a line without the time its program wrote."""
    place = span(text)
    return text if place is None else text[: place[0]] + text[place[1] :].removeprefix(" ")


def short_head(text: str, *, several: bool = False) -> tuple[str, str, str]:
    """Time, level's letter, and the words of a line behind its ranks, or its process where that has none.

    Of a line whose head is not vLLM's only the time is taken out. A line that `several` engines wrote has no data-parallel rank.
    """
    line = parse_text(text)
    who = (_ENGINE_OWN if several else _KIND).sub("", line.process)
    words = f"{who}: {line.text}" if who else line.text
    if line.level:
        return day_time(line.time), line.level[0], words
    place = span(words)
    return ("", "", words) if place is None else (day_time(words[slice(*place)]), "", without_stamp(words))


def pieces(
    text: str,
    number: int | None,
    manner: LineStyle,
    line_state: LineState = LineState(),
    *,
    at: float | None = None,
    label: Span | None = None,
    several: bool = False,
) -> list[Line]:
    """The rows of one line: who wrote it, its number and level, its time when that is counted, then its text.

    `several` says that it stands for the equal lines of several engines.
    """
    role = level_role(text)
    clock = letter = ""
    if manner.short:
        clock, letter, words = short_head(text, several=several)
        found = manner.needle is not None and manner.needle.search(text) and not manner.needle.search(words)
        text = text if found else words  # what a search finds in the head is seen there
    elif manner.stamps != "written":
        text = without_stamp(text)
    bodies = wrap(text, manner.text_cells) if manner.wrapped else [_crop(text, manner.left, manner.text_cells)]
    rows: list[Line] = []
    for index, body in enumerate(bodies):
        spans: list[Span] = []
        if manner.label_cells:
            name, name_role = label if label and not index else ("", "")
            spans.append((fit(shown(name), manner.label_cells) + " ", name_role))
        edge = _edge(role, line_state)
        if manner.numbered:
            number_words = "" if index or number is None else str(number)
            spans.append((fit(number_words, manner.number_cells, right=True) + (" " if edge else "  "), "gutter"))
        if edge or not manner.numbered:
            spans.append(edge or (" ", ""))
        if manner.counts:
            spans.append((fit("" if index else manner.counted(at), STAMP_CELLS, right=True) + " ", "gutter"))
        elif manner.short:
            spans.append((fit("" if index else clock, CLOCK_CELLS) + " ", "gutter"))
            spans.append((fit("" if index else letter, 1) + " ", role or "gutter"))
        spans.extend(_body(body, role, manner.needle, line_state))
        rows.append(tuple(spans))
    return rows


def note_row(text: str, manner: LineStyle) -> Line:
    """A marker line that is not of the log."""
    return ((fit(f" -- {clean(text)} --", manner.cells), "note"),)


def divider(manner: LineStyle) -> Line:
    """What stands between lines that do not follow each other."""
    gutter = (manner.number_cells + 2 if manner.numbered else 1) + manner.head_cells
    return ((fit(" " * gutter + "--", manner.cells), "dim"),)


def _edge(role: str, line_state: LineState) -> Span | None:
    if line_state.chosen:
        return (">" if line_state.chosen == "end" else "|", "key")
    if line_state.marked:
        return ("*", "mark")
    return ("!", role) if role else None


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
    return brief(text, cells)


def _body(text: str, role: str, needle: re.Pattern[str] | None, line_state: LineState) -> list[Span]:
    if line_state.chosen:
        return [(text or " ", "cursor")]
    if needle is not None and (spans := _hits(text, needle, current=line_state.current)):
        return spans
    if line_state.near:
        return [(text, "dim")]
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
