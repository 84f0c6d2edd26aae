"""Processes on nodes that no console of ours keeps: what is known of them, and who holds HBM unexplained.

Pure but for `UnmanagedWatch`, which tells nodes which pids to describe. Ending one is a plan of `operations.unmanaged_plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from console.commands.masking import masked_text
from console.model.run import Hello
from console.model.snapshot import ClusterSnapshot, LinkState
from console.model.unmanaged_process import UnmanagedProcess, UnmanagedReason
from console.remote.link import NodeLink
from console.services.monitoring.records import NodeRecord

_BY_NPU = (UnmanagedReason.HBM, UnmanagedReason.GONE)


def of_node(record: NodeRecord) -> tuple[UnmanagedProcess, ...]:
    """A node's unmanaged processes on this machine's clock, with the HBM npu-smi says they hold, secrets masked."""
    offset = record.clock_offset_s or 0.0
    found = []
    for each in record.unmanaged:
        mib, devices = _held(record, {each.pid, *each.below})
        if devices or each.why not in _BY_NPU:
            started = None if each.started_at is None else each.started_at - offset
            command = masked_text(each.command)
            found.append(replace(each, command=command, started_at=started, mib=mib, devices=devices))
    return tuple(found)


def _held(record: NodeRecord, pids: set[int]) -> tuple[int | None, tuple[int, ...]]:
    """HBM these processes hold by the last table (None when it does not say), and on which devices."""
    held: list[int | None] = []
    devices: list[int] = []
    for device in record.table.devices if record.table is not None else ():
        mine = [each.mib for each in device.processes if each.pid in pids]
        held += mine
        devices += [device.id] if mine else []
    known = [each for each in held if each is not None]
    return (sum(known) if held and len(known) == len(held) else None), tuple(devices)


class UnmanagedWatch:
    """Has nodes describe the pids that npu-smi names and no run explains.

    A pid counts at once in a node's first table, later only when a second table names it too: a table may be older than the
    end of a worker.
    """

    def __init__(self, nodes: Mapping[str, NodeRecord], links: Mapping[str, NodeLink]) -> None:
        self._nodes = nodes
        self._links = links
        self._since: dict[str, dict[int, float]] = {}
        """Node → pid → when the table was taken that first named it unexplained."""
        self._told: dict[str, tuple[Hello | None, tuple[int, ...]]] = {}
        self._lived: dict[str, set[int]] = {}
        """Node → pids that it has described as living."""

    def attend(self, _snapshot: ClusterSnapshot) -> None:
        """Look at the records behind a new snapshot; says something to a node only when that is new to its helper."""
        for name, record in self._nodes.items():
            if record.table is None or record.table_at is None or record.link.state is not LinkState.UP:
                continue
            ours = {pid for run in record.runs.values() for pid in run.pids}
            named = {each.pid for device in record.table.devices for each in device.processes} - ours
            before = self._since.get(name)
            at = 0.0 if before is None else record.table_at
            for pid in self._ended(name, record) & set(before or {}):
                self._since[name][pid] = record.table_at
            since = self._since[name] = {pid: (before or {}).get(pid, at) for pid in named}
            pids = tuple(sorted(pid for pid, at in since.items() if at < record.table_at))
            if self._told.get(name, (record.hello, ())) != (record.hello, pids):
                self._links[name].regard(pids)
            self._told[name] = (record.hello, pids)

    def _ended(self, name: str, record: NodeRecord) -> set[int]:
        """Pids that were described as living and are gone now: only a later table may still call them holders."""
        gone = {each.pid for each in record.unmanaged if each.why is UnmanagedReason.GONE}
        living = {pid for each in record.unmanaged if each.pid not in gone for pid in (each.pid, *each.below)}
        lived = self._lived.setdefault(name, set())
        ended = lived & gone
        lived -= ended
        lived |= living
        return ended

    def answered(self) -> bool:
        """Whether every node has said what it knows of the pids it was told."""
        for name, (_, pids) in self._told.items():
            record = self._nodes[name]
            known = {pid for each in record.unmanaged for pid in (each.pid, *each.below)}
            if not known.union(*(run.pids for run in record.runs.values())).issuperset(pids):
                return False
        return True
