"""Progress of the start of a group compared with earlier starts, and the start skew of its ranks. Does not measure anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from console.model.counting import counted
from console.model.durations import about


@dataclass(frozen=True, slots=True)
class UsualDuration:
    """How long earlier starts of a group took."""

    seconds: float
    """The median."""
    of: int
    """The number of starts in the median."""


@dataclass(frozen=True, slots=True)
class StartProgress:
    """The progress of the start of one group."""

    group: str
    elapsed_s: float
    """Since its first rank was started."""
    left_s: float | None
    """Until its last rank should be ready; None when no earlier start is known, 0 when all of them were faster."""
    of: int
    """The number of earlier starts that the estimate is based on."""
    typical_s: float | None = None
    """The median of the earlier starts."""

    def words(self) -> str:
        """The remaining time as text, or that no earlier start is known."""
        if self.left_s is None or self.typical_s is None:
            return "no estimate: no earlier start of this size is known"
        if self.left_s <= 0:
            return f"longer than usual: {about(self.typical_s)} in {counted(self.of, 'earlier start')}"
        return f"about {about(self.left_s)} left (from {counted(self.of, 'earlier start')})"


HANDSHAKE_S = 300.0
"""How long vLLM's engines wait for each other (vllm/v1/engine/core.py, HANDSHAKE_TIMEOUT_MINS 5, 0.21)."""
HCCL_CONNECT_S = 120.0
"""HCCL_CONNECT_TIMEOUT when it is not set."""


@dataclass(frozen=True, slots=True)
class StartSkew:
    """The time between the first and the last start of a rank of a group, corrected by the clocks of the nodes."""

    group: str
    seconds: float
    last: str
    """The engine that started last."""
    hccl_s: float
    """HCCL_CONNECT_TIMEOUT of the group."""

    @property
    def limit_s(self) -> float:
        """The skew must be less than this."""
        return min(HANDSHAKE_S, self.hccl_s)

    @property
    def late(self) -> bool:
        """Whether the first ranks may have stopped waiting before the last one started."""
        return self.seconds >= self.limit_s

    def words(self) -> str:
        """The skew and its limits, on one line."""
        limits = f"engines wait {HANDSHAKE_S:.0f} s for each other, HCCL {self.hccl_s:.0f} s"
        late = "TOO LATE: " if self.late else ""
        return f"{late}{self.seconds:.1f} s between the first rank and {self.last}; {limits}"


def skew_of(group: str, started_at: Mapping[str, float], env: Mapping[str, str]) -> StartSkew | None:
    """The skew of ranks (engine → start time on one clock); None for fewer than two. `env` holds the variables of the group."""
    if len(started_at) < 2:
        return None
    written = env.get("HCCL_CONNECT_TIMEOUT", "")
    hccl = float(written) if written.isascii() and written.isdecimal() else HCCL_CONNECT_S
    last = max(started_at, key=lambda engine: started_at[engine])
    return StartSkew(group, started_at[last] - min(started_at.values()), last, hccl)
