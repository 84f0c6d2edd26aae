"""From what a node, a log and HTTP say to the one word an operator reads. Pure: evidence in, verdict out."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from console.model.durations import about
from console.model.run import RunState, RunVerdict
from console.model.snapshot import EngineSnapshot, EngineState, Grade, HealthCheck, Link, LinkState
from console.probes.engine_log import SHARE, Phase
from console.services.monitoring.intervals import GRACE_S, KILL_S

UNRECORDED = "the main process ended; how is not recorded yet"
"""What a node says of a run whose supervisor is about to record its end (`console.node.run_verdicts`)."""
CLEAN_CODES = frozenset({0, 130, 143})
"""Exit codes of a stop that was asked for (vLLM 0.21: 0; a signal before its signal code is in place: 130 or 143)."""

ALONE_S = 10.0
"""How long a rank of a group must have been ended while others go on."""
LEAD_S = 0.1
"""Ends closer than this count as one: the clocks of two nodes are compared through a network."""
LOG_STAMP_S = 1.0
"""Log times have whole seconds."""
WIND_DOWN_S = 20.0
"""What a main process that ended by itself leaves ends by itself within this time: workers of vLLM 0.21 took up to 12 s."""
UNASKED_S = 5.0
"""A shutdown that nobody is known to have asked for after this time was not asked for: both reports come over one link."""
STOP_TAKES_S = GRACE_S + KILL_S + 15.0
"""A stop is over on its node after this, whatever it came to."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the verdict on one engine rests on."""

    link: Link
    """Of a node whose first sample is complete, or that is out of reach."""
    run: RunState | None
    headless: bool
    """Whether nobody can ask it over HTTP: it has no server, or is not of the plan and its port is not known."""
    part: bool = False
    """Whether it is a further part of an engine that spans nodes: its log never says that the engine is up."""
    plain: bool = False
    """Whether it is a service beside the engines, whose log is in words of its own and proves nothing."""
    log_ready: bool = False
    log_current: bool = True
    """Whether the log has been read to the end of what the node has; before that its silence proves nothing."""
    log_ends_s: float | None = None
    """For how long it has said that it shuts down, seconds: its node may not have reported yet who asked for that."""
    log_dead: str = ""
    """The line by which a running engine says that it is dead inside."""
    first_error: str = ""
    rungs: tuple[HealthCheck, ...] = ()
    was_ready: bool = False
    stuck: bool = False
    """A stop of this run ended with processes left."""
    stop_age_s: float = 0.0
    """How long ago this run was asked to end."""
    exit_age_s: float | None = None
    """How long ago its main process ended; None when that is not known."""

    @property
    def stop_failed(self) -> bool:
        """Whether a stop came to its end, or must have, and left something: its console may be gone before it could kill."""
        return self.stuck or self.stop_age_s > STOP_TAKES_S


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state and the fact that explains it."""

    state: EngineState
    cause: str = ""


def judge(evidence: Evidence) -> Verdict:
    """The state of one engine by itself; its group may make it worse afterwards."""
    if evidence.link.state is not LinkState.UP and evidence.link.state is not LinkState.STALE:
        return Verdict(EngineState.UNREACHABLE, evidence.link.reason or "out of reach")
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
        return _unstopped(evidence, run) if evidence.stop_failed else Verdict(EngineState.STOPPING)
    if run.halted:
        return Verdict(EngineState.DEGRADED, halted_words(run))
    if evidence.log_dead:
        return Verdict(EngineState.DEGRADED, evidence.log_dead)
    if evidence.log_ends_s is not None:
        if evidence.log_ends_s < UNASKED_S:
            return Verdict(EngineState.STOPPING)
        return Verdict(EngineState.DEGRADED, evidence.first_error or "shuts down, and no console asked for that")
    failed = next((rung for rung in evidence.rungs if rung.grade is Grade.FAIL), None)
    if failed is not None and (evidence.was_ready or evidence.log_ready):
        name = "" if failed.name == "works" else f"{failed.name}: "
        return Verdict(EngineState.DEGRADED, f"{name}{failed.evidence}")
    if evidence.headless:
        up = evidence.log_ready or evidence.plain or (evidence.part and evidence.was_ready)
        return Verdict(EngineState.READY if up else EngineState.STARTING)
    answers = {rung.name: rung.grade for rung in evidence.rungs}
    if Grade.UNKNOWN in (answers.get("http"), answers.get("model")):
        return Verdict(EngineState.READY if evidence.log_ready or evidence.was_ready else EngineState.STARTING)
    served = answers.get("http") is Grade.OK and answers.get("model") in (Grade.OK, Grade.SKIPPED)
    if served and (evidence.log_ready or evidence.plain or not evidence.log_current or run.quiet):
        return Verdict(EngineState.READY)
    return Verdict(EngineState.STARTING)


def halted_words(run: RunState) -> str:
    """`hangs: …` of a run with halted processes: the others wait for them, and `/health` does not tell."""
    pids = " ".join(str(pid) for pid in run.halted[:6])
    return f"hangs: {len(run.halted)} of {len(run.pids)} processes were stopped by a signal; kill -CONT {pids} lets them go on"


def _orphans(evidence: Evidence, run: RunState) -> Verdict:
    if run.stopping and not evidence.stop_failed:
        return Verdict(EngineState.STOPPING)
    ended = f"main process ended ({run.exit})" if run.exit else "main process ended"
    if not run.stopping and _winds_down(evidence, run):
        why = evidence.first_error or evidence.log_dead or "ended without being asked"
        return Verdict(EngineState.DEGRADED, f"{why}; {ended}, {_left(run)}")
    why = f"; its log says: {evidence.first_error}" if evidence.first_error else ""
    return Verdict(EngineState.STUCK, f"{ended}, {_left(run)}{why}; {_way_out(evidence, run)}")


def _winds_down(evidence: Evidence, run: RunState) -> bool:
    """Whether the main process ended by itself a moment ago; what a kill leaves stays. Its supervisor soon reports which."""
    if run.exit is None:
        return run.reason == UNRECORDED
    return run.exit.signal is None and evidence.exit_age_s is not None and evidence.exit_age_s < WIND_DOWN_S


def _unstopped(evidence: Evidence, run: RunState) -> Verdict:
    """Something outlived its stop. Only a console that is gone leaves it without a word on what could not be killed."""
    asked = f"asked to end {about(evidence.stop_age_s)} ago and not killed since; " if not evidence.stuck else ""
    return Verdict(EngineState.STUCK, f"{asked}{_left(run)}; {_way_out(evidence, run)}")


def _way_out(evidence: Evidence, run: RunState) -> str:
    """The one key that is enough. A stop kills what outlives it, so only what outlived that needs more."""
    if evidence.stuck:
        return "killed in vain: kill (X) tries again; state D ends when its driver lets go"
    return f"stop {'again ' if run.stopping else ''}(x) is enough, it kills what is left"


def _foreign(evidence: Evidence, run: RunState) -> Verdict:
    return Verdict(
        EngineState.STUCK, run.reason or f"the lock of the run is held by processes we did not start: {_left(run)}"
    )


def _exited(evidence: Evidence, run: RunState) -> Verdict:
    if run.reason:
        return Verdict(EngineState.FAILED, run.reason)
    if run.stopping:
        return Verdict(EngineState.EXITED, "" if _clean(run) else f"exit {run.exit}")
    return Verdict(EngineState.FAILED, evidence.first_error or evidence.log_dead or _unexplained(evidence))


def _unexplained(evidence: Evidence) -> str:
    """The end as a fact, without claiming that the log is silent about it before it has been read."""
    return "ended without being asked" + ("" if evidence.log_current else "; its log is still being read")


def _lost(evidence: Evidence, run: RunState) -> Verdict:
    if run.stopping:
        return Verdict(EngineState.EXITED, "its supervisor ended with it, exit code unknown")
    return Verdict(
        EngineState.LOST, run.reason or evidence.first_error or evidence.log_dead or "ended, nobody recorded how"
    )


_BY_VERDICT = {
    RunVerdict.PREPARED: _prepared,
    RunVerdict.RUNNING: _running,
    RunVerdict.ORPHANS: _orphans,
    RunVerdict.FOREIGN: _foreign,
    RunVerdict.EXITED: _exited,
    RunVerdict.LOST: _lost,
}


def _clean(run: RunState) -> bool:
    return run.exit is not None and (run.exit.code in CLEAN_CODES or run.exit.signal in (2, 9, 15))


def _left(run: RunState) -> str:
    if not run.pids:
        return "no process of it can be seen"
    shown = ", ".join(str(pid) for pid in run.pids[:6])
    word = "process" if len(run.pids) == 1 else "processes"
    return f"{len(run.pids)} {word} left: {shown}" + (" …" if len(run.pids) > 6 else "")


_ENDED = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)


def mark_group_degraded(
    engines: Mapping[str, EngineSnapshot],
    ended_at: Mapping[str, float],
    broke_first: str = "",
    served_at: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, EngineSnapshot]:
    """One dead rank degrades its group: the others cannot serve, and say who died first and how long before them. One that
    hangs holds the others up.

    `ended_at` gives the end of each run on the jump host's clock where it is known. `broke_first` is whom the logs name: a
    server may outlive its peers' although they only followed it. `served_at` is when each was last seen to serve: cores whose
    main process was killed go on computing, and then their group goes on serving.
    """
    shown = dict(engines)
    groups: dict[str, list[EngineSnapshot]] = {}
    for engine in engines.values():
        if engine.role != "proxy" and engine.group:
            groups.setdefault(engine.group, []).append(engine)
    for members in groups.values():
        dead = in_order_of_death(members, ended_at)
        if not dead:
            shown.update(_held_up(members))
            continue
        dead.sort(key=lambda engine: engine.id != broke_first)
        first, second = dead[0], dead[1] if len(dead) > 1 else None
        ahead = f", {lead} before {second.id} noticed" if second and (lead := _lead(first, second, ended_at)) else ""
        how = "died" if first.state is EngineState.DEGRADED else first.state
        for engine in members:
            if _outlives(engine, dead, ended_at, served_at):
                continue
            if engine.state in (EngineState.READY, EngineState.STARTING):
                named = f"{first.id} on {first.node} {how} first{ahead}"
                cause = named + (f": {first.cause}" if first.cause else "")
                shown[engine.id] = replace(engine, state=EngineState.DEGRADED, cause=cause, after=first.id)
            elif engine in dead[1:]:
                lead = _lead(first, engine, ended_at)
                named = f"{first.id} on {first.node} {f'{how} {lead} before' if lead else 'failed first, by the logs'}"
                if lead or first.id == broke_first:
                    cause = f"{engine.cause}; {named}" if engine.cause else named
                    shown[engine.id] = replace(engine, cause=cause, after=first.id)
    return shown


def _outlives(
    engine: EngineSnapshot,
    dead: Sequence[EngineSnapshot],
    ended_at: Mapping[str, float],
    served_at: Mapping[str, float],
) -> bool:
    """Whether a rank serves on with the cores of ranks that are stuck: it was seen to serve since the last of them lost its
    main process.
    """
    if engine.state is not EngineState.READY or any(each.state is not EngineState.STUCK for each in dead):
        return False
    return served_at.get(engine.id, -math.inf) > max(death_of(each, ended_at) for each in dead) + LOG_STAMP_S


def left_by(
    engines: Mapping[str, EngineSnapshot], ended_at: Mapping[str, float], now: float
) -> dict[str, EngineSnapshot]:
    """The ranks of a group that still seem to serve after one of them was ended alone: their next step waits for it.

    A stop ends the ranks of a group one soon after another, so an end counts only once it is `ALONE_S` old.
    """
    shown: dict[str, EngineSnapshot] = {}
    for group in {each.group for each in engines.values() if each.role != "proxy" and each.group}:
        members = [each for each in engines.values() if each.group == group]
        ready = [each for each in members if each.state is EngineState.READY]
        ended = [each for each in members if each.state is EngineState.EXITED and each.id in ended_at]
        if not ready or not ended or now - max(ended_at[each.id] for each in ended) < ALONE_S:
            continue
        first = min(ended, key=lambda each: ended_at[each.id])
        who = f" {first.asked.who()}" if first.asked else ""
        cause = f"{first.id} on {first.node} was ended{who}, and the group serves nothing without it"
        shown |= {each.id: replace(each, state=EngineState.DEGRADED, cause=cause, after=first.id) for each in ready}
    return shown


def vouched_for(engines: Mapping[str, EngineSnapshot], quiet: Container[str]) -> dict[str, EngineSnapshot]:
    """Headless engines whose logs are kept quiet are up when the server of their group is ready: it waits for all of them.

    So are the further parts of an engine that spans nodes when its first is: their own logs end with the loading (vLLM 0.21
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


def _held_up(members: Sequence[EngineSnapshot]) -> dict[str, EngineSnapshot]:
    """The ranks of a group of which one hangs: each step of the others waits for it.

    Which one does is known where processes were stopped. Elsewhere the one that shows it may itself wait for another.
    """
    hung = next(
        (each for each in members if each.state is EngineState.DEGRADED and each.cause.startswith("hangs: ")), None
    )
    if hung is None:
        return {}
    where, how = f"{hung.id} on {hung.node}", hung.cause.removeprefix("hangs: ")
    known = "stopped by a signal" in how
    cause = f"waits for {where}, which {hung.cause}" if known else f"its group hangs, seen at {where}: {how}"
    ready = [each for each in members if each.state is EngineState.READY]
    return {each.id: replace(each, state=EngineState.DEGRADED, cause=cause, after=hung.id) for each in ready}


def _lead(first: EngineSnapshot, later: EngineSnapshot, ended_at: Mapping[str, float]) -> str:
    """How long one died before the other, empty when that is not known or nothing to speak of."""
    seconds = death_of(later, ended_at) - death_of(first, ended_at)
    if not math.isfinite(seconds):
        return ""
    if first.died_at is None and later.died_at is None:
        return f"{seconds:.1f} s" if seconds >= LEAD_S else ""
    return f"about {seconds:.0f} s" if seconds >= LOG_STAMP_S else ""


def is_dead(engine: EngineSnapshot) -> bool:
    """Whether it ended without being asked, or its log says that it died though its process lives on."""
    inside = any(rung.name == "log" and rung.grade is Grade.FAIL for rung in engine.health)
    ended = inside or engine.died_at is not None or engine.exit is not None
    return engine.state in _ENDED or (engine.state is EngineState.DEGRADED and ended)


def death_of(engine: EngineSnapshot, ended_at: Mapping[str, float]) -> float:
    """When it died, seconds on this machine's clock, infinite when nobody knows: by its log, else by the end of its process.

    A process may live on for half a minute after its engine died, longer than those that only followed.
    """
    return engine.died_at if engine.died_at is not None else ended_at.get(engine.id, math.inf)


def in_order_of_death(members: Sequence[EngineSnapshot], ended_at: Mapping[str, float]) -> list[EngineSnapshot]:
    """The ranks of a group that died, first to last; those whose death is not dated come last."""
    return sorted(filter(is_dead, members), key=lambda engine: death_of(engine, ended_at))
