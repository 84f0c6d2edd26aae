"""Determines the clock of a run's log from the snapshot of the run and its node."""

from __future__ import annotations

import calendar
import time

from console.model.snapshot import ClusterSnapshot
from console.probes.log_time import Clock, Steps, clock_of

TOLD_S = 0.25
"""Smallest clock difference that can be detected, because the delay of messages is unknown."""
HEAD_BYTES = 64 * 1024
"""Bytes of a log's head that are searched for the first time stamp."""


def run_clock(snapshot: ClusterSnapshot, engine: str, run: str, head: bytes, written_at: float) -> Clock:
    """The clock of one run's log; `head` are its first bytes, `written_at` is when it was written last, by our clock.

    Of an earlier run the name tells when it started; that its node's clock went then as it goes now is assumed.
    """
    seen = snapshot.engines.get(engine)
    node = snapshot.nodes.get(seen.node) if seen else None
    ahead_s = (node.system.clock_offset_s if node else None) or 0.0
    started_at = seen.started_at if seen is not None and seen.run == run else None
    if started_at is None and (named := began(run)) is not None:
        started_at = named + ahead_s
    told = Steps(seen.zone) if seen is not None and seen.zone else None
    return clock_of(head, started_at, told, until=written_at, ahead_s=round(ahead_s / TOLD_S) * TOLD_S)


def began(run: str) -> float | None:
    """When a run was prepared, by its name, seconds since the epoch on the clock of the console that did; None without."""
    try:
        return float(calendar.timegm(time.strptime(run.partition("-")[0], "%Y%m%dT%H%M%SZ")))
    except ValueError:
        return None
