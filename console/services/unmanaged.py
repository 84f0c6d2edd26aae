"""Processes on nodes that no console of ours keeps: what is known of them, who holds HBM unexplained, and the plan to end one.

They are shown and never touched by any other act. Pure but for `Regard`, which tells nodes which pids to describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from console.model.errors import Refused, UsageError
from console.model.plan import Confirm, Plan, ProcessId, Stage, Step
from console.model.run import Hello
from console.model.snapshot import ClusterSnapshot, LinkState
from console.model.unmanaged import Unmanaged, Why
from console.remote.link import NodeLink
from console.services.plans import GRACE_S
from console.services.records import NodeRecord

COMMAND_CHARS = 120
_BY_NPU = (Why.HBM, Why.GONE)


def told(record: NodeRecord) -> tuple[Unmanaged, ...]:
    """A node's unmanaged processes on this machine's clock, with the HBM npu-smi says they hold."""
    offset = record.clock_offset_s or 0.0
    found = []
    for each in record.unmanaged:
        mib, devices = _held(record, {each.pid, *each.below})
        if devices or each.why not in _BY_NPU:
            started = None if each.started_at is None else each.started_at - offset
            found.append(replace(each, started_at=started, mib=mib, devices=devices))
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


class Regard:
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
        """Look at the records behind a new picture; says something to a node only when that is new to its helper."""
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
        gone = {each.pid for each in record.unmanaged if each.why is Why.GONE}
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


def ending_plan(verb: Literal["stop", "force"], snapshot: ClusterSnapshot, node: str, pid: int, boot_id: str) -> Plan:
    """The plan to end one unmanaged process: TERM for it, or with `force` KILL for it and all that is below it.

    Raises UsageError when the node has no such process on its list, Refused when nothing can be signalled.
    """
    seen = snapshot.nodes.get(node)
    if seen is None:
        raise UsageError(f"no node {node!r}", hint=f"nodes: {', '.join(snapshot.nodes)}")
    found = next((each for each in seen.unmanaged if each.pid == pid), None)
    if found is None:
        there = ", ".join(str(each.pid) for each in seen.unmanaged) or "none"
        raise UsageError(f"{node} shows no unmanaged process {pid}", hint=f"unmanaged on {node}: {there}")
    if found.why is Why.GONE:
        hint = "the driver has not let go of the memory: a reset of the device or a reboot of the node frees it"
        raise Refused(f"pid {pid} does not live any more; nothing can be signalled", hint=hint)
    process = ProcessId(node, pid, found.start, boot_id)
    how = f"kill -TERM {pid}" if verb == "stop" else f"kill -KILL {pid} and every process below it"
    wait = f"   # then {GRACE_S:.0f} s to end; nothing is killed" if verb == "stop" else ""
    step = Step(
        f"end:{node}", "end", f"{node}: {'TERM' if verb == 'stop' else 'KILL'} for pid {pid}", node, (), (how + wait,)
    )
    return Plan(
        verb=verb,
        cluster=snapshot.cluster,
        deployment=snapshot.deployment,
        engines=(),
        stages=(Stage("end a process that is not ours", (step,)),),
        confirm=Confirm("pid", str(pid)),
        losses=_losses(found, snapshot.at),
        process=process,
    )


def _losses(found: Unmanaged, now: float) -> tuple[str, ...]:
    age = found.age_s(now)
    since = "" if age is None else f", up {age_words(age)}"
    where = f", in container {found.container}" if found.container else ""
    tree = f" with {len(found.below)} more processes" if found.below else ""
    lines = [
        f"pid {found.pid}{tree} of {found.owner or 'an unknown owner'}{since}{where}: {found.command[:COMMAND_CHARS]}"
    ]
    if found.why is Why.OTHER_BASE:
        lines.append(f"{found.reason}: stop it there if you can; that console will show it as ended unasked")
    if found.mib is not None:
        lines.append(f"it and what is below it hold {found.mib} MiB of HBM on {len(found.devices)} devices")
    return tuple(lines)


def age_words(seconds: float) -> str:
    """An age in its two largest units: `3 d 4 h`, `12 min 5 s`."""
    left = int(seconds)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
