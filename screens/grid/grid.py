"""The grid: nodes and their engines, the cursor, and the marks that operations use."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from screens.actions import bindings
from screens.grid.cluster_rows import fleet_level, fleet_rows, joined, split
from screens.grid.columns import columns_for, heading, heading_with
from screens.grid.row_order import column_needs, homes
from screens.grid.rows import SORTS, FoldedRow, GridView, engine_key, fold_key, group_key, node_key
from screens.pane_moment import Target
from screens.styled_lines import Line, Row, shown
from screens.widgets import ListWidget, Verbs

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot


class ShownRows(ListWidget):
    """What the grid shows of the snapshot: as much as it has room for."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = GridView()
        self.snapshots: tuple[ClusterSnapshot, ...] = ()
        self.on_rows: Callable[[], None] = lambda: None
        self.room = 0
        """Rows that the screen can give to the list."""
        self._kept: str | None = None
        """Key of the row the cursor was on before no row was left to be on."""

    def take(self, snapshots: Sequence[ClusterSnapshot]) -> None:
        """Draw other snapshots, one for each cluster."""
        self.snapshots = tuple(snapshots)
        self.renew()

    @property
    def cluster(self) -> str:
        """The cluster the cursor is in; empty where there is but one."""
        return split(self.current.key)[0] if self.current else ""

    @property
    def snapshot(self) -> ClusterSnapshot | None:
        """The snapshot of the cluster under the cursor."""
        named = (each for each in self.snapshots if each.cluster == self.cluster)
        return next(named, self.snapshots[0] if self.snapshots else None)

    def renew(self) -> None:
        """Make the rows anew."""
        if not self.snapshots or not self.size.width:
            return
        view = replace(self.view, pen=self.pen, unfolds=fleet_level(self.snapshots, self.view, self.room))
        self.view = view
        columns = columns_for(self.size.width - 1, column_needs(self.snapshots, view))
        before = len(self.rows)
        self.empty = self._why_empty()
        titles = {"NODE": "GROUP", "GROUP": "NODES"} if view.by_group else {}
        kept = self.current.key if self.current else self._kept
        made = fleet_rows(self.snapshots, view, columns, self.size.width)
        self.show(made, heading(columns, titles))
        self._stand_in(kept)
        self._kept = kept if not self.rows else None
        if before == 0 and kept is not None:
            self.go(kept)
        if len(self.rows) != before:
            self.on_rows()

    def give_room(self, rows: int) -> None:
        """Take over how many rows the list can have, and unfold as much as fits."""
        if rows != self.room:
            self.room = rows
            self.renew()

    def _stand_in(self, key: str | None) -> None:
        """Put the cursor on the row that stands for one that is gone: on its fold, or on an engine of a fold, else above it."""
        if key is None or not self.rows or self.rows[self.cursor].key == key:
            return
        cluster, rest = split(key)
        kind, _, name = rest.partition("/")
        engine = self.snapshot.engines.get(name) if self.snapshot and kind in ("engine", "fold") else None
        if engine is None:
            return
        folded = (row.key for row in self.rows if isinstance(row, FoldedRow) and name in row.engines)
        home = group_key(engine.group) if self.view.by_group else node_key(engine.node)
        known = {row.key for row in self.rows}
        wanted = (joined(cluster, engine_key(name)), *folded, joined(cluster, home))
        found = next((each for each in wanted if each in known), None)
        if found is not None:
            self.cursor = next(at for at, row in enumerate(self.rows) if row.key == found)
            self.draw()

    def head(self) -> Line:
        """The names of the columns, and how many rows are not seen."""
        return heading_with(self.heading, self.beyond, self.size.width - 1) if self.beyond else self.heading

    def _why_empty(self) -> str:
        what = f"no row with {shown(self.view.needle)!r}" if self.view.needle else "nothing is wrong"
        return f" {what}; esc shows all" if self.view.needle or self.view.problems else " no node"

    @property
    def only(self) -> str:
        """Which rows are shown, when not all are."""
        words = f"/{shown(self.view.needle)}" if self.view.needle else ""
        return f"{words} only problems".strip() if self.view.problems else words

    def on_resize(self) -> None:
        """Another width has other columns."""
        self.renew()
        super().on_resize()


class ChosenRows(ShownRows):
    """What the cursor and the marks stand for."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.on_target: Callable[[], None] = lambda: None
        self.on_menu: Callable[[], None] = lambda: None
        self._range_from: str | None = None

    def look_at(self, **changes: object) -> None:
        """Change what is shown and draw it."""
        self.view = replace(self.view, **changes)  # type: ignore[arg-type]
        self.renew()
        self.on_target()

    @property
    def marked_in(self) -> str:
        """The cluster of the marks; empty without marks, or where there is but one cluster."""
        return next((split(key)[0] for key in self.view.marks), "")

    @property
    def target(self) -> Target:
        """What the cursor is on."""
        return self.target_of(self.current.key) if self.current else Target()

    def target_of(self, key: str) -> Target:
        """What a row stands for."""
        kind, _, name = split(key)[1].partition("/")
        if kind == "cluster":
            return Target()
        if kind in ("engine", "fold") and self.snapshot is not None:
            engine = self.snapshot.engines.get(name)
            if kind == "engine":
                return Target(node=engine.node if engine else None, engine=name)
            group = engine.group if engine and self.view.by_group else None
            return Target(group=group) if group else Target(node=engine.node if engine else None)
        return Target(group=name) if kind == "group" else Target(node=name)

    def chosen_engines(self) -> tuple[str, ...]:
        """Engines of the marked rows, or of the current one, in layout order."""
        if self.snapshot is None:
            return ()
        if not self.view.marks and isinstance(self.current, FoldedRow):
            return self.current.engines
        wanted = {engine for target in self._targets() for engine in self._engines_of(target)}
        return tuple(name for name in self.snapshot.engines if name in wanted)

    def chosen_nodes(self) -> tuple[str, ...]:
        """Nodes of the marked rows, or of the current one, in the order of the grid."""
        names = [target.node for target in self._targets() if target.node]
        return tuple(dict.fromkeys(names))

    def _targets(self) -> list[Target]:
        if self.marked_in not in ("", self.cluster):
            return []
        if self.view.marks:
            return [self.target_of(key) for key in sorted(self.view.marks, key=self._position)]
        return [self.target]

    def _position(self, key: str) -> int:
        return next((index for index, row in enumerate(self.rows) if row.key == key), len(self.rows))

    def _engines_of(self, target: Target) -> list[str]:
        assert self.snapshot is not None
        if target.engine:
            return [target.engine]
        if target.group:
            return [each.id for each in self.snapshot.engines.values() if each.group == target.group]
        return [each.id for each in self.snapshot.engines_on(target.node or "")]

    def look_for(self, text: str) -> None:
        """Show only rows that have this text."""
        self.look_at(needle=text)

    def moved(self) -> None:
        """The panes follow the cursor."""
        self.on_target()


class FoundRows(ChosenRows):
    """Putting the cursor where a name is, in whichever cluster."""

    def show_engine(self, engine: str) -> bool:
        """Put the cursor on an engine, opening its node; one of the cluster the cursor is in goes first."""
        for snapshot in self._near_first():
            found = snapshot.engines.get(engine)
            if found is not None:
                cluster = self._place(snapshot)
                name = joined(cluster, found.group if self.view.by_group else found.node)
                if not any(row.key == joined(cluster, engine_key(engine)) for row in self.rows):
                    self.view = replace(self.view, expanded=self.view.expanded | {name})
                    self.renew()
                return self.go(joined(cluster, engine_key(engine)))
        return False

    def show_node(self, node: str) -> bool:
        """Put the cursor on a node; one of the cluster the cursor is in goes first."""
        return any(self.go(joined(self._place(each), node_key(node))) for each in self._near_first())

    def show_cluster(self, cluster: str) -> bool:
        """Put the cursor on the line of a cluster."""
        return self.go(joined(cluster, "cluster/"))

    def _near_first(self) -> list[ClusterSnapshot]:
        return sorted(self.snapshots, key=lambda each: each.cluster != self.cluster)

    def _place(self, snapshot: ClusterSnapshot) -> str:
        return snapshot.cluster if len(self.snapshots) > 1 else ""


class Grid(FoundRows):
    """Rows of nodes or groups, with engines below those that are expanded."""

    place: ClassVar[str] = "grid"
    BINDINGS: ClassVar = bindings("grid", "verb")

    def verbs(self) -> Verbs:
        """Moves, marks, order."""
        return {
            **super().verbs(),
            "open": self.open,
            "expand": lambda: self.unfold(True),
            "collapse": lambda: self.unfold(False),
            "expand-all": self.unfold_all,
            "mark": self.mark,
            "mark-range": self.mark_range,
            "mark-all": self.mark_all,
            "unmark": lambda: self.unmark(self.view.marks),
            "sort": self.sort,
            "sort-reverse": lambda: self.look_at(reverse=not self.view.reverse),
            "group-view": lambda: self.look_at(
                by_group=not self.view.by_group, expanded=frozenset(), collapsed=frozenset()
            ),
        }

    def open(self) -> None:
        """A node or group shows or hides its engines, a fold shows them; an engine offers what can be done with it."""
        if self.target.engine:
            self.on_menu()
            return
        self.unfold(True if isinstance(self.current, FoldedRow) else None)

    def unfold(self, on: bool | None) -> None:
        """Show a row for each engine of the row, or hide them; None turns it round."""
        row = self.current
        if row is None or self.snapshot is None:
            return
        cluster, rest = split(row.key)
        kind, _, name = rest.partition("/")
        engine = self.snapshot.engines.get(name) if kind in ("engine", "fold") else None
        if engine is not None:
            name = engine.group if self.view.by_group else engine.node
        elif kind not in ("node", "group"):
            return
        below = self._below(cluster, name)
        wanted = not all(below.values()) if on is None else on
        if wanted == all(below.values()) or (not wanted and not any(below.values()) and not self._folds(cluster, name)):
            return
        key = joined(cluster, name)
        self.view = replace(
            self.view,
            expanded=self.view.expanded | {key} if wanted else self.view.expanded - {key},
            collapsed=self.view.collapsed - {key} if wanted else self.view.collapsed | {key},
        )
        self.renew()
        if engine is not None and not wanted:
            self.go(joined(cluster, group_key(name) if self.view.by_group else node_key(name)))
        self.on_target()

    def _below(self, cluster: str, name: str) -> dict[str, bool]:
        """The engines of a node or group, and whether each has a row of its own."""
        keys = {row.key for row in self.rows}
        target = Target(group=name) if self.view.by_group else Target(node=name)
        return {engine: joined(cluster, engine_key(engine)) in keys for engine in self._engines_of(target)}

    def _folds(self, cluster: str, name: str) -> bool:
        """Whether some engines of a node or group share a row."""
        keys = {joined(cluster, fold_key(engine)) for engine in self._below(cluster, name)}
        return any(row.key in keys for row in self.rows)

    def unfold_all(self) -> None:
        """A row for every engine, or none."""
        names = frozenset(
            joined(self._place(snapshot), name) for snapshot in self.snapshots for name, _ in homes(snapshot, self.view)
        )
        shown_now = sum(split(row.key)[1].startswith("engine/") for row in self.rows)
        if shown_now == sum(len(snapshot.engines) for snapshot in self.snapshots):
            self.look_at(expanded=frozenset(), collapsed=names)
        else:
            self.look_at(expanded=names, collapsed=frozenset())

    def mark(self) -> None:
        """Mark the row and go to the next."""
        if self.current is None or not self._markable(self.current.key):
            return
        self._range_from = self.current.key
        keys = _mark_keys(self.current)
        marks = self.view.marks - keys if keys <= self.view.marks else self.view.marks | keys
        self.view = replace(self.view, marks=marks)
        self.renew()
        self.move(1)

    def mark_range(self) -> None:
        """Mark everything between the last marked row and this one."""
        if self.current is None or not self._markable(self.current.key):
            return
        start = self._position(self._range_from) if self._range_from else self.cursor
        low, high = sorted((min(start, len(self.rows) - 1), self.cursor))
        within = {key for row in self.rows[low : high + 1] for key in _mark_keys(row)}
        self.look_at(marks=self.view.marks | {key for key in within if self._can_be_marked(key)})

    def mark_all(self) -> None:
        """Mark every row that is shown of the cluster the cursor is in."""
        if self.current is not None and self._markable(self.rows[self.cursor].key, whole=True):
            self.look_at(
                marks=frozenset(key for row in self.rows for key in _mark_keys(row) if self._can_be_marked(key))
            )

    def unmark(self, keys: Set[str]) -> None:
        """Take these marks away."""
        self.look_at(marks=self.view.marks - keys)

    def _can_be_marked(self, key: str) -> bool:
        cluster, rest = split(key)
        return cluster == self.cluster and not rest.startswith("cluster/")

    def _markable(self, key: str, *, whole: bool = False) -> bool:
        """Marks are of one cluster, for acts never span two; says so where that is not known."""
        if self.marked_in not in ("", self.cluster):
            self.notify(f"marks are in {shown(self.marked_in)}; - removes them", severity="warning", markup=False)
            return False
        if not whole and not self._can_be_marked(key):
            self.notify("* marks all rows of this cluster", markup=False, timeout=3)
            return False
        return True

    def sort(self) -> None:
        """The next order."""
        following = SORTS[(SORTS.index(self.view.sort) + 1) % len(SORTS)]
        self.look_at(sort=following)
        self.notify(f"order: {following}", timeout=2, markup=False)


def _mark_keys(row: Row) -> frozenset[str]:
    """What is marked with a row: with a fold its engines, for which engines share it changes with their states."""
    if isinstance(row, FoldedRow):
        cluster = split(row.key)[0]
        return frozenset(joined(cluster, engine_key(engine)) for engine in row.engines)
    return frozenset({row.key})
