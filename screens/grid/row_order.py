"""Which rows the grid has, in which order: nodes or groups, their engines when expanded, filtered and sorted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.model.state import EngineState, LinkState
from screens.figures import hbm_share, stale
from screens.grid.rows import (
    Column,
    GridView,
    age_words,
    count_words,
    engine_key,
    engine_strip,
    group_key,
    node_key,
    node_line,
)
from screens.styled_lines import Line, Row, Span, cut, fit, plain, shown
from screens.themes import STATES, sign_of

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot, EngineSnapshot, NodeSnapshot

Columns = Sequence[tuple[Column, int]]


def rows(snapshot: ClusterSnapshot, view: GridView, columns: Columns, cells: int) -> list[Row]:
    """All rows of the grid in `cells` columns."""
    return _by_group(snapshot, view, cells) if view.by_group else _by_node(snapshot, view, columns, cells)


def _family(above: Row, below: Sequence[Row], view: GridView, *, opened: bool) -> list[Row]:
    """A node or group and its engines as far as they pass the filter; engines that are not shown are found by their own
    words when those above do not pass."""
    if not view.needle:
        return [above, *below] if opened else [above]
    needle = view.needle.casefold()

    def passes(row: Row) -> bool:
        return needle in plain(row.line).casefold() or needle in row.key.casefold()

    found = [row for row in below if passes(row)]
    if passes(above):
        return [above, *found] if opened else [above]
    return found


def troubled(node: NodeSnapshot, engines: Sequence[EngineSnapshot], now: float) -> bool:
    """Whether somebody should look at the node."""
    sick = any(device.health not in (None, "OK") for device in node.devices)
    return sick or stale(node, now) or bool(node.unmanaged) or any(engine.bad for engine in engines)


def _by_node(snapshot: ClusterSnapshot, view: GridView, columns: Columns, cells: int) -> list[Row]:
    listed: list[Row] = []
    for node in _sorted(snapshot, view):
        engines = snapshot.engines_on(node.name)
        if view.problems and not troubled(node, engines, snapshot.at):
            continue
        above = Row(node_key(node.name), node_line(node, engines, snapshot.at, view, columns))
        opened = node.name in view.expanded
        below = _engine_rows(engines, view, cells, snapshot.at, where=False) if opened or view.needle else []
        listed += _family(above, below, view, opened=opened)
    return listed


def _by_group(snapshot: ClusterSnapshot, view: GridView, cells: int) -> list[Row]:
    groups: dict[str, list[EngineSnapshot]] = {}
    for engine in snapshot.engines.values():
        groups.setdefault(engine.group or "no group", []).append(engine)
    listed: list[Row] = []
    for name, engines in groups.items():
        if view.problems and not any(engine.bad for engine in engines):
            continue
        above = Row(group_key(name), _group_line(name, engines, view, cells))
        opened = name in view.expanded
        below = _engine_rows(engines, view, cells, snapshot.at, where=True) if opened or view.needle else []
        listed += _family(above, below, view, opened=opened)
    return listed


def _engine_rows(
    engines: Sequence[EngineSnapshot], view: GridView, cells: int, now: float, *, where: bool
) -> list[Row]:
    chosen = [engine for engine in engines if engine.bad or not view.problems]
    return [Row(engine_key(engine.id), engine_line(engine, view, cells, now, where=where)) for engine in chosen]


def _group_line(name: str, engines: Sequence[EngineSnapshot], view: GridView, cells: int) -> Line:
    opened = name in view.expanded
    mark = view.pen.marked if group_key(name) in view.marks else " "
    nodes = len({engine.node for engine in engines})
    head: list[Span] = [
        (f"{mark} ", "mark"),
        (f"{view.pen.opened if opened else view.pen.closed} ", "dim"),
        (fit(shown(name), 12) + " ", f"bold {engines[0].role}"),
        (fit(f"{nodes} node{'s' if nodes != 1 else ''}", 9), "dim"),
        *cut(engine_strip(engines, 33, view.pen), min(34, max(9, cells - 60))),
        (" ", ""),
        *count_words(engines, view.pen),
    ]
    return cut(tuple(head), cells)


def engine_line(engine: EngineSnapshot, view: GridView, cells: int, now: float, *, where: bool) -> Line:
    """The row of one engine; `where` adds its node."""
    sign = sign_of(engine)
    mark = view.pen.marked if engine_key(engine.id) in view.marks else " "
    spans: list[Span] = [(f"{mark}   ", "mark"), (fit(shown(engine.id), 13) + " ", engine.role)]
    if where:
        spans.append((fit(shown(engine.node), 9) + " ", "plain"))
    spans.append((fit(f"{view.pen.sign(sign)} {sign.word}", 11) + " ", sign.role))
    port = "headless" if engine.headless else f":{engine.port}" if engine.port else ""
    news = _news(engine, now)
    if cells >= 64 or not news[0]:
        spans.append((fit(port, 8) + " ", "dim"))
    if cells >= 76:
        spans.append((fit(_device_words(engine.devices), 9) + " ", "dim"))
    spans.append(news)
    return cut(tuple(spans), cells)


def _device_words(devices: Sequence[int]) -> str:
    if not devices:
        return ""
    return f"dev {devices[0]}-{devices[-1]}" if len(devices) > 1 else f"dev {devices[0]}"


def _news(engine: EngineSnapshot, now: float) -> Span:
    from console.model.durations import about

    if engine.connecting:
        return ("", "dim")
    if engine.state is EngineState.UNREACHABLE:
        last = f"was {STATES[engine.stale_of].word} {age_words(engine.age_s)} ago" if engine.stale_of else ""
        return (f"{last} {shown(engine.cause)}".strip(), "stale")
    if engine.state in (EngineState.STARTING, EngineState.LAUNCHING) and not engine.cause:
        share = "" if engine.progress is None else f"{engine.progress:3.0%} "
        left = f"  {about(engine.start_left_s)} left" if engine.start_left_s else ""
        where = f"{share}{shown(engine.phase)} {shown(engine.progress_text)}".strip()
        return (f"{where}  {shown(engine.held_up)}", "warn") if engine.held_up else (where + left, "busy")
    if why := shown(engine.why(now)):
        return (why + _exit_words(engine), "fail" if engine.bad else "dim")
    return (_exit_words(engine).strip(), "dim")


def _exit_words(engine: EngineSnapshot) -> str:
    return f" (exit {engine.exit})" if engine.exit else ""


def _sorted(snapshot: ClusterSnapshot, view: GridView) -> list[NodeSnapshot]:
    nodes = list(snapshot.nodes.values())

    def worst(node: NodeSnapshot) -> tuple[int, int]:
        engines = snapshot.engines_on(node.name)
        bad = sum(1 for engine in engines if engine.bad)
        linked = 0 if node.link.state is LinkState.UP else 1
        return (-bad - linked, min((engine.state.rank for engine in engines), default=0))

    keys = {
        "name": lambda node: node.name,
        "state": worst,
        "hbm": lambda node: -(hbm_share(node.devices) or -1.0),
        "temperature": lambda node: -max((each.temperature_c or -1 for each in node.devices), default=-1),
    }
    if view.sort in keys:
        nodes.sort(key=keys[view.sort])
    return nodes[::-1] if view.reverse else nodes
