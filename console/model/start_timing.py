"""How long the start of a group takes, against earlier starts, and how far apart its ranks started. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def about(value_s: float) -> str:
    """A time nobody should set a watch by: `40 s`, `2 min`, `1 h 10 min`."""
    if value_s < 115:
        step = 5 if value_s < 60 else 15
        return f"{max(step, round(value_s / step) * step)} s"
    minutes = round(value_s / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def lasting(value_s: float, step_s: int = 60) -> str:
    """A time that went by, cut to whole steps so that it changes seldom: `40s`, `2m`, `1m40s` in steps of 10, `1h05m`."""
    whole = int(value_s // step_s) * step_s if value_s >= step_s else int(value_s // 10) * 10
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return (f"{minutes}m" if minutes else "") + (f"{seconds}s" if seconds or not minutes else "")


def starts(count: int) -> str:
    """`1 earlier start`, `4 earlier starts`."""
    return f"{count} earlier start" + ("s" if count != 1 else "")


@dataclass(frozen=True, slots=True)
class UsualDuration:
    """How long the start of a group took before."""

    seconds: float
    """The median."""
    of: int
    """How many starts that rests on."""

    def words(self) -> str:
        """`about 8 min, as in 4 earlier starts`."""
        return f"about {about(self.seconds)}, as in {starts(self.of)}"


@dataclass(frozen=True, slots=True)
class StartProgress:
    """The start of one group, now."""

    group: str
    elapsed_s: float
    """Since its first rank was started."""
    left_s: float | None
    """Until its last rank should be ready; None when no earlier start is known, 0 when all of them were faster."""
    of: int
    """How many earlier starts that rests on."""
    typical_s: float | None = None
    """What the start took then, the median."""

    def words(self) -> str:
        """What is left, in words; says so when nobody knows."""
        if self.left_s is None or self.typical_s is None:
            return "no earlier start of this shape is known, so nobody can say how long"
        if self.left_s <= 0:
            return f"longer than usual: {about(self.typical_s)} in {starts(self.of)}"
        return f"about {about(self.left_s)} left (from {starts(self.of)})"


HANDSHAKE_S = 300.0
"""How long vLLM's engines wait for each other (vllm/v1/engine/core.py, HANDSHAKE_TIMEOUT_MINS 5, 0.21)."""
HCCL_CONNECT_S = 120.0
"""HCCL_CONNECT_TIMEOUT when it is not set."""


@dataclass(frozen=True, slots=True)
class StartSkew:
    """How far apart the ranks of a group were started, clocks of the nodes compared."""

    group: str
    seconds: float
    last: str
    """The engine that came last."""
    hccl_s: float
    """HCCL_CONNECT_TIMEOUT of the group."""

    @property
    def limit_s(self) -> float:
        """What it must stay below."""
        return min(HANDSHAKE_S, self.hccl_s)

    @property
    def late(self) -> bool:
        """Whether the first ranks may have given up before the last one came."""
        return self.seconds >= self.limit_s

    def words(self) -> str:
        """One line, with what it is to be compared with."""
        limits = f"engines wait {HANDSHAKE_S:.0f} s for each other, HCCL {self.hccl_s:.0f} s"
        late = "TOO LATE: " if self.late else ""
        return f"{late}{self.seconds:.1f} s between the first rank and {self.last}; {limits}"


def skew_of(group: str, started_at: Mapping[str, float], env: Mapping[str, str]) -> StartSkew | None:
    """The skew of ranks that started at these times, all on one clock; None for a single rank. `env`: the group's variables."""
    if len(started_at) < 2:
        return None
    written = env.get("HCCL_CONNECT_TIMEOUT", "")
    hccl = float(written) if written.isascii() and written.isdecimal() else HCCL_CONNECT_S
    last = max(started_at, key=lambda engine: started_at[engine])
    return StartSkew(group, started_at[last] - min(started_at.values()), last, hccl)
