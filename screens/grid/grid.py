"""The grid: nodes and their engines, the cursor, and the marks that operations use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from screens.actions import bindings
from screens.figures import stale
from screens.grid.cluster_rows import fleet_rows, joined, split
from screens.grid.rows import (
    SORTS,
    GridView,
    columns_for,
    engine_key,
    group_key,
    heading,
    heading_with,
    node_key,
)
from screens.panes.base import Target
from screens.styled_lines import Line, shown, width
from screens.widgets import ListWidget, Verbs

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot


class ChosenRows(ListWidget):
    """What the grid shows of the snapshot, and what its cursor and marks stand for."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = GridView()
        self.pictures: tuple[ClusterSnapshot, ...] = ()
        self.on_target: Callable[[], None] = lambda: None
        self.on_menu: Callable[[], None] = lambda: None
        self.on_rows: Callable[[], None] = lambda: None
        self._range_from: str | None = None
        self._kept: str | None = None
        """Key of the row the cursor was on before no row was left to be on."""

    def take(self, pictures: Sequence[ClusterSnapshot]) -> None:
        """Draw other pictures, one for each cluster."""
        self.pictures = tuple(pictures)
        self.renew()

    @property
    def cluster(self) -> str:
        """The cluster the cursor is in; empty where there is but one."""
        return split(self.current.key)[0] if self.current else ""

    @property
    def snapshot(self) -> ClusterSnapshot | None:
        """The picture of the cluster the cursor is in."""
        named = (each for each in self.pictures if each.cluster == self.cluster)
        return next(named, self.pictures[0] if self.pictures else None)

    @property
    def marked_in(self) -> str:
        """The cluster of the marks; empty without marks, or where there is but one cluster."""
        return next((split(key)[0] for key in self.view.marks), "")

    def renew(self) -> None:
        """Make the rows anew."""
        if not self.pictures or not self.size.width:
            return
        self.view = replace(self.view, pen=self.pen)
        names = max((width(name) for each in self.pictures for name in each.nodes), default=4)
        crews = (Counter(engine.node for engine in each.engines.values()) for each in self.pictures)
        crew = max((count for each in crews for count in each.values()), default=0)
        old = any(stale(node, each.at) for each in self.pictures for node in each.nodes.values())
        columns = columns_for(self.size.width, max(4, min(16, names)), crew, old=old)
        before = len(self.rows)
        self.empty = self._why_empty()
        title: Line = ((" " * 4 + "GROUP        NODES    ENGINES", "dim"),) if self.view.by_group else heading(columns)
        kept = self.current.key if self.current else self._kept
        self.show(fleet_rows(self.pictures, self.view, columns, self.size.width), title)
        self._kept = kept if not self.rows else None
        if before == 0 and kept is not None:
            self.go(kept)
        if len(self.rows) != before:
            self.on_rows()

    def head(self) -> Line:
        """The names of the columns, and how many rows are not seen."""
        return heading_with(self.heading, self.beyond, self.size.width) if self.beyond else self.heading

    def _why_empty(self) -> str:
        what = f"no row with {shown(self.view.needle)!r}" if self.view.needle else "nothing is wrong"
        return f" {what}; esc shows all" if self.view.needle or self.view.problems else " no node"

    def look_at(self, **changes: object) -> None:
        """Change what is shown and draw it."""
        self.view = replace(self.view, **changes)  # type: ignore[arg-type]
        self.renew()
        self.on_target()

    @property
    def target(self) -> Target:
        """What the cursor is on."""
        return self.target_of(self.current.key) if self.current else Target()

    def target_of(self, key: str) -> Target:
        """What a row stands for."""
        kind, _, name = split(key)[1].partition("/")
        if kind == "cluster":
            return Target()
        if kind == "engine" and self.snapshot is not None:
            engine = self.snapshot.engines.get(name)
            return Target(node=engine.node if engine else None, engine=name)
        return Target(group=name) if kind == "group" else Target(node=name)

    @property
    def only(self) -> str:
        """Which rows are shown, when not all are."""
        words = f"/{shown(self.view.needle)}" if self.view.needle else ""
        return f"{words} only problems".strip() if self.view.problems else words

    def chosen_engines(self) -> tuple[str, ...]:
        """Engines of the marked rows, or of the current one, in layout order."""
        if self.snapshot is None:
            return ()
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

    def on_resize(self) -> None:
        """Another width has other columns."""
        self.renew()
        super().on_resize()

    def moved(self) -> None:
        """The panes follow the cursor."""
        self.on_target()


class FoundRows(ChosenRows):
    """Putting the cursor where a name is, in whichever cluster."""

    def show_engine(self, engine: str) -> bool:
        """Put the cursor on an engine, opening its node; one of the cluster the cursor is in goes first."""
        for picture in self._near_first():
            found = picture.engines.get(engine)
            if found is not None:
                cluster = self._place(picture)
                name = joined(cluster, found.group if self.view.by_group else found.node)
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
        return sorted(self.pictures, key=lambda each: each.cluster != self.cluster)

    def _place(self, picture: ClusterSnapshot) -> str:
        return picture.cluster if len(self.pictures) > 1 else ""


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
            "group-view": lambda: self.look_at(by_group=not self.view.by_group, expanded=frozenset()),
        }

    def open(self) -> None:
        """A node or group shows or hides its engines; an engine offers what can be done with it."""
        if self.target.engine:
            self.on_menu()
            return
        self.unfold(None)

    def unfold(self, on: bool | None) -> None:
        """Show or hide the engines of the row; None turns it round."""
        row = self.current
        if row is None:
            return
        target = self.target
        named = target.group or target.node
        if named is None or self.snapshot is None:
            return
        if target.engine and self.view.by_group:
            named = self.snapshot.engines[target.engine].group
        cluster = self.cluster
        name = joined(cluster, named)
        has = name in self.view.expanded
        wanted = not has if on is None else on
        if wanted == has:
            return
        self.view = replace(self.view, expanded=self.view.expanded ^ {name})
        self.renew()
        if target.engine:
            self.go(joined(cluster, group_key(named) if self.view.by_group else node_key(named)))
        self.on_target()

    def unfold_all(self) -> None:
        """All or none."""
        names = {
            joined(self._place(picture), name)
            for picture in self.pictures
            for name in ({each.group for each in picture.engines.values()} if self.view.by_group else picture.nodes)
        }
        self.look_at(expanded=frozenset() if self.view.expanded else frozenset(names))

    def mark(self) -> None:
        """Mark the row and go to the next."""
        if self.current is None or not self._markable(self.current.key):
            return
        key = self.current.key
        self._range_from = key
        self.view = replace(self.view, marks=self.view.marks ^ {key})
        self.renew()
        self.move(1)

    def mark_range(self) -> None:
        """Mark everything between the last marked row and this one."""
        if self.current is None or not self._markable(self.current.key):
            return
        start = self._position(self._range_from) if self._range_from else self.cursor
        low, high = sorted((min(start, len(self.rows) - 1), self.cursor))
        within = {row.key for row in self.rows[low : high + 1]}
        self.look_at(marks=self.view.marks | {key for key in within if self._can_be_marked(key)})

    def mark_all(self) -> None:
        """Mark every row that is shown of the cluster the cursor is in."""
        if self.current is not None and self._markable(self.rows[self.cursor].key, whole=True):
            self.look_at(marks=frozenset(row.key for row in self.rows if self._can_be_marked(row.key)))

    def unmark(self, keys: Set[str]) -> None:
        """Take these marks away."""
        self.look_at(marks=self.view.marks - keys)

    def _can_be_marked(self, key: str) -> bool:
        cluster, rest = split(key)
        return cluster == self.cluster and not rest.startswith("cluster/")

    def _markable(self, key: str, *, whole: bool = False) -> bool:
        """Marks are of one cluster, for acts never span two; says so where that is not known."""
        if self.marked_in not in ("", self.cluster):
            self.notify(f"marks are in {shown(self.marked_in)}: - takes them away", severity="warning", markup=False)
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
