"""When a group that failed is started again without being asked: what an operator writes, and where a group stands with it.

Who carries it out and how a failure is found do not enter here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from console.model.cluster import Written

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: object) -> object:
    """`30s`, `15m`, `1h`, `2d` as seconds; anything else is left for validation to take or refuse.

    Raises ValueError for text that is no such span.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value.strip())
    if found is None:
        raise ValueError(f"{value!r} is no span of time (a number and s, m, h or d, for example 30s or 1h)")
    return float(found[1]) * _UNITS[found[2]]


def span(value_s: float) -> str:
    """Seconds as the shortest of `90 s`, `15 min`, `1 h`, `2 d` that says them exactly, else in seconds."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if value_s >= size and value_s % size == 0:
            return f"{value_s / size:.0f} {unit}"
    return f"{value_s:.0f} s"


class Restart(Written):
    """When a group is started again by itself. Off unless a layout says otherwise."""

    policy: Literal["never", "on-failure"] = "never"
    """on-failure: when a rank of it ended and nobody had asked for that."""
    budget: int = Field(default=3, ge=1, le=20)
    """Restarts within the time below; one more failure is left to an operator."""
    within: float = Field(default=3600.0, ge=1, le=30 * 86400)
    """Seconds; written as a span, `1h`."""
    backoff: float = Field(default=30.0, ge=1, le=86400)
    """Seconds before the first restart; twice as long before each further one."""

    @field_validator("within", "backoff", mode="before")
    @classmethod
    def _spans(cls, value: object) -> object:
        return seconds(value)

    @model_validator(mode="after")
    def _can_be_spent(self) -> Restart:
        waits = self.backoff * (2.0**self.budget - 1)
        if waits >= self.within:
            text = f"{self.budget} restarts never happen in {span(self.within)}, as the waits before them take longer"
            raise ValueError(f"{text}: they would go on for ever; raise within, or lower budget or backoff")
        return self

    def wait_s(self, before: int) -> float:
        """Seconds to wait before the next restart, after so many."""
        return self.backoff * 2.0**before


class RestartState(StrEnum):
    """Where a group stands with its policy."""

    WATCHING = "watching"
    """Nothing of it has failed."""
    HELD = "held"
    """It failed, and something forbids a restart now: the reason says what."""
    WAITING = "waiting"
    """It failed and is restarted at `due_at`, by a console that may act."""
    RESTARTING = "restarting"
    """A plan of the policy is at work on it."""
    GAVE_UP = "gave-up"
    """The budget is spent; an operator must act."""


@dataclass(frozen=True, slots=True)
class GroupRestart:
    """Where one group stands, drawn by every front end."""

    group: str
    standing: RestartState
    used: int
    """Restarts by the policy within its time."""
    budget: int
    within_s: float
    reason: str = ""
    """One line for the operator; what failed, or what is waited for."""
    due_at: float | None = None
    """Seconds since the epoch on this machine."""

    def words(self, now: float) -> str:
        """One line: `restarts in 28 s (1 of 3 restarts in 1 h used): decode-5 on d0 failed`."""
        used = f"{self.used} of {self.budget} restarts in {span(self.within_s)} used"
        if self.standing is RestartState.GAVE_UP:
            times = f"{self.used} restart" + ("s" if self.used != 1 else "")
            return f"gave up after {times} in {span(self.within_s)}: {self.reason}"
        word = _WORDS[self.standing]
        if self.due_at is not None:
            word = f"restarts in {max(0.0, self.due_at - now):.0f} s"
        return f"{word} ({used})" + (f": {self.reason}" if self.reason else "")

    def brief(self, now: float) -> str:
        """A few words for a line that has little room; empty while all is well, and while a plan says it itself."""
        if self.due_at is not None:
            return f"{self.group} restarts in {max(0.0, self.due_at - now):.0f} s"
        return f"{self.group} {_BRIEF[self.standing]}" if self.standing in _BRIEF else ""


_BRIEF = {
    RestartState.HELD: "failed, not restarted",
    RestartState.WAITING: "failed",
    RestartState.GAVE_UP: "given up",
}
_WORDS = {
    RestartState.WATCHING: "on failure, while a console with write access is open",
    RestartState.HELD: "no restart now",
    RestartState.WAITING: "is restarted by any console that is open with write access",
    RestartState.RESTARTING: "is being restarted",
}
