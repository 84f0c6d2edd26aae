"""From a snapshot to the rows of the grid: pure, so that what an operator sees can be tested without a terminal.

Columns have a width and a rank; the least important ones go until the rest fits. Unknown values are blank or `?`, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from console.model.role import BESIDE_ENGINES
from console.model.state import EngineState, LinkState
from screens.charts import heat_cell
from screens.figures import hbm_share, stale
from screens.styled_lines import Line, Pen, Span, cut, fit, length, plain, shown, width
from screens.themes import link_sign, sign_of, signs_of

if TYPE_CHECKING:
    from console.model.snapshot import Device, EngineSnapshot, NodeSnapshot

SORTS = ("written", "name", "state", "hbm", "temperature")


@dataclass(frozen=True, slots=True)
class GridView:
    """What of the snapshot is shown, and how; changed by keys, remembered between sessions."""

    expanded: frozenset[str] = frozenset()
    """Nodes or groups whose engines have rows of their own."""
    marks: frozenset[str] = frozenset()
    """Row keys."""
    problems: bool = False
    needle: str = ""
    sort: str = "written"
    reverse: bool = False
    by_group: bool = False
    pen: Pen = field(default_factory=Pen)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the grid."""

    title: str
    cells: int
    rank: int
    """Importance: the largest goes first when room is short."""
    draw: Callable[[NodeSnapshot, Sequence[EngineSnapshot], float, Pen], Line]


def node_key(name: str) -> str:
    """Row key of a node."""
    return f"node/{name}"


def engine_key(name: str) -> str:
    """Row key of an engine."""
    return f"engine/{name}"


def group_key(name: str) -> str:
    """Row key of a group."""
    return f"group/{name}"


def age_words(age_s: float | None) -> str:
    """An age in words that change seldom: tens of seconds, then minutes, hours, days."""
    if age_s is None:
        return "never"
    if age_s < 60:
        return f"{int(age_s // 10) * 10}s"
    if age_s < 5400:
        return f"{int(age_s // 60)}m"
    return f"{int(age_s // 3600)}h" if age_s < 48 * 3600 else f"{int(age_s // 86400)}d"


def rank_words(engines: Sequence[EngineSnapshot], ranks: Sequence[str]) -> str:
    """Data-parallel ranks of a node in short: `0`, `0-7`; `0.1` for a further part of an engine that spans nodes."""
    if parts := [engine for engine in engines if engine.part and engine.id in ranks]:
        return ",".join(f"{engine.dp_rank}.{engine.part}" for engine in parts)
    numbers = sorted({engine.dp_rank for engine in engines if engine.id in ranks})
    if not numbers:
        return ""
    whole = numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}-{numbers[-1]}" if whole and len(numbers) > 1 else ",".join(str(each) for each in numbers)


def count_words(engines: Sequence[EngineSnapshot], pen: Pen) -> Line:
    """States by count, the worst first: `1 FAILED 7 ready`; a single engine that starts says how far it is."""
    from console.model.durations import about

    spans: list[Span] = []
    counts = signs_of(engines)
    for sign, state, count in counts:
        if spans:
            spans.append((" ", ""))
        word = sign.word
        if state is EngineState.STARTING:
            known = [engine.progress for engine in engines if engine.state is state and engine.progress is not None]
            word = f"{word} {int(100 * min(known))}%" if known else word
            left = max((engine.start_left_s for engine in engines if engine.start_left_s), default=None)
            word += f" ~{about(left)}" if left and len(counts) == 1 else ""
        spans.append((f"{pen.sign(sign)} {count} {word}", sign.role))
    return tuple(spans)


def engine_strip(engines: Sequence[EngineSnapshot], cells: int, pen: Pen) -> Line:
    """One glyph for each engine, in rank order; the end is cut with `~` when there are too many."""
    spans: list[Span] = [(pen.sign(sign), sign.role) for sign in map(sign_of, engines[:cells])]
    if len(engines) > cells:
        spans[-1:] = [("~", "dim")]
    return tuple(spans)


def device_strip(devices: Sequence[Device], pen: Pen) -> Line:
    """One glyph for each device: fill of its HBM, `.` free, `?` unknown, a cross when it is not healthy."""
    return tuple(_device_glyph(device, pen) for device in devices)


def _device_glyph(device: Device, pen: Pen) -> Span:
    if device.health not in (None, "OK"):
        return ("X" if pen.ascii else "✗", "fail")
    share = hbm_share((device,))
    if share is not None and share < 0.08 and not device.processes:
        return (".", "dim")
    return heat_cell(share, pen, "ok" if (device.aicore_percent or 0) < 50 else "busy")


def _name(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], _now: float, _pen: Pen) -> Line:
    return ((shown(node.name), "bold"),)


def _role(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], _now: float, _pen: Pen) -> Line:
    role = node.role or ""
    return ((shown(node.group or "free"), role or "dim"),)


def _ranks(node: NodeSnapshot, engines: Sequence[EngineSnapshot], _now: float, _pen: Pen) -> Line:
    return ((rank_words([each for each in engines if each.role not in BESIDE_ENGINES], node.ranks), "plain"),)


def _strip(_node: NodeSnapshot, engines: Sequence[EngineSnapshot], _now: float, pen: Pen) -> Line:
    return engine_strip(engines, MOST_ENGINES, pen)


def _states(node: NodeSnapshot, engines: Sequence[EngineSnapshot], _now: float, pen: Pen) -> Line:
    if node.link.state not in (LinkState.UP, LinkState.STALE):
        sign = link_sign(node)
        why = node.link.reason.removeprefix(f"{node.name}: ").removeprefix(
            f"{node.name} "
        )  # the row starts with the name
        reason = f": {shown(why)}" if why else ""
        return ((f"{pen.sign(sign)} {sign.word}{reason}", sign.role),)
    words = count_words(engines, pen)
    if node.unmanaged:
        foreign = (f"{len(node.unmanaged)} unmanaged", "warn")
        return (*words, (" ", ""), foreign) if words else (foreign,)
    return words or (("free", "dim"),)


def _value_role(node: NodeSnapshot, now: float) -> str:
    return "stale" if stale(node, now) else "plain"


def _npus(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], now: float, _pen: Pen) -> Line:
    if not node.expected_devices and not node.devices:
        return ()
    if not node.devices:
        return ((f"?/{node.expected_devices}", "stale"),)
    busy = sum(1 for device in node.devices if device.processes)
    known = busy or all(device.processes_known for device in node.devices)
    short = node.devices_whole and len(node.devices) < node.expected_devices
    sick = any(device.health not in (None, "OK") for device in node.devices)
    role = "fail" if short or sick else _value_role(node, now)
    return ((f"{busy if known else '?'}/{len(node.devices)}" + ("!" if short or sick else ""), role),)


def _hbm(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], now: float, _pen: Pen) -> Line:
    share = hbm_share(node.devices)
    return () if share is None else ((f"{share:4.0%}", _value_role(node, now)),)


def _aicore(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], now: float, _pen: Pen) -> Line:
    known = [device.aicore_percent for device in node.devices if device.aicore_percent is not None]
    return ((f"{sum(known) / len(known):3.0f}%", _value_role(node, now)),) if known else ()


def _temperature(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], now: float, _pen: Pen) -> Line:
    known = [device.temperature_c for device in node.devices if device.temperature_c is not None]
    return ((f"{max(known):3d}C", _value_role(node, now)),) if known else ()


def _power(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], now: float, _pen: Pen) -> Line:
    known = [device.power_w for device in node.devices if device.power_w is not None]
    return ((f"{sum(known) / 1000:4.1f}kW", _value_role(node, now)),) if known else ()


def _age(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], now: float, _pen: Pen) -> Line:
    return ((age_words(node.age_s(now)), "stale"),) if stale(node, now) else ()


def _devices(node: NodeSnapshot, _engines: Sequence[EngineSnapshot], _now: float, pen: Pen) -> Line:
    return device_strip(node.devices, pen)


COLUMNS = (
    Column("NODE", 9, 0, _name),
    Column("GROUP", 8, 2, _role),
    Column("RANKS", 5, 3, _ranks),
    Column("ENGINES", 9, 4, _strip),
    Column("STATE", 20, 0, _states),
    Column("NPUS", 6, 5, _npus),
    Column("HBM", 4, 1, _hbm),
    Column("AIC", 4, 7, _aicore),
    Column("TEMP", 4, 6, _temperature),
    Column("DEVICES", 16, 8, _devices),
    Column("POWER", 6, 9, _power),
    Column("AGE", 5, 1, _age),
)
STATE = next(column for column in COLUMNS if column.title == "STATE")
STRIP = next(column for column in COLUMNS if column.title == "ENGINES")
MOST_ENGINES = 32
"""So many engines of a node have a glyph of their own where there is room."""
EDGE = 4
"""Cells before the first column: mark and expander, each with a blank."""


def columns_for(
    cells: int, name_cells: int = 9, engines: int = 0, *, old: bool = True
) -> tuple[tuple[Column, int], ...]:
    """The columns that fit, with their widths; of what is left over ENGINES takes what so many need, STATE the rest.

    Without data that is `old` there is no column that says how old.
    """
    kept = [column for column in COLUMNS if old or column.title != "AGE"]

    def width_of(column: Column) -> int:
        return name_cells if column.title == "NODE" else column.cells

    while sum(width_of(column) + 1 for column in kept) + EDGE > cells and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    spare = max(0, cells - EDGE - sum(width_of(column) + 1 for column in kept))
    more = {STRIP: min(spare, max(0, min(engines, MOST_ENGINES) - STRIP.cells)) if STRIP in kept else 0}
    more[STATE] = spare - more[STRIP]
    return tuple((column, width_of(column) + more.get(column, 0)) for column in kept)


def heading(columns: Sequence[tuple[Column, int]]) -> Line:
    """The line above the rows."""
    words = " ".join(fit(column.title, cells) for column, cells in columns)
    return ((" " * EDGE + words, "dim"),)


def heading_with(line: Line, words: str, cells: int) -> Line:
    """The heading with words behind it, else in its largest gap, which is beside the widest column."""
    if length(line) + 2 + width(words) <= cells:
        return (*line, (f"  {words}", "key"))
    text = plain(line)
    gaps = [gap.span() for gap in re.finditer(r"(?<=\S) {2,}", text)]
    begin, end = max(gaps, key=lambda gap: gap[1] - gap[0], default=(0, 0))
    if end - begin < width(words) + 2:
        return (*cut(line, cells - width(words) - 1), (f" {words}", "key"))
    return ((text[: begin + 1], "dim"), (words, "key"), (text[begin + 1 + width(words) :], "dim"))


def node_line(
    node: NodeSnapshot,
    engines: Sequence[EngineSnapshot],
    now: float,
    view: GridView,
    columns: Sequence[tuple[Column, int]],
) -> Line:
    """The row of one node."""
    key = node_key(node.name)
    opened = node.name in view.expanded
    mark = view.pen.marked if key in view.marks else " "
    sign = " " if not engines else view.pen.opened if opened else view.pen.closed
    spans: list[Span] = [(f"{mark} ", "mark"), (f"{sign} ", "dim")]
    for column, cells in columns:
        drawn = engine_strip(engines, cells, view.pen) if column is STRIP else column.draw(node, engines, now, view.pen)
        spans.extend(cut(drawn, cells))
        spans.append((" ", ""))
    return tuple(spans)
