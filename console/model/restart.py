"""The restart policy of a group as written in a layout, and the restart state of a group. Restarts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from console.model.cluster import Written
from console.model.counting import counted
from console.model.durations import exact, seconds


class Restart(Written):
    """When a failed group is restarted automatically. Off by default."""

    policy: Literal["never", "on-failure"] = "never"
    """on-failure: when a rank of the group ended without a stop request."""
    budget: int = Field(default=3, ge=1, le=20)
    """Number of restarts within `within`; after that an operator must restart the group."""
    within: float = Field(default=3600.0, ge=1, le=30 * 86400)
    """Seconds; in a file also `1h`."""
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
            text = f"{self.budget} restarts do not fit into {exact(self.within)}, because the waits before them take longer"
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
    """The group failed and is restarted at `due_at` by a read-write console."""
    RESTARTING = "restarting"
    """A plan of the policy runs."""
    GAVE_UP = "gave-up"
    """The budget is used up; an operator must act."""


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
        used = f"{self.used} of {self.budget} restarts in {exact(self.within_s)} used"
        if self.state is RestartState.GAVE_UP:
            return f"gave up after {counted(self.used, 'restart')} in {exact(self.within_s)}: {self.reason}"
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
    RestartState.WATCHING: "on failure, while a read-write console is open",
    RestartState.HELD: "no restart now",
    RestartState.WAITING: "waits for a read-write console that restarts it",
    RestartState.RESTARTING: "is being restarted",
}
