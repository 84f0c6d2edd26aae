"""Decides whether an interrupted start can be continued: launched ranks wait for their peers for a limited time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.model.deployment import Deployment, Rank
from console.model.durations import about
from console.model.findings import Finding, Severity
from console.model.run import RunKey
from console.model.shortening import list_text
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.model.start_timing import HANDSHAKE_S, skew_of
from console.services.operations.payloads import run_of


@dataclass(frozen=True, slots=True)
class PartialStart:
    """A group in which some ranks run and the others are to be launched."""

    group: str
    running: tuple[str, ...]
    keys: tuple[RunKey, ...] = ()
    """The runs that the other ranks join."""
    since: float = 0.0
    """When the first rank was started, on this machine's clock."""
    until: float | None = None
    """Until when the running ranks wait; None when the other ranks cannot join them."""
    short_timeout: bool = False
    """Whether the group's HCCL_CONNECT_TIMEOUT has passed already."""

    def finding(self, now: float) -> Finding:
        """The finding of a plan that launches the other ranks."""
        names = list_text(self.running, 4)
        if self.until is None:
            message = f"{names}: already running; new ranks of the group cannot join"
            return Finding("GROUP", Severity.ERROR, message, self.group, fix="restart the group instead")
        ago, left = about(max(0.0, now - self.since)), about(max(0.0, self.until - now))
        waits = "waits" if len(self.running) == 1 else "wait"
        message = f"{names} started {ago} ago and {waits} for the rest of {self.group}; the rest can join within {left}"
        fix = (
            f"HCCL_CONNECT_TIMEOUT is shorter than this delay: if the start fails, restart {self.group}"
            if self.short_timeout
            else ""
        )
        return Finding("GROUP", Severity.WARNING if self.short_timeout else Severity.NOTE, message, self.group, fix=fix)


def partial_start(
    deployment: Deployment,
    snapshot: ClusterSnapshot,
    ranks: Mapping[str, Rank],
    to_start: Sequence[str],
    alive: Sequence[str],
) -> dict[str, PartialStart]:
    """The groups of the ranks to start in which other ranks run already, by group name."""
    found = {}
    for group in dict.fromkeys(ranks[name].group for name in to_start):
        running = [name for name in alive if ranks[name].group == group and name not in to_start]
        if running:
            missing = [name for name in to_start if ranks[name].group == group]
            found[group] = _partial_start(deployment, snapshot, group, running, missing)
    return found


def _partial_start(
    deployment: Deployment, snapshot: ClusterSnapshot, group: str, running: Sequence[str], missing: Sequence[str]
) -> PartialStart:
    seen = [snapshot.engines[name] for name in running if name in snapshot.engines]
    started_at = {each.id: at for each in seen if (at := _started_at(snapshot, each)) is not None}
    keys = tuple(key for each in seen if (key := run_of(deployment.name, each)) is not None)
    cannot_join = PartialStart(group, tuple(running))
    if group not in deployment.layout.groups or len(started_at) != len(running) or len(keys) != len(running):
        return cannot_join
    if any(each.state is not EngineState.STARTING or each.drift for each in seen):
        return cannot_join
    first = min(started_at.values())
    if any(_ended_since(snapshot, name, first) for name in missing) or snapshot.at - first >= HANDSHAKE_S:
        return cannot_join
    env = {**deployment.layout.env, **deployment.layout.groups[group].env}
    skew = skew_of(group, {"": first, missing[0]: snapshot.at}, env)
    return PartialStart(group, tuple(running), keys, first, first + HANDSHAKE_S, skew is not None and skew.late)


def _started_at(snapshot: ClusterSnapshot, engine: EngineSnapshot) -> float | None:
    """When an engine was started, on this machine's clock."""
    node = snapshot.nodes.get(engine.node)
    offset = (node.system.clock_offset_s if node else None) or 0.0
    return None if engine.started_at is None else engine.started_at - offset


def _ended_since(snapshot: ClusterSnapshot, name: str, first: float) -> bool:
    """Whether a missing rank was launched with the others and ended: its peers then end as well."""
    engine = snapshot.engines.get(name)
    at = _started_at(snapshot, engine) if engine is not None and engine.state is not EngineState.IDLE else None
    return at is not None and at >= first - 1.0
