"""What was seen of one run, from the link up to its answers: the health checks that a state rests on. Pure."""

from __future__ import annotations

from dataclasses import replace

from console.model.run import RunState, RunVerdict
from console.model.snapshot import Grade, HealthCheck, LinkState
from console.services.monitoring.engine_states import halted_words
from console.services.monitoring.records import NodeRecord, RunRecord

LATE_S = 3.0
"""Between a log's last byte on its node and here, when somebody is listening."""


def grew_at(record: NodeRecord, run: RunState, learnt: RunRecord | None) -> float | None:
    """When a log grew last, our clock. What a console that was opened later reads is as old as its node says."""
    return _at(record, run, learnt.log_line_at if learnt else None, 0.0)


def spoke_at(record: NodeRecord, run: RunState, learnt: RunRecord | None) -> float | None:
    """When a log last said more than that its engine still waits, our clock."""
    said = learnt.log_state if learnt else None
    if said is None or said.waited_s is None:
        return grew_at(record, run, learnt)
    return _at(record, run, said.spoke_at, said.waited_s)


def _at(record: NodeRecord, run: RunState, arrived: float | None, waited_s: float) -> float | None:
    """When bytes came: at `arrived`, or as long before the file's last change as the node says."""
    offset = record.clock_offset_s or 0.0
    written = run.log_at if run.log_size else run.started_at
    here = None if written is None else round(written - offset - waited_s)
    if arrived is None or here is None:
        return here if arrived is None else arrived
    return min(arrived, here) if arrived - here > LATE_S else arrived


def log_read(run: RunState | None, learnt: RunRecord | None) -> bool:
    """Whether nothing of the log on the node is unread here."""
    return run is None or (learnt.fed if learnt else 0) >= run.log_size


def health_checks(
    record: NodeRecord, run: RunState, learnt: RunRecord | None, *, plain: bool = False, part: bool = False
) -> tuple[HealthCheck, ...]:
    """From the link up to the answers. `plain`: a service, `part`: a further part of an engine that spans nodes."""
    up = record.link.state is LinkState.UP
    link = HealthCheck(
        "link", Grade.OK if up else Grade.FAIL, record.link.reason or record.link.state, record.link.since
    )
    grade = Grade.FAIL if run.halted else _PROCESS[run.verdict]
    process = HealthCheck("process", grade if up else Grade.UNKNOWN, _process_text(run), record.runs_at)
    if learnt is None:
        return (link, process)
    log = learnt.log_state
    silent = f"kept quiet by {run.quiet}" if not log.ready and run.quiet else "proves nothing" if plain else ""
    if part and learnt.ready_at is not None and not silent:
        silent = f"{log.phase}, and nothing more once its workers are up"
    grade = Grade.FAIL if log.dead and not plain else Grade.OK if log.ready else Grade.SKIPPED if silent else Grade.WAIT
    text = (
        ("" if plain else log.dead) or silent or " ".join(word for word in (str(log.phase), log.progress_text) if word)
    )
    seen = record.link.state in (LinkState.UP, LinkState.STALE)
    alive = seen and run.verdict in (RunVerdict.RUNNING, RunVerdict.PREPARED)
    answers = learnt.answers if alive else tuple(map(_of_before, learnt.answers))
    return (link, process, HealthCheck("log", grade, text, grew_at(record, run, learnt)), *answers)


def _of_before(rung: HealthCheck) -> HealthCheck:
    """What answered once says nothing of a process that is gone or out of sight."""
    if rung.grade is not Grade.OK:
        return rung
    return replace(rung, grade=Grade.UNKNOWN, evidence=f"before: {rung.evidence}")


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
        return halted_words(run)
    if run.verdict is RunVerdict.RUNNING:
        return f"pid {run.pid}, {len(run.pids)} processes" if run.pids else f"pid {run.pid}"
    return f"{run.verdict}" + (f", exit {run.exit}" if run.exit else "")
