"""Builds the snapshot even when the record of one node raises an error: that node is shown with the error.

Reports of nodes are validated when they arrive; this module handles errors that validation does not foresee.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from console.model.snapshot import ClusterSnapshot, LinkState
from console.services.background_tasks import FAULTS, fault_text
from console.services.monitoring.records import NodeRecord

Build = Callable[[Mapping[str, NodeRecord]], ClusterSnapshot]


class NodeIsolation:
    """Excludes the record of a faulty node until that record changes."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        """`report(node, fault)` is called when building from a node's record fails."""
        self._report = report
        self._faulty: dict[str, tuple[str, tuple[object, ...]]] = {}

    def build(self, nodes: Mapping[str, NodeRecord], build: Build) -> ClusterSnapshot:
        """The snapshot, without the records of faulty nodes. Raises errors that no single record causes."""
        self._faulty = {name: each for name, each in self._faulty.items() if _same(each[1], _parts(nodes[name]))}
        shown = {name: self._usable(record) for name, record in nodes.items()}
        try:
            return build(shown)
        except FAULTS:
            self._find_faulty(nodes, build)
        return build({name: self._usable(record) for name, record in nodes.items()})

    def _find_faulty(self, nodes: Mapping[str, NodeRecord], build: Build) -> None:
        """Find faulty records by building a snapshot with one record at a time."""
        shown = {name: _blank(record, "") for name, record in nodes.items()}
        for name, record in nodes.items():
            try:
                build({**shown, name: record})
            except FAULTS as error:
                self._faulty[name] = fault_text(error), _parts(record)
                self._report(name, self._faulty[name][0])

    def _usable(self, record: NodeRecord) -> NodeRecord:
        faulty = self._faulty.get(record.node.name)
        return record if faulty is None else _blank(record, faulty[0])


def _parts(record: NodeRecord) -> tuple[object, ...]:
    """The parts of a record that a snapshot uses; each report of the node replaces them."""
    return record.runs, record.table, record.host, record.unmanaged, record.hello


def _same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return all(each is other for each, other in zip(before, now, strict=True))


def _blank(record: NodeRecord, fault: str) -> NodeRecord:
    """The record without the node's reports."""
    if not fault:
        return NodeRecord(record.node, record.link)
    text = f"its report cannot be shown: {fault}"
    link = replace(
        record.link, state=LinkState.BLOCKED, reason=text, hint="please report this error with a support bundle"
    )
    return NodeRecord(record.node, link)
