"""Decides when the first sample of a node is complete, so that the node and its engines can be shown.

A first sample is complete when, since the link came up, the node has listed its runs, the probes of its host and its NPUs have
answered, the logs of its runs have been read to their end, and its servers have answered or failed. Until then the node and
its engines are `connecting`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from console.model.deployment import Deployment
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import LinkState
from console.services.monitoring.records import NodeRecord, RunRecord
from console.services.monitoring.snapshot_builder import current_run

LIMIT_S = 10.0
"""After this time on a link the node is shown with what is known. Only running engines whose state is still unknown stay
`connecting`: a log of gigabytes behind a slow link must not hide the other engines of the node."""
_LINKED = (LinkState.UP, LinkState.STALE)


def update(
    deployment: Deployment, nodes: Mapping[str, NodeRecord], run_records: Mapping[RunKey, RunRecord], now: float
) -> None:
    """Mark first samples that are complete at `now`; reset the nodes whose link is down."""
    waiting = []
    for record in nodes.values():
        if record.link.state not in _LINKED:
            record.complete, record.runs_listed, record.unknown_runs = False, False, set()
        elif not record.complete or record.unknown_runs:
            waiting.append(record)
    servers = _servers(deployment) if waiting else frozenset()
    for record in waiting:
        if record.complete:
            record.unknown_runs &= _unknown_runs(record, run_records, servers)
            continue
        record.missing = next(missing(record, run_records, servers), "")
        late = record.runs_listed and now - record.link.since >= LIMIT_S
        record.complete = late or not record.missing
        record.unknown_runs = _unknown_runs(record, run_records, servers) if late else set()


def missing(
    record: NodeRecord, run_records: Mapping[RunKey, RunRecord], servers: Set[tuple[str, str, str]]
) -> Iterator[str]:
    """What the first sample of a connected node lacks, as text. `servers`: (deployment, engine, node) with an HTTP server."""
    if not record.runs_listed:
        yield "its list of runs"
        return
    if not record.host_sampled:
        yield "the data of its host"
    if record.node.hardware.devices and record.table_started_at is None:
        yield "npu-smi"
    for run in _current(record):
        if text := _missing_of_run(
            run, run_records.get(run.key), server=(*_engine_key(run), record.node.name) in servers
        ):
            yield f"{text} of {run.key.engine}"


def _current(record: NodeRecord) -> Iterator[RunState]:
    for deployment, engine in sorted({(key.deployment, key.engine) for key in record.runs}):
        run = current_run(record, deployment, engine)
        if run is not None:
            yield run


def _missing_of_run(run: RunState, run_record: RunRecord | None, *, server: bool) -> str:
    """What is still missing for the state of a run; a requested stop needs no log to explain it."""
    ended = run.verdict in (RunVerdict.EXITED, RunVerdict.LOST)
    if run.verdict is RunVerdict.PREPARED or (ended and run.stopping):
        return ""
    if not (run_record and run_record.log_refused) and (run_record.bytes_read if run_record else 0) < run.log_size:
        return "the log"
    running = run.verdict is RunVerdict.RUNNING and not run.stopping
    return "the health" if running and server and not (run_record and run_record.http_settled) else ""


def _unknown_runs(
    record: NodeRecord, run_records: Mapping[RunKey, RunRecord], servers: Set[tuple[str, str, str]]
) -> set[RunKey]:
    """The runs whose state is unknown without the missing data. A run that ended or whose server answers is known."""
    found = set()
    for run in _current(record):
        known = run_records.get(run.key)
        decided = run.verdict is not RunVerdict.RUNNING or run.stopping or (known is not None and known.http_ok)
        if not decided and _missing_of_run(run, known, server=(*_engine_key(run), record.node.name) in servers):
            found.add(run.key)
    return found


def _engine_key(run: RunState) -> tuple[str, str]:
    return run.key.deployment, run.key.engine


def _servers(deployment: Deployment) -> frozenset[tuple[str, str, str]]:
    """Engines of the deployment with an HTTP server, on their planned nodes."""
    found = (rank for rank in deployment.processes() if rank.port and not rank.headless)
    return frozenset((deployment.name, rank.id, rank.node) for rank in found)
