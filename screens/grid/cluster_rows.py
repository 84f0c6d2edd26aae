"""The rows of several clusters, each cluster below its own line; the key of a row names its cluster. Pure.

With one cluster there is no such line, and keys are as `grid_rows` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from console.model.state import LinkState
from screens.grid.row_order import Columns, rows, unfold_level
from screens.grid.rows import GridView, Unfold, count_words
from screens.styled_lines import Row, Span, cut, shown

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot

PART = "\x1f"
"""Stands between the cluster and the rest of a key; no name can hold it."""


def split(key: str) -> tuple[str, str]:
    """The cluster of a key, empty where there is but one, and the key within it."""
    cluster, part, rest = key.partition(PART)
    return (cluster, rest) if part else ("", key)


def joined(cluster: str, key: str) -> str:
    """The key of a row of a cluster; without a cluster the key itself."""
    return f"{cluster}{PART}{key}" if cluster else key


def fleet_rows(snapshots: Sequence[ClusterSnapshot], view: GridView, columns: Columns, cells: int) -> list[Row]:
    """The rows of all clusters, in `cells` columns."""
    if len(snapshots) == 1:
        return rows(snapshots[0], view, columns, cells)
    listed: list[Row] = []
    for snapshot in snapshots:
        name = snapshot.cluster
        listed.append(Row(joined(name, "cluster/"), cut(_cluster_line(snapshot, view), cells)))
        listed.extend(
            replace(row, key=joined(name, row.key)) for row in rows(snapshot, _within(view, name), columns, cells)
        )
    return listed


def fleet_level(snapshots: Sequence[ClusterSnapshot], view: GridView, room: int) -> Unfold:
    """The most that nodes or groups of all clusters can show by themselves in so many rows."""
    if len(snapshots) == 1:
        return unfold_level([(snapshots[0], view)], room)
    return unfold_level([(each, _within(view, each.cluster)) for each in snapshots], room - len(snapshots))


def _within(view: GridView, cluster: str) -> GridView:
    """The view as one cluster sees it: its own marks and what is expanded of it."""

    def own(keys: frozenset[str]) -> frozenset[str]:
        return frozenset(rest for name, rest in map(split, keys) if name == cluster)

    return replace(view, marks=own(view.marks), expanded=own(view.expanded), collapsed=own(view.collapsed))


def _cluster_line(snapshot: ClusterSnapshot, view: GridView) -> tuple[Span, ...]:
    up = sum(1 for node in snapshot.nodes.values() if node.link.state is LinkState.UP)
    total = len(snapshot.nodes)
    mode: Span = (" RO ", "readonly") if snapshot.read_only else (" RW ", "readwrite")
    return (
        (f"= {shown(snapshot.cluster)}", "title"),
        (f" {shown(snapshot.deployment)} ", "dim"),
        mode,
        (" ", ""),
        *count_words(tuple(snapshot.engines.values()), view.pen),
        (f"  {up}/{total} nodes", "dim" if up == total else "warn"),
    )
