"""Finds unmanaged processes on nodes, and asks nodes to describe processes that hold HBM.

`operations.unmanaged_plan` stops such processes.
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


def unmanaged_processes(record: NodeRecord) -> tuple[UnmanagedProcess, ...]:
    """The unmanaged processes of a node: times on this machine's clock, HBM from npu-smi, secrets masked."""
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
    """(HBM in MiB that these processes hold by the last table, None when unknown; the devices)."""
    held: list[int | None] = []
    devices: list[int] = []
    for device in record.table.devices if record.table is not None else ():
        mine = [each.mib for each in device.processes if each.pid in pids]
        held += mine
        devices += [device.id] if mine else []
    known = [each for each in held if each is not None]
    return (sum(known) if held and len(known) == len(held) else None), tuple(devices)


class UnmanagedWatch:
    """Asks nodes to describe the pids in the npu-smi table that belong to no run.

    In a node's first table a pid counts at once; later only when a second table has it too, because a table may be older than
    the end of a worker.
    """

    def __init__(self, nodes: Mapping[str, NodeRecord], links: Mapping[str, NodeLink]) -> None:
        self._nodes = nodes
        self._links = links
        self._since: dict[str, dict[int, float]] = {}
        """Node → pid → time of the first table in which the pid belonged to no run."""
        self._requested: dict[str, tuple[Hello | None, tuple[int, ...]]] = {}
        self._seen_alive: dict[str, set[int]] = {}
        """Node → pids that it has described as alive."""

    def update(self, _snapshot: ClusterSnapshot) -> None:
        """Check the records at a new snapshot; requests descriptions from a node only when the pids or its helper changed."""
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
            if self._requested.get(name, (record.hello, ())) != (record.hello, pids):
                self._links[name].watch_holders(pids)
            self._requested[name] = (record.hello, pids)

    def _ended(self, name: str, record: NodeRecord) -> set[int]:
        """Pids that were alive and have ended; they count again only when a later table has them."""
        gone = {each.pid for each in record.unmanaged if each.why is UnmanagedReason.GONE}
        living = {pid for each in record.unmanaged if each.pid not in gone for pid in (each.pid, *each.below)}
        lived = self._seen_alive.setdefault(name, set())
        ended = lived & gone
        lived -= ended
        lived |= living
        return ended

    def complete(self) -> bool:
        """Whether every node has described all requested pids."""
        for name, (_, pids) in self._requested.items():
            record = self._nodes[name]
            known = {pid for each in record.unmanaged for pid in (each.pid, *each.below)}
            if not known.union(*(run.pids for run in record.runs.values())).issuperset(pids):
                return False
        return True
