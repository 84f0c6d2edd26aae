"""The words for what state something is in; light, because a screen is painted with them before anything else is loaded."""

from __future__ import annotations

from enum import StrEnum


class LinkState(StrEnum):
    """State of the one connection to a node."""

    CONNECTING = "connecting"
    UP = "up"
    STALE = "stale"
    """Connected, but no byte for two intervals."""
    LOST = "lost"
    """Not connected; dialled again with back-off."""
    BLOCKED = "blocked"
    """Stopped until the operator acts: authentication, host key, or a node that cannot run the helper."""
    CLOSED = "closed"


class EngineState(StrEnum):
    """State of an engine; the words are a contract of `status -o json`."""

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
        """Whether an operator must look."""
        return self in _BAD

    @property
    def rank(self) -> int:
        """Place in an order that tells the worst first."""
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
    """Verdict of one health check."""

    OK = "ok"
    WAIT = "wait"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class EventLevel(StrEnum):
    """How loud an event is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
