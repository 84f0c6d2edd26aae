"""The plan to end one process that no console keeps. No other plan ever touches one."""

from __future__ import annotations

from typing import Literal

from console.model.errors import Refused, UsageError
from console.model.payload import ProcessEnd, ProcessId
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.snapshot import ClusterSnapshot
from console.model.unmanaged_process import UnmanagedProcess, UnmanagedReason
from console.services.monitoring.intervals import GRACE_S, KILL_S
from console.services.monitoring.unmanaged_watch import lasting

COMMAND_CHARS = 120


def ending_plan(verb: Literal["stop", "kill"], snapshot: ClusterSnapshot, node: str, pid: int, boot_id: str) -> Plan:
    """The plan to end one unmanaged process: TERM for it, or with `kill` KILL for it and all that is below it.

    Raises UsageError when the node has no such process on its list, Refused when nothing can be signalled.
    """
    seen = snapshot.nodes.get(node)
    if seen is None:
        raise UsageError(f"no node {node!r}", hint=f"nodes: {', '.join(snapshot.nodes)}")
    found = next((each for each in seen.unmanaged if each.pid == pid), None)
    if found is None:
        there = ", ".join(str(each.pid) for each in seen.unmanaged) or "none"
        raise UsageError(f"{node} shows no unmanaged process {pid}", hint=f"unmanaged on {node}: {there}")
    if found.why is UnmanagedReason.GONE:
        hint = "the driver has not let go of the memory: a reset of the device or a reboot of the node frees it"
        raise Refused(f"pid {pid} does not live any more; nothing can be signalled", hint=hint)
    process = ProcessId(node, pid, found.start, boot_id)
    work = ProcessEnd(process, kill=verb == "kill", limit_s=KILL_S if verb == "kill" else GRACE_S)
    title = f"{node}: {'TERM' if verb == 'stop' else 'KILL'} for pid {pid}"
    step = Step(f"end:{node}", "end", title, node, (), work)
    return Plan(
        verb=verb,
        cluster=snapshot.cluster,
        deployment=snapshot.deployment,
        engines=(),
        stages=(Stage("end an unmanaged process", (step,)),),
        confirm=Confirm("pid", str(pid)),
        losses=_losses(found, snapshot.at),
    )


def _losses(found: UnmanagedProcess, now: float) -> tuple[str, ...]:
    age = found.age_s(now)
    since = "" if age is None else f", up {lasting(age)}"
    where = f", in container {found.container}" if found.container else ""
    tree = f" with {len(found.below)} more processes" if found.below else ""
    lines = [
        f"pid {found.pid}{tree} of {found.owner or 'an unknown owner'}{since}{where}: {found.command[:COMMAND_CHARS]}"
    ]
    if found.why is UnmanagedReason.OTHER_BASE:
        lines.append(f"{found.reason}: stop it there if you can; that console will show it as ended unasked")
    if found.mib is not None:
        lines.append(f"it and what is below it hold {found.mib} MiB of HBM on {len(found.devices)} devices")
    return tuple(lines)
