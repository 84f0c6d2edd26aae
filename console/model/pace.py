"""How long the start of a group takes, against earlier starts of the same shape. How that is measured does not enter here."""

from __future__ import annotations

from dataclasses import dataclass


def about(value_s: float) -> str:
    """A time nobody should set a watch by: `40 s`, `2 min`, `1 h 10 min`."""
    if value_s < 115:
        step = 5 if value_s < 60 else 15
        return f"{max(step, round(value_s / step) * step)} s"
    minutes = round(value_s / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def starts(count: int) -> str:
    """`1 earlier start`, `4 earlier starts`."""
    return f"{count} earlier start" + ("s" if count != 1 else "")


@dataclass(frozen=True, slots=True)
class Pace:
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
