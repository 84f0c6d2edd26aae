"""States of links, engines, health checks and events. Imports nothing, because the first frame of the screen needs it."""

from __future__ import annotations

from enum import StrEnum


class LinkState(StrEnum):
    """The state of the connection to a node."""

    CONNECTING = "connecting"
    UP = "up"
    STALE = "stale"
    """Connected, but no data arrived for two intervals."""
    LOST = "lost"
    """Not connected; the console connects again after growing waits."""
    BLOCKED = "blocked"
    """Not connected until the operator acts: authentication, host key, or a node that cannot run the helper."""
    CLOSED = "closed"


class EngineState(StrEnum):
    """The state of an engine; programs rely on the words in `status -o json`."""

    IDLE = "idle"
    LAUNCHING = "launching"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    EXITED = "exited"
    FAILED = "failed"
    LOST = "lost"
    STUCK = "stuck"
    UNMANAGED = "unmanaged"
    UNREACHABLE = "unreachable"

    @property
    def alive(self) -> bool:
        """Whether processes of the engine are known to run, or may still run."""
        return self in _ALIVE

    @property
    def bad(self) -> bool:
        """Whether an operator must look at it."""
        return self in _BAD

    @property
    def rank(self) -> int:
        """Its place in a list that starts with the worst state."""
        return _WORST_FIRST.index(self)


_ALIVE = {
    EngineState.LAUNCHING,
    EngineState.STARTING,
    EngineState.READY,
    EngineState.DEGRADED,
    EngineState.STOPPING,
    EngineState.STUCK,
    EngineState.UNMANAGED,
    EngineState.UNREACHABLE,
}


_BAD = {
    EngineState.DEGRADED,
    EngineState.FAILED,
    EngineState.LOST,
    EngineState.STUCK,
    EngineState.UNREACHABLE,
    EngineState.UNMANAGED,
}

_WORST_FIRST = (
    EngineState.FAILED,
    EngineState.LOST,
    EngineState.STUCK,
    EngineState.DEGRADED,
    EngineState.UNREACHABLE,
    EngineState.UNMANAGED,
    EngineState.STOPPING,
    EngineState.STARTING,
    EngineState.LAUNCHING,
    EngineState.READY,
    EngineState.EXITED,
    EngineState.IDLE,
)


class Grade(StrEnum):
    """The result of one health check."""

    OK = "ok"
    WAIT = "wait"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class EventLevel(StrEnum):
    """The level of an event."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
