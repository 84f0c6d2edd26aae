"""Learns the durations of start phases from finished starts, and estimates the remaining time of a running start.

A small file for each layout on the jump host. Only starts that were watched from launch to ready are kept.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from console.files import save_text
from console.model.deployment import Deployment
from console.model.errors import ConsoleError
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState, EventLevel
from console.model.start_timing import StartProgress, UsualDuration
from console.probes.engine_log import SHARE, Phase
from console.services.monitoring.monitor import Monitor
from console.services.xdg_paths import file_name

KEPT = 8
"""Number of starts kept per shape; older ones may have used other weights or another disk."""
FULLY_WATCHED_S = 20.0
"""A start that was first seen within this time counts as watched from its launch."""


@dataclass(frozen=True, slots=True)
class FinishedStart:
    """One finished start of a group; times are seconds since the launch of its first rank."""

    run: str
    """The run of its first rank, so that two consoles keep the same start only once."""
    ready_s: float
    phases: Mapping[str, float]
    """Phase → when the slowest rank reached it."""
    log_gaps: Mapping[str, float] = field(default_factory=dict)
    """Phase → the longest time without a log line of a rank in it."""

    def remaining_s(self, phase: str, elapsed_s: float, since_s: float | None, share: float | None) -> float:
        """The remaining time of this start where another one is: in `phase` since `since_s`, `share` of it done."""
        phase_start = self.phases.get(phase)
        if phase_start is None:
            return self.ready_s - elapsed_s
        phase_end = min((at for at in self.phases.values() if at > phase_start), default=self.ready_s)
        if share is not None:
            return (1.0 - share) * (phase_end - phase_start) + self.ready_s - phase_end
        if since_s is None:
            return self.ready_s - min(max(elapsed_s, phase_start), phase_end)
        return self.ready_s - phase_start - (elapsed_s - since_s)


def shape(deployment: Deployment, group: str) -> str:
    """The key of starts with comparable duration: group, its size and its model."""
    settings = deployment.layout.groups[group]
    parallel = settings.data_parallel
    return f"{group} {settings.nodes}x{parallel.per_node}x{settings.devices_per_rank} {deployment.layout.model.path}"


@dataclass(slots=True)
class CurrentStart:
    """A running start."""

    runs: frozenset[str | None]
    fully_watched: bool
    elapsed_s: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    log_gaps: dict[str, float] = field(default_factory=dict)


def share_within(phase: str, progress: float | None) -> float | None:
    """The done share of a phase with a progress bar in the log: loading and graph capture. None for other phases."""
    bounds = {Phase.LOAD: Phase.MEMORY, Phase.GRAPH: Phase.ENGINE_READY}
    if progress is None or phase not in bounds:
        return None
    begin, end = SHARE[Phase(phase)], SHARE[bounds[Phase(phase)]]
    return min(1.0, (progress - begin) / (end - begin)) if progress > begin else None


def start_progress(
    group: str, known: Sequence[FinishedStart], members: Sequence[EngineSnapshot], current: CurrentStart
) -> StartProgress:
    """The progress of a start and its remaining time. Pure."""
    if not known:
        return StartProgress(group, current.elapsed_s, None, 0)
    slowest = min(members, key=lambda each: (each.state is EngineState.READY, each.part > 0, each.progress or 0.0))
    share = share_within(slowest.phase, slowest.progress)
    remaining = [
        each.remaining_s(slowest.phase, current.elapsed_s, current.phases.get(slowest.phase), share) for each in known
    ]
    typical = statistics.median(each.ready_s for each in known)
    return StartProgress(group, current.elapsed_s, max(0.0, statistics.median(remaining)), len(known), typical)


class StartHistory:
    """The finished starts of one layout on one cluster, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[FinishedStart]] | None = None

    def of(self, key: str) -> Sequence[FinishedStart]:
        """Starts of one shape, oldest first; empty when the file is missing or invalid."""
        if self._known is None:
            self._known = self._read()
        return self._known.get(key, [])

    def keep(self, key: str, start: FinishedStart) -> None:
        """Add a start, unless another console has added it. Raises ConsoleError when the file cannot be written."""
        known = self._read()
        if all(each.run != start.run for each in known.get(key, [])):
            known[key] = [*known.get(key, []), start][-KEPT:]
            data = {
                name: [
                    {
                        "run": each.run,
                        "ready_s": each.ready_s,
                        "phases": dict(each.phases),
                        "silences": dict(each.log_gaps),
                    }
                    for each in found
                ]
                for name, found in known.items()
            }
            save_text(self._path, json.dumps(data, indent=1) + "\n")
        self._known = known

    def _read(self) -> dict[str, list[FinishedStart]]:
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            return {
                str(key): [
                    FinishedStart(
                        str(each["run"]),
                        float(each["ready_s"]),
                        _numbers(each["phases"]),
                        _numbers(each.get("silences", {})),
                    )
                    for each in found
                ]
                for key, found in data.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def history_path(state_dir: Path, cluster: str, layout: str) -> Path:
    """The path of the start history of a layout on a cluster."""
    return state_dir / "starts" / file_name(cluster) / f"{file_name(layout)}.json"


class StartWatch:
    """Watches the starts of one session."""

    def __init__(self, monitor: Monitor, path: Path) -> None:
        self._monitor = monitor
        self._history = StartHistory(path)
        self._starts: dict[str, CurrentStart] = {}

    def update(self, snapshot: ClusterSnapshot) -> None:
        """Update all starts from a snapshot. Must get every snapshot, so that the end of a start is not missed."""
        deployment, seen = self._monitor.deployment, {}
        planned = {rank.id for rank in deployment.ranks()}
        for group in deployment.layout.groups:
            members = [each for name, each in snapshot.engines.items() if each.group == group and name in planned]
            states = {each.state for each in members}
            if EngineState.STARTING in states and states <= {EngineState.STARTING, EngineState.READY}:
                watched = self._watched(group, members, snapshot.at)
                seen[group] = start_progress(group, self._history.of(shape(deployment, group)), members, watched)
            elif states == {EngineState.READY}:
                self._finish(deployment, group, members, snapshot.at)
            else:
                self._starts.pop(group, None)
        self._monitor.start_progress, self._monitor.usual = seen, self._usual()
        self._monitor.log_gaps = {
            group: longest_log_gaps(self._history.of(shape(deployment, group))) for group in deployment.layout.groups
        }

    def _usual(self) -> Mapping[str, UsualDuration]:
        """Group → the usual duration of its start; groups without a known start are left out."""
        deployment, found = self._monitor.deployment, {}
        for group in deployment.layout.groups:
            if known := self._history.of(shape(deployment, group)):
                median = statistics.median(each.ready_s for each in known)
                found[group] = UsualDuration(median, len(known))
        return found

    def _watched(self, group: str, members: Sequence[EngineSnapshot], now: float) -> CurrentStart:
        runs = frozenset(each.run for each in members)
        elapsed = now - min((self._started_at(each) for each in members if each.started_at is not None), default=now)
        watched = self._starts.get(group)
        if watched is None or watched.runs != runs:
            watched = self._starts[group] = CurrentStart(runs, elapsed < FULLY_WATCHED_S)
        watched.elapsed_s = elapsed
        slowest = min(members, key=lambda each: Phase(each.phase).order if each.phase else 0)
        if slowest.phase and slowest.state is EngineState.STARTING:
            watched.phases.setdefault(slowest.phase, elapsed)
        for each in members:
            if each.state is EngineState.STARTING and each.phase and each.log_spoke_at is not None:
                silence = now - each.log_spoke_at
                watched.log_gaps[each.phase] = max(watched.log_gaps.get(each.phase, 0.0), silence)
        return watched

    def _started_at(self, engine: EngineSnapshot) -> float:
        return (engine.started_at or 0.0) - (self._monitor.nodes[engine.node].clock_offset_s or 0.0)

    def _finish(self, deployment: Deployment, group: str, members: Sequence[EngineSnapshot], now: float) -> None:
        watched = self._starts.pop(group, None)
        if watched is None or not watched.fully_watched or watched.runs != frozenset(each.run for each in members):
            return
        ready = now - min(self._started_at(each) for each in members)
        try:
            start = FinishedStart(
                str(members[0].run), round(ready, 1), _rounded(watched.phases), _rounded(watched.log_gaps)
            )
            self._history.keep(shape(deployment, group), start)
        except ConsoleError as error:
            self._monitor.note(EventLevel.WARNING, f"the duration of the start of {group} was not saved: {error}")


def longest_log_gaps(known: Sequence[FinishedStart]) -> dict[str, float]:
    """Phase → the longest silence in these starts; phases without data are left out."""
    found: dict[str, float] = {}
    for each in known:
        for phase, silence in each.log_gaps.items():
            found[phase] = max(found.get(phase, 0.0), silence)
    return found


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def _rounded(phases: Mapping[str, float]) -> dict[str, float]:
    return {phase: round(at, 1) for phase, at in phases.items()}
