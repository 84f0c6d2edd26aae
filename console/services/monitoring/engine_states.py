"""Decides the state of an engine from the evidence of its node, its log and HTTP, and of its group. Pure."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from console.model.durations import about
from console.model.run import RunState, RunVerdict
from console.model.shortening import list_text
from console.model.snapshot import EngineSnapshot, EngineState, Grade, HealthCheck, Link, LinkState
from console.probes.engine_log import SHARE, Phase
from console.services.monitoring.intervals import GRACE_S, KILL_S

UNRECORDED = "the main process ended; how is not recorded yet"
"""The reason that a node reports before the supervisor of a run has recorded its end (`console.node.run_verdicts`)."""
CLEAN_CODES = frozenset({0, 130, 143})
"""Exit codes of a requested stop (vLLM 0.21: 0; 130 or 143 for a signal before vLLM's handler is installed)."""

STOPPED_RANK_S = 10.0
"""How long one rank must have been stopped, while others run, before its group is marked degraded."""
CLOCK_ERROR_S = 0.1
"""Ends closer than this count as simultaneous, because clocks of nodes are compared over a network."""
LOG_STAMP_S = 1.0
"""Log times have whole seconds."""
WIND_DOWN_S = 20.0
"""Time in which workers exit after their main process exited by itself; in vLLM 0.21 up to 12 s."""
UNASKED_S = 5.0
"""A shutdown without a known request after this time counts as unrequested; both reports use the same link."""
STOP_TAKES_S = GRACE_S + KILL_S + 15.0
"""A stop on a node takes at most this long."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All facts that decide the state of one engine."""

    link: Link
    """The link to its node; either its first sample is complete or the node is unreachable."""
    run: RunState | None
    headless: bool
    """Whether it cannot be asked over HTTP: it has no server, or its port is unknown."""
    part: bool = False
    """Whether it is a further part of an engine that spans nodes; its log never reports that the engine is ready."""
    plain: bool = False
    """Whether it is a service beside the engines; its log has another format and proves nothing."""
    log_ready: bool = False
    log_current: bool = True
    """Whether the log has been read to its end; before that a missing line proves nothing."""
    log_ends_s: float | None = None
    """Seconds since its log reported a shutdown; the node may report the stop request later."""
    log_dead: str = ""
    """The log line of a running engine whose core died."""
    first_error: str = ""
    checks: tuple[HealthCheck, ...] = ()
    was_ready: bool = False
    stuck: bool = False
    """Whether a stop of this run ended with remaining processes."""
    stop_age_s: float = 0.0
    """Seconds since this run was asked to stop."""
    exit_age_s: float | None = None
    """Seconds since its main process ended; None when unknown."""

    @property
    def stop_failed(self) -> bool:
        """Whether a stop has ended, or must have ended, with remaining processes; its console may have gone before the KILL."""
        return self.stuck or self.stop_age_s > STOP_TAKES_S


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state and its cause."""

    state: EngineState
    cause: str = ""


def judge(evidence: Evidence) -> Verdict:
    """The state of one engine without its group, which may degrade it afterwards."""
    if evidence.link.state is not LinkState.UP and evidence.link.state is not LinkState.STALE:
        return Verdict(EngineState.UNREACHABLE, evidence.link.reason or "unreachable")
    run = evidence.run
    if run is None:
        return Verdict(EngineState.IDLE)
    return _BY_VERDICT[run.verdict](evidence, run)


def _prepared(evidence: Evidence, run: RunState) -> Verdict:
    if run.reason:
        return Verdict(EngineState.FAILED, run.reason)
    if run.abandoned:
        return Verdict(EngineState.IDLE, "prepared, never launched")
    return Verdict(EngineState.LAUNCHING)


def _running(evidence: Evidence, run: RunState) -> Verdict:
    if run.stopping:
        return _stop_left_processes(evidence, run) if evidence.stop_failed else Verdict(EngineState.STOPPING)
    if run.halted:
        return Verdict(EngineState.DEGRADED, halted_text(run))
    if evidence.log_dead:
        return Verdict(EngineState.DEGRADED, evidence.log_dead)
    if evidence.log_ends_s is not None:
        if evidence.log_ends_s < UNASKED_S:
            return Verdict(EngineState.STOPPING)
        return Verdict(EngineState.DEGRADED, evidence.first_error or "shuts down without a stop request of a console")
    failed = next((check for check in evidence.checks if check.grade is Grade.FAIL), None)
    if failed is not None and (evidence.was_ready or evidence.log_ready):
        name = "" if failed.name == "works" else f"{failed.name}: "
        return Verdict(EngineState.DEGRADED, f"{name}{failed.evidence}")
    if evidence.headless:
        up = evidence.log_ready or evidence.plain or (evidence.part and evidence.was_ready)
        return Verdict(EngineState.READY if up else EngineState.STARTING)
    grades = {check.name: check.grade for check in evidence.checks}
    if Grade.UNKNOWN in (grades.get("http"), grades.get("model")):
        return Verdict(EngineState.READY if evidence.log_ready or evidence.was_ready else EngineState.STARTING)
    served = grades.get("http") is Grade.OK and grades.get("model") in (Grade.OK, Grade.SKIPPED)
    if served and (evidence.log_ready or evidence.plain or not evidence.log_current or run.quiet):
        return Verdict(EngineState.READY)
    return Verdict(EngineState.STARTING)


def halted_text(run: RunState) -> str:
    """`hangs: …` of a run with halted processes: other processes wait for them, and `/health` does not show that."""
    pids = " ".join(str(pid) for pid in run.halted[:6])
    return f"hangs: {len(run.halted)} of {len(run.pids)} processes were stopped by a signal; kill -CONT {pids} resumes them"


def _orphans(evidence: Evidence, run: RunState) -> Verdict:
    if run.stopping and not evidence.stop_failed:
        return Verdict(EngineState.STOPPING)
    ended = f"main process ended ({run.exit})" if run.exit else "main process ended"
    if not run.stopping and _workers_exiting(evidence, run):
        why = evidence.first_error or evidence.log_dead or "exited without a stop request"
        return Verdict(EngineState.DEGRADED, f"{why}; {ended}, {_remaining(run)}")
    why = f"; its log has: {evidence.first_error}" if evidence.first_error else ""
    return Verdict(EngineState.STUCK, f"{ended}, {_remaining(run)}{why}; {_remedy(evidence, run)}")


def _workers_exiting(evidence: Evidence, run: RunState) -> bool:
    """Whether the main process exited by itself a moment ago, so that its workers exit too. After a KILL they stay."""
    if run.exit is None:
        return run.reason == UNRECORDED
    return run.exit.signal is None and evidence.exit_age_s is not None and evidence.exit_age_s < WIND_DOWN_S


def _stop_left_processes(evidence: Evidence, run: RunState) -> Verdict:
    """The state of an engine with processes that survived its stop. Without a KILL its console has gone."""
    asked = f"asked to stop {about(evidence.stop_age_s)} ago, not killed; " if not evidence.stuck else ""
    return Verdict(EngineState.STUCK, f"{asked}{_remaining(run)}; {_remedy(evidence, run)}")


def _remedy(evidence: Evidence, run: RunState) -> str:
    """What the operator does next: a stop is enough unless a KILL has failed already."""
    if evidence.stuck:
        return "KILL failed: kill (X) tries again; a process in state D exits when the driver returns"
    return f"stop {'again ' if run.stopping else ''}(x) kills the remaining processes"


def _held_by_unmanaged(evidence: Evidence, run: RunState) -> Verdict:
    return Verdict(
        EngineState.STUCK, run.reason or f"processes of no console hold the lock of the run: {_remaining(run)}"
    )


def _exited(evidence: Evidence, run: RunState) -> Verdict:
    if run.reason:
        return Verdict(EngineState.FAILED, run.reason)
    if run.stopping:
        return Verdict(EngineState.EXITED, "" if _clean(run) else f"exit {run.exit}")
    return Verdict(EngineState.FAILED, evidence.first_error or evidence.log_dead or _unexplained(evidence))


def _unexplained(evidence: Evidence) -> str:
    """The end without a cause; says when the log has not been read to its end."""
    return "exited without a stop request" + ("" if evidence.log_current else "; its log is still being read")


def _lost(evidence: Evidence, run: RunState) -> Verdict:
    if run.stopping:
        return Verdict(EngineState.EXITED, "its supervisor ended too, exit code unknown")
    return Verdict(
        EngineState.LOST, run.reason or evidence.first_error or evidence.log_dead or "ended, cause not recorded"
    )


_BY_VERDICT = {
    RunVerdict.PREPARED: _prepared,
    RunVerdict.RUNNING: _running,
    RunVerdict.ORPHANS: _orphans,
    RunVerdict.FOREIGN: _held_by_unmanaged,
    RunVerdict.EXITED: _exited,
    RunVerdict.LOST: _lost,
}


def _clean(run: RunState) -> bool:
    return run.exit is not None and (run.exit.code in CLEAN_CODES or run.exit.signal in (2, 9, 15))


def _remaining(run: RunState) -> str:
    if not run.pids:
        return "no process is visible"
    word = "process" if len(run.pids) == 1 else "processes"
    return f"{len(run.pids)} {word} left: {list_text([str(pid) for pid in run.pids], 6)}"


_ENDED = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)


def mark_group_degraded(
    engines: Mapping[str, EngineSnapshot],
    ended_at: Mapping[str, float],
    broke_first: str = "",
    served_at: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, EngineSnapshot]:
    """The engines, where the ranks of a group with a dead or hanging rank are degraded and name the rank that failed first.

    `ended_at` is the end of each run on the jump host's clock where known. `broke_first` is the rank that failed first by the
    logs; its process may end after those of its peers. `served_at` is the time when each rank last served: the cores of a
    killed main process keep computing, and then their group keeps serving.
    """
    found = dict(engines)
    groups: dict[str, list[EngineSnapshot]] = {}
    for engine in engines.values():
        if engine.role != "proxy" and engine.group:
            groups.setdefault(engine.group, []).append(engine)
    for members in groups.values():
        dead = dead_ranks(members, ended_at)
        if not dead:
            found.update(_degraded_by_hang(members))
            continue
        dead.sort(key=lambda engine: engine.id != broke_first)
        first, second = dead[0], dead[1] if len(dead) > 1 else None
        ahead = f", {lead} before {second.id}" if second and (lead := _lead_text(first, second, ended_at)) else ""
        verb = "died" if first.state is EngineState.DEGRADED else first.state
        for engine in members:
            if _still_serves(engine, dead, ended_at, served_at):
                continue
            if engine.state in (EngineState.READY, EngineState.STARTING):
                reason = f"{first.id} on {first.node} {verb} first{ahead}"
                cause = reason + (f": {first.cause}" if first.cause else "")
                found[engine.id] = replace(engine, state=EngineState.DEGRADED, cause=cause, after=first.id)
            elif engine in dead[1:]:
                lead = _lead_text(first, engine, ended_at)
                reason = (
                    f"{first.id} on {first.node} {f'{verb} {lead} before' if lead else 'failed first, by the logs'}"
                )
                if lead or first.id == broke_first:
                    cause = f"{engine.cause}; {reason}" if engine.cause else reason
                    found[engine.id] = replace(engine, cause=cause, after=first.id)
    return found


def _still_serves(
    engine: EngineSnapshot,
    dead: Sequence[EngineSnapshot],
    ended_at: Mapping[str, float],
    served_at: Mapping[str, float],
) -> bool:
    """Whether a rank keeps serving with the cores of stuck ranks: it served after the last of them lost its main process."""
    if engine.state is not EngineState.READY or any(each.state is not EngineState.STUCK for each in dead):
        return False
    return served_at.get(engine.id, -math.inf) > max(died_at(each, ended_at) for each in dead) + LOG_STAMP_S


def degraded_by_stop(
    engines: Mapping[str, EngineSnapshot], ended_at: Mapping[str, float], now: float
) -> dict[str, EngineSnapshot]:
    """Ready ranks of groups in which one rank was stopped, as degraded: their next step waits for the stopped rank.

    A stop of a whole group ends its ranks one after another, so an end counts only after `STOPPED_RANK_S`.
    """
    shown: dict[str, EngineSnapshot] = {}
    for group in {each.group for each in engines.values() if each.role != "proxy" and each.group}:
        members = [each for each in engines.values() if each.group == group]
        ready = [each for each in members if each.state is EngineState.READY]
        ended = [each for each in members if each.state is EngineState.EXITED and each.id in ended_at]
        if not ready or not ended or now - max(ended_at[each.id] for each in ended) < STOPPED_RANK_S:
            continue
        first = min(ended, key=lambda each: ended_at[each.id])
        who = f" {first.asked.who()}" if first.asked else ""
        cause = f"{first.id} on {first.node} was stopped{who}; the group cannot serve without it"
        shown |= {each.id: replace(each, state=EngineState.DEGRADED, cause=cause, after=first.id) for each in ready}
    return shown


def ready_by_group(engines: Mapping[str, EngineSnapshot], quiet: Container[str]) -> dict[str, EngineSnapshot]:
    """Headless engines with a quiet log, as ready when the server of their group is ready, because the server waits for them.

    Further parts of an engine that spans nodes are ready when its first part is: their logs end after loading (vLLM 0.21
    v1/engine/utils.py, wait_for_engine_startup; v1/executor/multiproc_executor.py).
    """
    served = {each.group for each in engines.values() if each.state is EngineState.READY and not each.headless}
    waiting = {name: each for name, each in engines.items() if each.headless and each.state is EngineState.STARTING}
    firsts = {name for name, each in waiting.items() if not each.part and name in quiet and each.group in served}
    whole = {
        (each.group, each.dp_rank)
        for name, each in engines.items()
        if not each.part and (each.state is EngineState.READY or name in firsts)
    }
    parts = {name for name, each in waiting.items() if each.part and (each.group, each.dp_rank) in whole}
    up = Phase.ENGINE_READY
    return {
        name: replace(each, state=EngineState.READY, phase=str(up), progress=SHARE[up])
        for name, each in waiting.items()
        if name in firsts | parts
    }


def _degraded_by_hang(members: Sequence[EngineSnapshot]) -> dict[str, EngineSnapshot]:
    """The ready ranks of a group with a hanging rank, as degraded: each of their steps waits for that rank.

    The hanging rank is certain only when its processes were stopped by a signal; otherwise it may wait for another rank.
    """
    hung = next(
        (each for each in members if each.state is EngineState.DEGRADED and each.cause.startswith("hangs: ")), None
    )
    if hung is None:
        return {}
    where, how = f"{hung.id} on {hung.node}", hung.cause.removeprefix("hangs: ")
    certain = "stopped by a signal" in how
    cause = f"waits for {where}, which {hung.cause}" if certain else f"its group hangs, seen at {where}: {how}"
    ready = [each for each in members if each.state is EngineState.READY]
    return {each.id: replace(each, state=EngineState.DEGRADED, cause=cause, after=hung.id) for each in ready}


def _lead_text(first: EngineSnapshot, later: EngineSnapshot, ended_at: Mapping[str, float]) -> str:
    """How long `first` died before `later`; empty when unknown or too short."""
    seconds = died_at(later, ended_at) - died_at(first, ended_at)
    if not math.isfinite(seconds):
        return ""
    if first.died_at is None and later.died_at is None:
        return f"{seconds:.1f} s" if seconds >= CLOCK_ERROR_S else ""
    return f"about {seconds:.0f} s" if seconds >= LOG_STAMP_S else ""


def is_dead(engine: EngineSnapshot) -> bool:
    """Whether it ended without a stop request, or its log reports that it died while its process runs."""
    inside = any(check.name == "log" and check.grade is Grade.FAIL for check in engine.health)
    ended = inside or engine.died_at is not None or engine.exit is not None
    return engine.state in _ENDED or (engine.state is EngineState.DEGRADED and ended)


def died_at(engine: EngineSnapshot, ended_at: Mapping[str, float]) -> float:
    """When it died by its log, else when its process ended, in seconds on this machine's clock; infinite when unknown.

    A process may run for half a minute after its engine died, longer than the processes of ranks that failed because of it.
    """
    return engine.died_at if engine.died_at is not None else ended_at.get(engine.id, math.inf)


def dead_ranks(members: Sequence[EngineSnapshot], ended_at: Mapping[str, float]) -> list[EngineSnapshot]:
    """The dead ranks of a group by time of death; ranks with an unknown time come last."""
    return sorted(filter(is_dead, members), key=lambda engine: died_at(engine, ended_at))
