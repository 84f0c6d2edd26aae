"""Builds the plan to stop or kill one unmanaged process. No other plan signals unmanaged processes."""

from __future__ import annotations

from typing import Literal

from console.model.counting import counted
from console.model.durations import two_units
from console.model.errors import Refused, UsageError
from console.model.payload import ProcessEnd, ProcessId
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.snapshot import ClusterSnapshot
from console.model.unmanaged_process import UnmanagedProcess, UnmanagedReason
from console.services.monitoring.intervals import GRACE_S, KILL_S

COMMAND_CHARS = 120


def end_process_plan(
    verb: Literal["stop", "kill"], snapshot: ClusterSnapshot, node: str, pid: int, boot_id: str
) -> Plan:
    """The plan to send TERM to one unmanaged process, or with `kill` KILL to it and its child processes.

    Raises UsageError when the node does not list such a process, Refused when the process is gone.
    """
    seen = snapshot.nodes.get(node)
    if seen is None:
        raise UsageError(f"no node {node!r}", hint=f"nodes: {', '.join(snapshot.nodes)}")
    found = next((each for each in seen.unmanaged if each.pid == pid), None)
    if found is None:
        there = ", ".join(str(each.pid) for each in seen.unmanaged) or "none"
        raise UsageError(f"{node} shows no unmanaged process {pid}", hint=f"unmanaged on {node}: {there}")
    if found.why is UnmanagedReason.GONE:
        hint = "the driver still holds its memory: reset the device or reboot the node to free it"
        raise Refused(f"pid {pid} no longer exists, so it cannot be signalled", hint=hint)
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


def _children(count: int) -> str:
    return f"{count} child process{'' if count == 1 else 'es'}"


def _losses(found: UnmanagedProcess, now: float) -> tuple[str, ...]:
    age = found.age_s(now)
    since = "" if age is None else f", up {two_units(age)}"
    where = f", in container {found.container}" if found.container else ""
    tree = f" with {_children(len(found.below))}" if found.below else ""
    lines = [
        f"pid {found.pid}{tree} of {found.owner or 'an unknown owner'}{since}{where}: {found.command[:COMMAND_CHARS]}"
    ]
    if found.why is UnmanagedReason.OTHER_BASE:
        lines.append(f"{found.reason}: stop it there if you can; that console will show an end without a stop request")
    if found.mib is not None:
        lines.append(
            f"it and its child processes hold {found.mib} MiB of HBM on {counted(len(found.devices), 'device')}"
        )
    return tuple(lines)
