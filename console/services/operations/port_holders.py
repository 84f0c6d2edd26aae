"""Who listens on a port that a start needs: pid, owner and command, and whether a console keeps it. Changes nothing."""

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


async def held(link: NodeLink, record: NodeRecord, deployment: str, ports: Mapping[int, Rank]) -> tuple[str, str]:
    """(who listens on these ports, what to do), in words; empty where nobody does. Raises what the link raises."""
    probe = listeners_probe()
    found = parse_listeners((await link.run_command(probe.argv, probe.timeout_s)).stdout)
    taken = {port: rank for port, rank in ports.items() if listens(found, rank.address, port)}
    return await _taken_words(link, record, deployment, taken, found) if taken else ("", "")


async def _taken_words(
    link: NodeLink, record: NodeRecord, deployment: str, taken: Mapping[int, Rank], found: Sequence[Listener]
) -> tuple[str, str]:
    """(who holds each of the taken ports, what to do), in words."""
    sockets = {port: [each for each in found if listens_at(each, rank.address, port)] for port, rank in taken.items()}
    probe = holders_probe([each.inode for several in sockets.values() for each in several])
    holders = parse_holders((await link.run_command(probe.argv, probe.timeout_s)).stdout)
    parts, hints = [], []
    for port, rank in taken.items():
        mine = [holders[each.inode] for each in sockets[port] if each.inode in holders]
        who, hint = _who(mine[0], record, deployment, port) if mine else _nobody(sockets[port], port)
        parts.append(f"port {port} ({rank.id}) already has a listener: {who}")
        hints.append(hint)
    return "; ".join(parts), "; ".join(dict.fromkeys(hints))


def _who(holder: Holder, record: NodeRecord, deployment: str, port: int) -> tuple[str, str]:
    command = clean(masked_text(holder.command)).strip()
    shown = command if len(command) <= COMMAND_CELLS else f"{command[: COMMAND_CELLS - 3]}..."
    process = f"pid {holder.pid} of {clean(holder.owner) or '?'}: {shown or 'no command line'}"
    for key, run in record.runs.items():
        if run.verdict in _LIVE and holder.pid in (run.pid, *run.pids):
            whose = "this deployment" if key.deployment == deployment else f"deployment {key.deployment}"
            return f"{process}, run {key.run} of {key.engine} of {whose}", f"stop {key.engine} of {whose} first"
    known = next((each for each in record.unmanaged if holder.pid in (each.pid, *each.below)), None)
    kept = known.reason if known is not None else "no console keeps it"
    if holder.is_vllm:
        shares = f"vLLM would share port {port} with it silently (SO_REUSEPORT) and requests would split between both"
        return f"{process}, a vLLM, {kept}", f"{shares}: stop it, or use another port"
    return (
        f"{process}, no vLLM, {kept}",
        f"vLLM would end with Errno 98 on port {port}: stop pid {holder.pid}, or use another port",
    )


def _nobody(sockets: Sequence[Listener], port: int) -> tuple[str, str]:
    """A socket whose process cannot be seen: the console's user on the node may not look, or it is in another namespace."""
    owner = f"of uid {sockets[0].uid}" if sockets else "nobody knows whose"
    return f"a process {owner} that this user may not see", f"find it as root with: ss -ltnp 'sport = :{port}'"
