"""The rows of the grid and their order: nodes or groups with the engines below them, filtered and sorted. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from console.model.state import EngineState, LinkState
from screens.figures import hbm_share, stale
from screens.grid.columns import MOST_ENGINES, Column, Subject, row_line
from screens.grid.rows import FoldedRow, GridView, Unfold, engine_key, fold_key, group_key, node_key
from screens.grid.subjects import (
    engine_subject,
    folded_subject,
    group_subject,
    in_same_state,
    lacks_devices,
    node_subject,
    npus_differ,
)
from screens.short_names import short_names
from screens.styled_lines import Row, Span, cut, plain, shown, width
from screens.themes import signs_of

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot, EngineSnapshot, NodeSnapshot

Columns = Sequence[tuple[Column, int]]
MOST_NAME = 16
"""Cells of a name."""
_INDENT = len("  ..15")
"""Cells that the name of an engine takes more, and the range of several."""
_LEAST_FOLD = 3
"""Fewest equal engines that share a row where each could have its own."""


def rows(snapshot: ClusterSnapshot, view: GridView, columns: Columns, cells: int) -> list[Row]:
    """All rows of the grid in `cells` columns."""
    return list(
        _by_group(snapshot, view, columns, cells) if view.by_group else _by_node(snapshot, view, columns, cells)
    )


def unfold_level(snapshots: Sequence[tuple[ClusterSnapshot, GridView]], room: int) -> Unfold:
    """The most that nodes or groups can show by themselves in so many rows, of clusters each with its view.

    Where all engines have a row, states do not count: which rows there are does not change with them.
    """
    for level in (Unfold.ALL, Unfold.FOLDED, Unfold.TROUBLED):
        total = 0
        for snapshot, view in snapshots:
            for name, engines in homes(snapshot, view):
                whole = level is Unfold.ALL and name not in view.collapsed
                total += 1 + (len(engines) if whole else len(shares(name, engines, view, level, snapshot.at)))
        if total <= room:
            return level
    return Unfold.NOTHING


def _state_cells(snapshot: ClusterSnapshot) -> int:
    """Cells that the longest state of a node takes: its engines by state, and unmanaged processes."""
    crews: dict[str, list[EngineSnapshot]] = {}
    for engine in snapshot.engines.values():
        crews.setdefault(engine.node, []).append(engine)
    longest = 0
    for node in snapshot.nodes.values():
        parts = [f"+ {count} {sign.word}" for sign, _, count in signs_of(crews.get(node.name, ()))]
        parts += [f"{len(node.unmanaged)} unmanaged"] if node.unmanaged else []
        longest = max(longest, len(" ".join(parts)))
    return longest


def column_needs(snapshots: Sequence[ClusterSnapshot], view: GridView) -> dict[str, int]:
    """Title -> cells its widest value takes, for the columns that some row has a value for."""
    nodes = [node for each in snapshots for node in each.nodes.values()]
    engines = [engine for each in snapshots for engine in each.engines.values()]
    names = [each.group for each in engines] if view.by_group else [each.name for each in nodes]
    needs = {"NODE": max(map(width, names), default=4), "STATE": 0}
    if not view.by_group:
        needs["STATE"] = max(map(_state_cells, snapshots), default=0)
    longest = max((width(each.id) + _INDENT for each in engines), default=0)
    if view.by_group:
        needs |= {"NODE": max(needs["NODE"], longest), "GROUP": len("00 nodes"), "RANKS": 0}
    elif any(each.group for each in nodes):
        group = min(12, max(width(each.group or "free") for each in nodes))
        needs |= {"NODE": max(needs["NODE"], longest - group - 1), "GROUP": group, "RANKS": 0}
    needs["NODE"] = min(MOST_NAME, needs["NODE"])
    engine_rows = engines and (view.unfolds is Unfold.ALL or view.expanded)
    if any(each.devices for each in nodes):
        needs |= {"HBM": 0, "AICORE": 0, "TEMP": 0, "POWER": 0}
        if engine_rows or not view.by_group:
            needs["DEVICES"] = min(32, max(len(each.devices) for each in nodes))
    if not view.by_group and any(each.expected_devices and npus_differ(each) for each in nodes):
        needs["NPUS"] = 0
    if any(each.serving for each in engines):
        needs |= {"REQ": 0, "TOK/S": 0, "KV": 0, "2 MIN": 0}
    if engine_rows:
        needs |= {"UPTIME": 0, "PORT": 0} if any(each.started_at for each in engines) else {"PORT": 0}
    if engines:
        crews = Counter(each.node for each in engines)
        needs["ENGINES"] = min(MOST_ENGINES, max(crews.values()))
    if any(stale(node, each.at) for each in snapshots for node in each.nodes.values()):
        needs["AGE"] = 0
    return needs


def homes(snapshot: ClusterSnapshot, view: GridView) -> Iterator[tuple[str, Sequence[EngineSnapshot]]]:
    """The nodes or groups that have a row, with their engines."""
    if not view.by_group:
        by_node: dict[str, list[EngineSnapshot]] = {name: [] for name in snapshot.nodes}
        for engine in snapshot.engines.values():
            by_node.setdefault(engine.node, []).append(engine)
        yield from ((name, by_node[name]) for name in snapshot.nodes)
        return
    groups: dict[str, list[EngineSnapshot]] = {}
    for engine in snapshot.engines.values():
        groups.setdefault(engine.group or "no group", []).append(engine)
    yield from groups.items()


def shares(
    name: str, engines: Sequence[EngineSnapshot], view: GridView, level: Unfold, now: float
) -> list[list[EngineSnapshot]]:
    """The engines below a node or group, those together that share a row."""
    if name in view.expanded:
        return [[engine] for engine in engines]
    if name in view.collapsed or level is Unfold.NOTHING:
        return []
    if level is Unfold.ALL:
        found: list[list[EngineSnapshot]] = []
        for run in _runs(engines, now):
            fold = len(run) >= _LEAST_FOLD and run[0].state is not EngineState.READY
            found += [run] if fold else [[engine] for engine in run]
        return found if len(found) > 1 or len(engines) == 1 else []
    same = all(in_same_state(engines[0], engine, now) for engine in engines)
    if same or (level is Unfold.TROUBLED and not any(engine.bad for engine in engines)):
        return []
    return list(_runs(engines, now))


def _runs(engines: Sequence[EngineSnapshot], now: float) -> Iterator[list[EngineSnapshot]]:
    """Equal engines that stand in a row."""
    run: list[EngineSnapshot] = []
    for engine in engines:
        if run and not (_same_kind(run[-1], engine) and in_same_state(run[-1], engine, now)):
            yield run
            run = []
        run.append(engine)
    if run:
        yield run


def _same_kind(one: EngineSnapshot, other: EngineSnapshot) -> bool:
    return (one.group, one.role) == (other.group, other.role)


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
    bad = any(engine.bad for engine in engines)
    return lacks_devices(node) or stale(node, now) or bool(node.unmanaged) or bad


def _by_node(snapshot: ClusterSnapshot, view: GridView, columns: Columns, cells: int) -> Iterator[Row]:
    engines_on = dict(homes(snapshot, view))
    room = next((cells for column, cells in columns if column.title == "NODE"), MOST_NAME)
    names = short_names(tuple(shown(name) for name in snapshot.nodes), room)
    for node in _sorted(snapshot, view):
        engines = engines_on[node.name]
        if view.problems and not troubled(node, engines, snapshot.at):
            continue
        subject = node_subject(node, names[shown(node.name)], engines, snapshot.at, view.pen)
        yield from _home(node_key(node.name), node.name, subject, engines, snapshot, view, columns, cells)


def _by_group(snapshot: ClusterSnapshot, view: GridView, columns: Columns, cells: int) -> Iterator[Row]:
    for name, engines in homes(snapshot, view):
        if view.problems and not any(engine.bad for engine in engines):
            continue
        subject = group_subject(name, engines, snapshot, view.pen)
        yield from _home(group_key(name), name, subject, engines, snapshot, view, columns, cells)


def _home(
    key: str,
    name: str,
    subject: Subject,
    engines: Sequence[EngineSnapshot],
    snapshot: ClusterSnapshot,
    view: GridView,
    columns: Columns,
    cells: int,
) -> list[Row]:
    """The row of a node or group, and those below it."""
    chosen = [engine for engine in engines if engine.bad or not view.problems]
    found = shares(name, chosen, view, view.unfolds, snapshot.at)
    opened = bool(found)
    if view.needle:
        found = [[engine] for engine in chosen]
    sign = " " if not engines else view.pen.opened if opened else view.pen.closed
    above = Row(key, _line(subject, view, columns, cells, sign=sign, marked=key in view.marks))
    below = [_engine_row(share, snapshot, view, columns, cells) for share in found]
    return _family(above, below, view, opened=opened)


def _engine_row(
    engines: Sequence[EngineSnapshot], snapshot: ClusterSnapshot, view: GridView, columns: Columns, cells: int
) -> Row:
    first = engines[0]
    if len(engines) == 1:
        subject = engine_subject(first, snapshot, view.pen, where=view.by_group)
        marked = engine_key(first.id) in view.marks
        return Row(engine_key(first.id), _line(subject, view, columns, cells, marked=marked))
    subject = folded_subject(engines, snapshot, view.pen, where=view.by_group)
    marked = all(engine_key(engine.id) in view.marks for engine in engines)
    line = _line(subject, view, columns, cells, sign=view.pen.closed, marked=marked)
    return FoldedRow(fold_key(first.id), line, tuple(engine.id for engine in engines))


def _line(
    subject: Subject, view: GridView, columns: Columns, cells: int, *, sign: str = " ", marked: bool
) -> tuple[Span, ...]:
    edge: tuple[Span, ...] = ((f"{view.pen.marked if marked else ' '} ", "mark"), (f"{sign} ", "dim"))
    return cut((*edge, *row_line(subject, columns, view.pen)), cells)


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
