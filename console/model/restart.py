"""The restart policy of a group as written in a layout, and the restart state of a group. Restarts nothing."""

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
    """When a failed group is restarted automatically. Off by default."""

    policy: Literal["never", "on-failure"] = "never"
    """on-failure: when a rank of the group ended without a stop request."""
    budget: int = Field(default=3, ge=1, le=20)
    """Number of restarts within `within`; after that an operator must restart the group."""
    within: float = Field(default=3600.0, ge=1, le=30 * 86400)
    """Seconds; written as a span, `1h`."""
    backoff: float = Field(default=30.0, ge=1, le=86400)
    """Seconds before the first restart; doubled before each further restart."""

    @field_validator("within", "backoff", mode="before")
    @classmethod
    def _spans(cls, value: object) -> object:
        return seconds(value)

    @model_validator(mode="after")
    def _can_be_spent(self) -> Restart:
        waits = self.backoff * (2.0**self.budget - 1)
        if waits >= self.within:
            text = f"{self.budget} restarts never happen in {span(self.within)}, as the waits before them take longer"
            raise ValueError(f"{text}, so the budget never runs out; raise within, or lower budget or backoff")
        return self

    def wait_s(self, before: int) -> float:
        """Seconds to wait before the next restart, when `before` restarts were made."""
        return self.backoff * 2.0**before


class RestartState(StrEnum):
    """State of a group under its restart policy."""

    WATCHING = "watching"
    """No rank has failed."""
    HELD = "held"
    """The group failed, and `reason` forbids a restart now."""
    WAITING = "waiting"
    """The group failed and is restarted at `due_at` by a console with write access."""
    RESTARTING = "restarting"
    """A plan of the policy runs."""
    GAVE_UP = "gave-up"
    """The budget is spent; an operator must act."""


@dataclass(frozen=True, slots=True)
class GroupRestart:
    """The restart state of one group, as front ends show it."""

    group: str
    state: RestartState
    used: int
    """Restarts by the policy within `within_s`."""
    budget: int
    within_s: float
    reason: str = ""
    """One line for the operator: what failed, or what the policy waits for."""
    due_at: float | None = None
    """Seconds since the epoch on this machine."""

    def words(self, now: float) -> str:
        """One line: `restarts in 28 s (1 of 3 restarts in 1 h used): decode-5 on d0 failed`."""
        used = f"{self.used} of {self.budget} restarts in {span(self.within_s)} used"
        if self.state is RestartState.GAVE_UP:
            times = f"{self.used} restart" + ("s" if self.used != 1 else "")
            return f"gave up after {times} in {span(self.within_s)}: {self.reason}"
        word = _WORDS[self.state]
        if self.due_at is not None:
            word = f"restarts in {max(0.0, self.due_at - now):.0f} s"
        return f"{word} ({used})" + (f": {self.reason}" if self.reason else "")

    def brief(self, now: float) -> str:
        """A short text; empty while nothing has failed and while a plan of the policy runs."""
        if self.due_at is not None:
            return f"{self.group} restarts in {max(0.0, self.due_at - now):.0f} s"
        return f"{self.group} {_BRIEF[self.state]}" if self.state in _BRIEF else ""


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
