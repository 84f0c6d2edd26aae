"""How a log's stamps relate to the clock of this machine: its node's offset, and the zone its stamps are written in.

A stamp bears neither year nor zone. The moment at which its node says the run began bears both, and the first stamp of a log is
written within minutes of it; the difference, rounded to quarters of an hour, is the zone.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from console.model.snapshot import ClusterSnapshot
from screens.logs import times
from screens.logs.file import LogFile

_QUARTER_S = 900.0
_FARTHEST_S = 14 * 3600.0
"""No zone is farther from UTC."""
_HALF_YEAR_S = 183 * 86400.0
_YEAR_S = 366 * 86400.0


def utc_s(at: float) -> float:
    """A time since the epoch as stamps are counted: seconds of a year without a number, in UTC."""
    moment = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
    return times.seconds(moment.replace(year=times.ORIGIN.year))


def zone_s(first: float | None, started_at: float | None) -> float | None:
    """Seconds by which the stamps' zone is ahead of UTC, from a log's first stamp and the begin of its run; None unknown."""
    if first is None or started_at is None:
        return None
    ahead = first - utc_s(started_at)
    if abs(ahead) > _HALF_YEAR_S:
        ahead -= _YEAR_S if ahead > 0 else -_YEAR_S
    zone = round(ahead / _QUARTER_S) * _QUARTER_S
    return zone if abs(zone) <= _FARTHEST_S else None


def local_zone_s() -> float:
    """The zone of this machine."""
    return (datetime.now().astimezone().utcoffset() or timedelta()).total_seconds()


class Clock:
    """The clock of one log's stamps."""

    def __init__(self, snapshot: ClusterSnapshot, engine: str, file: LogFile, *, current: bool = True) -> None:
        seen = snapshot.engines.get(engine)
        node = snapshot.nodes.get(seen.node) if seen else None
        first = times.first_stamp(file, 0)
        started = seen.started_at if seen and current else None
        self.zone_s = zone_s(times.seconds(first) if first else None, started)
        """None when it cannot be told; then the zone of the others, or of this machine, is taken."""
        self.offset_s = (node.system.clock_offset_s if node else None) or 0.0
        """How far the node's clock is ahead of ours."""

    def now(self) -> float:
        """This moment as the log would stamp it."""
        zone = local_zone_s() if self.zone_s is None else self.zone_s
        return utc_s(time.time() + self.offset_s) + zone

    def ahead_s(self, zone: float | None) -> float:
        """How far stamps of this log are ahead of our clock in that zone."""
        other = 0.0 if self.zone_s is None or zone is None else self.zone_s - zone
        return self.offset_s + other
