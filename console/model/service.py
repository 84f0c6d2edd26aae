"""The service state of a deployment: whether it answers requests at its endpoint, and why not. Does not compute the state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServiceState(StrEnum):
    """The service states; programs rely on the words in `status -o json`."""

    UP = "UP"
    """A request was answered recently, and all planned engines serve."""
    PART = "PART"
    """A request was answered recently, but only a part of the planned engines serves."""
    UNPROVEN = "UNPROVEN"
    """No failure is known, but no request was answered recently that proves it."""
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"
    """Nodes that it depends on are unreachable."""


@dataclass(frozen=True, slots=True)
class Service:
    """The service state of one deployment."""

    state: ServiceState
    endpoint: str
    """The endpoint: `http://10.0.0.1:8000`."""
    model: str = ""
    """The model name for requests."""
    reason: str = ""
    """`no decode`, `14 of 16 decode`; empty while the service is up."""

    def brief(self) -> str:
        """`UP`, or `DOWN: no decode`."""
        return f"{self.state}: {self.reason}" if self.reason else str(self.state)

    def words(self) -> str:
        """The same with the endpoint, while engines serve: `UP http://10.0.0.1:8000 dsv4`."""
        if self.state in (ServiceState.DOWN, ServiceState.UNKNOWN):
            return self.brief()
        return " ".join(part for part in (self.brief(), self.endpoint, self.model) if part)
