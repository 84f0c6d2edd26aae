"""Draws the snapshot though one node's record cannot be drawn: that node is shown with the reason, all others as they are.

What a node says is validated where it arrives; this is for what nobody thought of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from console.model.snapshot import ClusterSnapshot, LinkState
from console.services.background_tasks import FAULTS, fault_text
from console.services.monitoring.records import NodeRecord

Draw = Callable[[Mapping[str, NodeRecord]], ClusterSnapshot]


class NodeIsolation:
    """Remembers whose record could not be drawn until that record changes."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        """`tell(node, fault)` is called when a node's record cannot be drawn."""
        self._tell = tell
        self._blamed: dict[str, tuple[str, tuple[object, ...]]] = {}

    def draw(self, nodes: Mapping[str, NodeRecord], draw: Draw) -> ClusterSnapshot:
        """The snapshot. Raises what no node's record is to blame for."""
        self._blamed = {name: each for name, each in self._blamed.items() if _same(each[1], _marks(nodes[name]))}
        shown = {name: self._shown(record) for name, record in nodes.items()}
        try:
            return draw(shown)
        except FAULTS:
            self._blame(nodes, draw)
        return draw({name: self._shown(record) for name, record in nodes.items()})

    def _blame(self, nodes: Mapping[str, NodeRecord], draw: Draw) -> None:
        """Find who is to blame by drawing them one after the other."""
        shown = {name: _blank(record, "") for name, record in nodes.items()}
        for name, record in nodes.items():
            try:
                draw({**shown, name: record})
            except FAULTS as error:
                self._blamed[name] = fault_text(error), _marks(record)
                self._tell(name, self._blamed[name][0])

    def _shown(self, record: NodeRecord) -> NodeRecord:
        blamed = self._blamed.get(record.node.name)
        return record if blamed is None else _blank(record, blamed[0])


def _marks(record: NodeRecord) -> tuple[object, ...]:
    """What a snapshot is drawn from; replaced as a whole whenever the node says something new."""
    return record.runs, record.table, record.host, record.unmanaged, record.hello


def _same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return all(each is other for each, other in zip(before, now, strict=True))


def _blank(record: NodeRecord, fault: str) -> NodeRecord:
    """The node without anything it said."""
    if not fault:
        return NodeRecord(record.node, record.link)
    text = f"what it reports cannot be shown: {fault}"
    link = replace(record.link, state=LinkState.BLOCKED, reason=text, hint="please report it with the support bundle")
    return NodeRecord(record.node, link)
