"""Finds the process that listens on a port that a start needs: pid, owner, command, and the console that runs it, if any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from console.commands.masking import masked_text
from console.model.deployment import Rank
from console.model.run import RunVerdict
from console.probes.listeners import (
    Holder,
    Listener,
    holders_probe,
    listeners_probe,
    listens,
    listens_at,
    parse_holders,
    parse_listeners,
)
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.monitoring.records import NodeRecord

COMMAND_CELLS = 100
_LIVE = (RunVerdict.RUNNING, RunVerdict.ORPHANS, RunVerdict.FOREIGN)


async def taken_ports_text(
    link: NodeLink, record: NodeRecord, deployment: str, ports: Mapping[int, Rank]
) -> tuple[str, str]:
    """(who listens on these ports, what to do) as text; empty when no process listens. Raises what the link raises."""
    probe = listeners_probe()
    found = parse_listeners((await link.run_command(probe.argv, probe.timeout_s)).stdout)
    taken = {port: rank for port, rank in ports.items() if listens(found, rank.address, port)}
    return await _holders_text(link, record, deployment, taken, found) if taken else ("", "")


async def _holders_text(
    link: NodeLink, record: NodeRecord, deployment: str, taken: Mapping[int, Rank], found: Sequence[Listener]
) -> tuple[str, str]:
    """(who holds each of the taken ports, what to do) as text."""
    sockets = {port: [each for each in found if listens_at(each, rank.address, port)] for port, rank in taken.items()}
    probe = holders_probe([each.inode for several in sockets.values() for each in several])
    holders = parse_holders((await link.run_command(probe.argv, probe.timeout_s)).stdout)
    parts, hints = [], []
    for port, rank in taken.items():
        mine = [holders[each.inode] for each in sockets[port] if each.inode in holders]
        who, hint = (
            _holder_text(mine[0], record, deployment, port) if mine else _hidden_holder_text(sockets[port], port)
        )
        parts.append(f"port {port} ({rank.id}) already has a listener: {who}")
        hints.append(hint)
    return "; ".join(parts), "; ".join(dict.fromkeys(hints))


def _holder_text(holder: Holder, record: NodeRecord, deployment: str, port: int) -> tuple[str, str]:
    command = clean(masked_text(holder.command)).strip()
    shown = command if len(command) <= COMMAND_CELLS else f"{command[: COMMAND_CELLS - 3]}..."
    process = f"pid {holder.pid} of {clean(holder.owner) or '?'}: {shown or 'no command line'}"
    for key, run in record.runs.items():
        if run.verdict in _LIVE and holder.pid in (run.pid, *run.pids):
            owner = "this deployment" if key.deployment == deployment else f"deployment {key.deployment}"
            return f"{process}, run {key.run} of {key.engine} of {owner}", f"stop {key.engine} of {owner} first"
    known = next((each for each in record.unmanaged if holder.pid in (each.pid, *each.below)), None)
    origin = known.reason if known is not None else "started by no console"
    if holder.is_vllm:
        shared = f"vLLM would share port {port} with it silently (SO_REUSEPORT) and requests would split between both"
        return f"{process}, a vLLM, {origin}", f"{shared}: stop it, or use another port"
    return (
        f"{process}, no vLLM, {origin}",
        f"vLLM would exit with Errno 98 on port {port}: stop pid {holder.pid}, or use another port",
    )


def _hidden_holder_text(sockets: Sequence[Listener], port: int) -> tuple[str, str]:
    """A socket whose process is hidden: the user on the node lacks the right to see it, or it is in another namespace."""
    owner = f"of uid {sockets[0].uid}" if sockets else "of an unknown user"
    return f"a process {owner} that this user may not see", f"find it as root with: ss -ltnp 'sport = :{port}'"
