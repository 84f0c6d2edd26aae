"""Whether a start that was broken off half-way can be continued: the ranks that were launched wait for their peers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.model.deployment import Deployment, Rank
from console.model.findings import Finding, Severity
from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.model.start_timing import HANDSHAKE_S, about, skew_of
from console.services.operations.payloads import run_of


@dataclass(frozen=True, slots=True)
class PartialStart:
    """A group of which some ranks run and others are to be launched."""

    group: str
    running: tuple[str, ...]
    keys: tuple[RunKey, ...] = ()
    """Their runs, which the rest joins."""
    since: float = 0.0
    """When the first of them was started, on this machine's clock."""
    until: float | None = None
    """Until when they wait for the rest; None when the rest cannot join them."""
    hurry: bool = False
    """Whether HCCL's own limit is over already, which may be set too short for this."""

    def finding(self, now: float) -> Finding:
        """What a plan to launch the rest says of it."""
        names = ", ".join(self.running[:4]) + (f" +{len(self.running) - 4} more" if len(self.running) > 4 else "")
        if self.until is None:
            message = f"{names} already runs; the new ranks of its group will not join it"
            return Finding("GROUP", Severity.ERROR, message, self.group, fix="restart the group instead")
        ago, left = about(max(0.0, now - self.since)), about(max(0.0, self.until - now))
        waits = "waits" if len(self.running) == 1 else "wait"
        message = (
            f"{names} started {ago} ago and {waits} for the rest of {self.group}, which joins; {left} are left for that"
        )
        fix = f"HCCL_CONNECT_TIMEOUT is shorter than that: if it fails, restart {self.group}" if self.hurry else ""
        return Finding("GROUP", Severity.WARNING if self.hurry else Severity.NOTE, message, self.group, fix=fix)


def partial_start(
    deployment: Deployment,
    snapshot: ClusterSnapshot,
    ranks: Mapping[str, Rank],
    to_start: Sequence[str],
    alive: Sequence[str],
) -> dict[str, PartialStart]:
    """The groups of the ranks to start in which other ranks run, by name; the rest may join them or not."""
    found = {}
    for group in dict.fromkeys(ranks[name].group for name in to_start):
        running = [name for name in alive if ranks[name].group == group and name not in to_start]
        if running:
            missing = [name for name in to_start if ranks[name].group == group]
            found[group] = _judged(deployment, snapshot, group, running, missing)
    return found


def _judged(
    deployment: Deployment, snapshot: ClusterSnapshot, group: str, running: Sequence[str], missing: Sequence[str]
) -> PartialStart:
    seen = [snapshot.engines[name] for name in running if name in snapshot.engines]
    began = {each.id: at for each in seen if (at := _began(snapshot, each)) is not None}
    keys = tuple(key for each in seen if (key := run_of(deployment.name, each)) is not None)
    no = PartialStart(group, tuple(running))
    if group not in deployment.layout.groups or len(began) != len(running) or len(keys) != len(running):
        return no
    if any(each.state is not EngineState.STARTING or each.drift for each in seen):
        return no
    first = min(began.values())
    if any(_died_in_it(snapshot, name, first) for name in missing) or snapshot.at - first >= HANDSHAKE_S:
        return no
    env = {**deployment.layout.env, **deployment.layout.groups[group].env}
    skew = skew_of(group, {"": first, missing[0]: snapshot.at}, env)
    return PartialStart(group, tuple(running), keys, first, first + HANDSHAKE_S, skew is not None and skew.late)


def _began(snapshot: ClusterSnapshot, engine: EngineSnapshot) -> float | None:
    """When an engine was started, on this machine's clock."""
    node = snapshot.nodes.get(engine.node)
    offset = (node.system.clock_offset_s if node else None) or 0.0
    return None if engine.started_at is None else engine.started_at - offset


def _died_in_it(snapshot: ClusterSnapshot, name: str, first: float) -> bool:
    """Whether a rank that does not run was launched with the others: they have lost it and end by themselves."""
    engine = snapshot.engines.get(name)
    at = _began(snapshot, engine) if engine is not None and engine.state is not EngineState.IDLE else None
    return at is not None and at >= first - 1.0
