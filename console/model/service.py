"""Whether a deployment answers requests at its endpoint, in one word with its reason. How that is judged does not enter here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServiceState(StrEnum):
    """The words are a contract of `status -o json`."""

    UP = "UP"
    """A request was answered lately, and everything that should serve does."""
    PART = "PART"
    """A request was answered lately by what is left of it."""
    UNPROVEN = "UNPROVEN"
    """Nothing speaks against it, and no request was answered lately that would prove it."""
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"
    """What it depends on is out of reach."""


@dataclass(frozen=True, slots=True)
class Service:
    """The verdict on one deployment."""

    state: ServiceState
    door: str
    """Where requests go: `http://10.0.0.1:8000`."""
    model: str = ""
    """What they must name."""
    reason: str = ""
    """`no decode`, `14 of 16 decode`; empty while it is up."""

    def brief(self) -> str:
        """`UP`, or `DOWN: no decode`."""
        return f"{self.state}: {self.reason}" if self.reason else str(self.state)

    def words(self) -> str:
        """The same with the door, where there is something behind it: `UP http://10.0.0.1:8000 dsv4`."""
        if self.state in (ServiceState.DOWN, ServiceState.UNKNOWN):
            return self.brief()
        return " ".join(part for part in (self.brief(), self.door, self.model) if part)
