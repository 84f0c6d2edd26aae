"""The columns of the grid: how each draws a row, and which columns fit. Pure.

Columns get room in the order of their use until the width is spent: first what is wrong, then load, then the machine. A
column that would be empty in every row is left out. Unknown values are blank or `?`, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from screens.charts import bar, heat_cell, sparkline
from screens.figures import DeviceFigures, LoadFigures, hbm_share, percent, power
from screens.short_names import names_in
from screens.styled_lines import Line, Pen, Span, cut, fit, length, plain, width

if TYPE_CHECKING:
    from console.model.snapshot import Device

MOST_ENGINES = 32
"""So many engines of a node have a glyph of their own where there is room."""
EDGE = 4
"""Cells before the first column: mark and expander, each with a blank."""
LEAST_BAR = 4
"""Cells below which a bar tells nothing."""
_PERCENT = 4


@dataclass(frozen=True, slots=True)
class Subject:
    """What a row shows of a node, a group, an engine or several equal engines."""

    name: Line
    names: Sequence[str] = ()
    """Of several engines in one row: what `name` says, to be said shorter."""
    group: Line = ()
    ranks: str = ""
    state: Line = ()
    """In words, with what explains it."""
    covers: bool = False
    """Whether the words of the state may take the room of figures."""
    npus: Line = ()
    engines: Line = ()
    load: LoadFigures | None = None
    generates: bool = True
    """Whether its speed is that of the tokens it generates; else that of the prompts it reads."""
    figures: DeviceFigures | None = None
    devices: Sequence[Device | None] = ()
    """None leaves a cell free: the device is not one of these."""
    uptime: str = ""
    port: str = ""
    age: str = ""
    tone: str = "plain"
    """The role of its figures."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the grid; figures are drawn to its right edge."""

    title: str
    draw: Callable[[Subject, int, Pen], Line]
    right: bool = False


def _requests(subject: Subject, _cells: int, _pen: Pen) -> Line:
    load = subject.load
    if load is None or load.running is None:
        return ()
    waiting = load.waiting or 0
    return ((f"{load.running}", subject.tone), (f"+{waiting}", "warn" if load.queues else "dim"))


def _speed(subject: Subject, _cells: int, _pen: Pen) -> Line:
    from console.evaluation.plots import number

    load = subject.load
    value = None if load is None else load.generation_tokens_s if subject.generates else load.prompt_tokens_s
    if value is None:
        return ()
    return ((number(round(value)), subject.tone), (" out" if subject.generates else " in ", "dim"))


def _trend(subject: Subject, cells: int, pen: Pen) -> Line:
    if subject.load is None:
        return ()
    return (
        (sparkline(subject.load.history if subject.generates else subject.load.prompt_history, cells, pen), "busy"),
    )


def _kv(subject: Subject, _cells: int, _pen: Pen) -> Line:
    share = subject.load.kv_usage if subject.load else None
    if share is None:
        return ()
    return ((percent(share), "fail" if share >= 0.95 else "warn" if share >= 0.85 else subject.tone),)


def _share(of: Callable[[DeviceFigures], float | None]) -> Callable[[Subject, int, Pen], Line]:
    """A bar with its figure, the figure alone where there is little room."""

    def draw(subject: Subject, cells: int, pen: Pen) -> Line:
        share = None if subject.figures is None else of(subject.figures)
        if share is None:
            return ()
        text = f"{percent(share):>{_PERCENT}}"
        room = cells - _PERCENT - 1
        role = "stale" if subject.tone == "stale" else "bar"
        return (
            (*bar(share, room, pen, role=role), (f" {text}", subject.tone))
            if room >= LEAST_BAR
            else ((text, subject.tone),)
        )

    return draw


def _temperature(subject: Subject, _cells: int, _pen: Pen) -> Line:
    value = subject.figures.temperature_c if subject.figures else None
    return () if value is None else ((f"{value}C", "warn" if value >= 80 else subject.tone),)


def device_strip(devices: Sequence[Device | None], pen: Pen) -> Line:
    """One glyph for each device: fill of its HBM, `.` free, `?` unknown, a cross when it is not healthy."""
    glyphs = [(" ", "") if device is None else _device_glyph(device, pen) for device in devices]
    return tuple(("".join(glyph for glyph, _ in run), role) for role, run in groupby(glyphs, key=itemgetter(1)))


def _device_glyph(device: Device, pen: Pen) -> Span:
    if device.health not in (None, "OK"):
        return ("X" if pen.ascii else "✗", "fail")
    share = hbm_share((device,))
    if share is not None and share < 0.08 and not device.processes:
        return (".", "dim")
    return heat_cell(share, pen, "bar" if (device.aicore_percent or 0) < 50 else "busy")


COLUMNS = (
    Column("NODE", lambda subject, _cells, _pen: subject.name),
    Column("GROUP", lambda subject, _cells, _pen: subject.group),
    Column("RANKS", lambda subject, _cells, _pen: ((subject.ranks, "plain"),) if subject.ranks else ()),
    Column("ENGINES", lambda subject, _cells, _pen: subject.engines),
    Column("STATE", lambda subject, _cells, _pen: subject.state),
    Column("REQ", _requests, right=True),
    Column("TOK/S", _speed, right=True),
    Column("2 MIN", _trend),
    Column("KV", _kv, right=True),
    Column("NPUS", lambda subject, _cells, _pen: subject.npus),
    Column("HBM", _share(lambda figures: figures.hbm), right=True),
    Column("AICORE", _share(lambda figures: figures.aicore), right=True),
    Column("DEVICES", lambda subject, _cells, pen: device_strip(subject.devices, pen)),
    Column("TEMP", _temperature, right=True),
    Column(
        "POWER",
        lambda subject, _cells, _pen: _words(power(subject.figures.power_w) if subject.figures else "", subject),
    ),
    Column("UPTIME", lambda subject, _cells, _pen: _words(subject.uptime, subject), right=True),
    Column("PORT", lambda subject, _cells, _pen: ((subject.port, "dim"),) if subject.port else ()),
    Column("AGE", lambda subject, _cells, _pen: ((subject.age, "stale"),) if subject.age else ()),
)
"""In the order of the screen."""


def _words(text: str, subject: Subject) -> Line:
    return ((text, subject.tone),) if text else ()


GRANTS: Sequence[tuple[str, int]] = (
    ("NODE", 4),
    ("STATE", 13),
    ("HBM", _PERCENT),
    ("AGE", 4),
    ("GROUP", 5),
    ("AICORE", _PERCENT),
    ("NPUS", 6),
    ("REQ", 5),
    ("TOK/S", 9),
    ("KV", 4),
    ("STATE", 9),
    ("HBM", 6),
    ("AICORE", 6),
    ("RANKS", 5),
    ("TEMP", 4),
    ("DEVICES", 4),
    ("HBM", 5),
    ("AICORE", 5),
    ("STATE", 7),
    ("POWER", 6),
    ("UPTIME", 7),
    ("2 MIN", 6),
    ("PORT", 8),
    ("STATE", 8),
    ("ENGINES", 7),
)
"""Which column gets room, and how much, the most useful first, name and state before all; a column that is
named again becomes wider."""
_SHORT = {"AICORE": "AIC"}
"""Titles where a column has few cells."""


def columns_for(cells: int, needs: Mapping[str, int]) -> tuple[tuple[Column, int], ...]:
    """The columns that fit, with their widths. `needs`: title -> cells its values take, for columns that have values at all.

    Name and state are always among them: in few cells they share what there is, and are cut.
    """
    left = max(2, cells - EDGE)
    (_, least_name), (_, least_state) = GRANTS[:2]
    name = min(max(least_name, needs["NODE"]) + 1, max(left - least_state - 1, left // 2))
    granted = {"NODE": name, "STATE": min(least_state + 1, left - name)}
    left -= sum(granted.values())
    for title, least in GRANTS[2:]:
        if title not in needs:
            continue
        known = granted.get(title)
        more = least if known is not None else max(least, needs[title]) + 1
        if title == "STATE" and known is not None:
            more = min(more, left, max(0, needs[title] + 1 - known))
        if more <= left and (known is not None or (title, least) == _first_grant(title)):
            granted[title] = more + (known or 0)
            left -= more
    granted["STATE"] += min(left, 40)
    return tuple((column, granted[column.title] - 1) for column in COLUMNS if column.title in granted)


def _first_grant(title: str) -> tuple[str, int]:
    return next(grant for grant in GRANTS if grant[0] == title)


def heading(columns: Sequence[tuple[Column, int]], names: Mapping[str, str] | None = None) -> Line:
    """The line above the rows; `names` are other titles for some columns."""
    words = []
    for column, cells in columns:
        title = (names or {}).get(column.title, column.title)
        title = title if width(title) <= cells else _SHORT.get(title, title)
        barred = column.title in ("HBM", "AICORE") and cells > _PERCENT + LEAST_BAR
        words.append(fit(title, cells, right=column.right and not barred))
    return ((" " * EDGE + " ".join(words), "dim"),)


def heading_with(line: Line, words: str, cells: int) -> Line:
    """The heading with words behind it, else in its largest gap, else in place of its last titles."""
    if length(line) + 2 + width(words) <= cells:
        return (*line, (f"  {words}", "key"))
    text = plain(line)
    gaps = [gap.span() for gap in re.finditer(r"(?<=\S) {2,}", text)]
    begin, end = max(gaps, key=lambda gap: gap[1] - gap[0], default=(0, 0))
    if end - begin < width(words) + 2:
        room = max(0, cells - width(words) - 1)
        whole = text[:room] if text[room : room + 1] in ("", " ") else text[:room].rpartition(" ")[0]
        return ((whole.ljust(room), "dim"), (f" {words}", "key"))
    return ((text[: begin + 1], "dim"), (words, "key"), (text[begin + 1 + width(words) :], "dim"))


def row_line(subject: Subject, columns: Sequence[tuple[Column, int]], pen: Pen) -> Line:
    """The cells of a row. Name and state take the room of blank cells to their right when they need it, and a state that
    `covers` that of figures as well."""
    drawn = [column.draw(subject, cells, pen) for column, cells in columns]
    spans: list[Span] = []
    at = 0
    while at < len(columns):
        column, cells = columns[at]
        line, end = drawn[at], at + 1
        covers = column.title == "STATE" and subject.covers
        while length(line) > cells and end < len(columns) and column.title in ("NODE", "STATE"):
            if drawn[end] and not covers:
                break
            cells += columns[end][1] + 1
            end += 1
        if column.title == "NODE" and subject.names and length(line) > cells:
            text, role = line[0]
            indent = len(text) - len(text.lstrip())
            line = ((" " * indent + names_in(subject.names, cells - indent), role),)
        if column.right and length(line) < cells:
            line = ((" " * (cells - length(line)), ""), *line)
        spans.extend(cut(line, cells))
        spans.append((" ", ""))
        at = end
    return tuple(spans)
