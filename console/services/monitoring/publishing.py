"""Decides when a snapshot is due that nobody waits for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from console.model.alert import Alert
from console.model.ongoing_work import OngoingPlan
from console.model.restart import GroupRestart, RestartState
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineState, LinkState

HEARTBEAT_S = 1.0
"""Longest time between two snapshots while something goes on, so that time limits show."""
QUIET_S = 2.0
"""While every node is connected and nothing goes on: time from a snapshot to the next one after a change."""
RESTING_S = 5.0
"""Longest time between two snapshots then."""
_AT_REST = frozenset({EngineState.READY, EngineState.IDLE, EngineState.EXITED})

Others = tuple[OngoingPlan | None, tuple[Diagnosis, ...], tuple[Alert, ...], Mapping[str, GroupRestart]]
"""What other parts of the session contribute: the running plan, diagnoses, alerts, restarts by group."""


def is_due(seen: ClusterSnapshot, others: Others, now: float, *, changed: bool) -> bool:
    """Whether a snapshot is due after `seen`; `changed`: whether a node reported a change since."""
    if others != (seen.work, seen.diagnoses, seen.alerts, seen.restarts) or not _is_calm(seen):
        return True
    return not 0 <= now - seen.at < (QUIET_S if changed else RESTING_S)


def _is_calm(seen: ClusterSnapshot) -> bool:
    """Whether nothing goes on whose snapshots change with time alone."""
    watching = all(each.state is RestartState.WATCHING for each in seen.restarts.values())
    linked = all(each.link.state is LinkState.UP for each in seen.nodes.values())
    resting = all(each.state in _AT_REST for each in seen.engines.values())
    return linked and watching and resting and seen.work is None and not seen.tasks
