"""Builds the health checks of one run, from its link to its answers; the engine's state depends on them. Pure."""

from __future__ import annotations

from dataclasses import replace

from console.model.run import RunState, RunVerdict
from console.model.snapshot import Grade, HealthCheck, LinkState
from console.services.monitoring.engine_states import halted_text
from console.services.monitoring.records import NodeRecord, RunRecord

LATE_S = 3.0
"""Delay from the write of a log line on its node to its arrival here, while the log is followed."""


def log_grew_at(record: NodeRecord, run: RunState, run_record: RunRecord | None) -> float | None:
    """When a log last grew, on this machine's clock. For bytes written before this console was opened: the node's time."""
    return _written_at(record, run, run_record.log_line_at if run_record else None, 0.0)


def log_active_at(record: NodeRecord, run: RunState, run_record: RunRecord | None) -> float | None:
    """When a log last got a line other than a waiting message, on this machine's clock."""
    state = run_record.log_state if run_record else None
    if state is None or state.waited_s is None:
        return log_grew_at(record, run, run_record)
    return _written_at(record, run, state.spoke_at, state.waited_s)


def _written_at(record: NodeRecord, run: RunState, arrived: float | None, waited_s: float) -> float | None:
    """When bytes were written: `arrived`, or the file's last change minus `waited_s` when that is clearly earlier."""
    offset = record.clock_offset_s or 0.0
    written = run.log_at if run.log_size else run.started_at
    here = None if written is None else round(written - offset - waited_s)
    if arrived is None or here is None:
        return here if arrived is None else arrived
    return min(arrived, here) if arrived - here > LATE_S else arrived


def log_read(run: RunState | None, run_record: RunRecord | None) -> bool:
    """Whether the whole log on the node has been read here."""
    return run is None or (run_record.bytes_read if run_record else 0) >= run.log_size


def health_checks(
    record: NodeRecord, run: RunState, run_record: RunRecord | None, *, plain: bool = False, part: bool = False
) -> tuple[HealthCheck, ...]:
    """The checks from link to answers. `plain`: a service; `part`: a further part of an engine that spans nodes."""
    up = record.link.state is LinkState.UP
    link = HealthCheck(
        "link", Grade.OK if up else Grade.FAIL, record.link.reason or record.link.state, record.link.since
    )
    grade = Grade.FAIL if run.halted else _PROCESS[run.verdict]
    process = HealthCheck("process", grade if up else Grade.UNKNOWN, _process_text(run), record.runs_at)
    if run_record is None:
        return (link, process)
    log = run_record.log_state
    silent = f"kept quiet by {run.quiet}" if not log.ready and run.quiet else "proves nothing" if plain else ""
    if part and run_record.ready_at is not None and not silent:
        silent = f"{log.phase}, and nothing more once its workers are up"
    grade = Grade.FAIL if log.dead and not plain else Grade.OK if log.ready else Grade.SKIPPED if silent else Grade.WAIT
    text = (
        ("" if plain else log.dead) or silent or " ".join(word for word in (str(log.phase), log.progress_text) if word)
    )
    seen = record.link.state in (LinkState.UP, LinkState.STALE)
    alive = seen and run.verdict in (RunVerdict.RUNNING, RunVerdict.PREPARED)
    answers = run_record.answer_checks if alive else tuple(map(_outdated, run_record.answer_checks))
    return (link, process, HealthCheck("log", grade, text, log_grew_at(record, run, run_record)), *answers)


def _outdated(check: HealthCheck) -> HealthCheck:
    """An earlier OK as unknown, because the process ended or its node is unreachable."""
    if check.grade is not Grade.OK:
        return check
    return replace(check, grade=Grade.UNKNOWN, evidence=f"before: {check.evidence}")


_PROCESS = {
    RunVerdict.PREPARED: Grade.WAIT,
    RunVerdict.RUNNING: Grade.OK,
    RunVerdict.ORPHANS: Grade.FAIL,
    RunVerdict.FOREIGN: Grade.FAIL,
    RunVerdict.EXITED: Grade.FAIL,
    RunVerdict.LOST: Grade.FAIL,
}


def _process_text(run: RunState) -> str:
    if run.halted:
        return halted_text(run)
    if run.verdict is RunVerdict.RUNNING:
        return f"pid {run.pid}, {len(run.pids)} processes" if run.pids else f"pid {run.pid}"
    return f"{run.verdict}" + (f", exit {run.exit}" if run.exit else "")
