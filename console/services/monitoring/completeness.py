"""When the first sample of a node is complete: the one definition of what must be known before anything is shown of it.

Complete means that, since the link came up, the node has listed its runs, the probes of its host and of its NPUs have
answered, the logs of its runs have been read to their end and its servers have been asked. Until then the node is
`connecting`, and so is every engine on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from console.model.deployment import Deployment
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import LinkState
from console.services.monitoring.records import NodeRecord, RunRecord
from console.services.monitoring.snapshot_builder import current_run

LIMIT_S = 10.0
"""A node that is connected for so long is shown with what is known of it. Running engines whose state cannot be told by then
stay `connecting` by themselves: a log of gigabytes behind a slow link must not hide the other engines of its node."""
_LINKED = (LinkState.UP, LinkState.STALE)


def advance(
    deployment: Deployment, nodes: Mapping[str, NodeRecord], learnt: Mapping[RunKey, RunRecord], now: float
) -> None:
    """Complete the first samples that have everything by `now`; start anew where a link went down."""
    waiting = []
    for record in nodes.values():
        if record.link.state not in _LINKED:
            record.complete, record.heard, record.unread = False, False, set()
        elif not record.complete or record.unread:
            waiting.append(record)
    servers = _servers(deployment) if waiting else frozenset()
    for record in waiting:
        if record.complete:
            record.unread &= _unknown(record, learnt, servers)
            continue
        record.awaited = next(missing(record, learnt, servers), "")
        late = record.heard and now - record.link.since >= LIMIT_S
        record.complete = late or not record.awaited
        record.unread = _unknown(record, learnt, servers) if late else set()


def missing(
    record: NodeRecord, learnt: Mapping[RunKey, RunRecord], servers: Set[tuple[str, str, str]]
) -> Iterator[str]:
    """What the first sample of a connected node lacks, in words. `servers`: (deployment, engine, node) that answer HTTP."""
    if not record.heard:
        yield "its list of runs"
        return
    if not record.host_asked:
        yield "the data of its host"
    if record.node.hardware.devices and record.table_asked_at is None:
        yield "npu-smi"
    for run in _current(record):
        if words := _lacks(run, learnt.get(run.key), server=(*_names(run), record.node.name) in servers):
            yield f"{words} of {run.key.engine}"


def _current(record: NodeRecord) -> Iterator[RunState]:
    for deployment, engine in sorted({(key.deployment, key.engine) for key in record.runs}):
        run = current_run(record, deployment, engine)
        if run is not None:
            yield run


def _lacks(run: RunState, learnt: RunRecord | None, *, server: bool) -> str:
    """What must still be heard of a run; an end that was asked for needs no log to explain it."""
    ended = run.verdict in (RunVerdict.EXITED, RunVerdict.LOST)
    if run.verdict is RunVerdict.PREPARED or (ended and run.stopping):
        return ""
    if not (learnt and learnt.log_refused) and (learnt.fed if learnt else 0) < run.log_size:
        return "the log"
    running = run.verdict is RunVerdict.RUNNING and not run.stopping
    return "the health" if running and server and not (learnt and learnt.asked) else ""


def _unknown(record: NodeRecord, learnt: Mapping[RunKey, RunRecord], servers: Set[tuple[str, str, str]]) -> set[RunKey]:
    """The runs whose state rests on what was not heard: a process that is gone and a server that answers need no log."""
    found = set()
    for run in _current(record):
        known = learnt.get(run.key)
        sure = run.verdict is not RunVerdict.RUNNING or run.stopping or (known is not None and known.answering)
        if not sure and _lacks(run, known, server=(*_names(run), record.node.name) in servers):
            found.add(run.key)
    return found


def _names(run: RunState) -> tuple[str, str]:
    return run.key.deployment, run.key.engine


def _servers(deployment: Deployment) -> frozenset[tuple[str, str, str]]:
    """Engines of the plan that can be asked over HTTP, where they belong."""
    found = (rank for rank in deployment.processes() if rank.port and not rank.headless)
    return frozenset((deployment.name, rank.id, rank.node) for rank in found)
