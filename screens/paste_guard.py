"""Detects a burst of keys, because pasted text must never start an operation.

Knows nothing of what keys mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

BURST_S = 0.05
BURST_KEYS = 3
"""So many keys within `BURST_S` are a paste without brackets, or a terminal that has lost its mind."""
QUIET_S = 0.06
"""How long the keyboard must have been still before a key that confirms."""
OPENED_S = 0.3
"""How long a dialog ignores keys after it has opened."""
CALM_S = 0.5
"""How long after a burst nothing dangerous is started: the rest of the paste may come in a second piece."""

TOO_FAST = "ignored: keys came too fast to be meant"


class KeyTimes:
    """When keys came, newest last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._times: deque[float] = deque(maxlen=BURST_KEYS)
        self._burst_at: float | None = None

    def note(self) -> float:
        """A key came; gives when."""
        now = self.clock()
        self._times.append(now)
        if len(self._times) == BURST_KEYS and now - self._times[0] < BURST_S:
            self._burst_at = now
        return now

    @property
    def burst(self) -> bool:
        """Whether keys come, or have just come, faster than fingers."""
        return self._burst_at is not None and self.clock() - self._burst_at < CALM_S

    @property
    def quiet(self) -> bool:
        """Whether the newest key came after a pause, and no burst is on."""
        calm = len(self._times) < 2 or self._times[-1] - self._times[-2] >= QUIET_S
        return calm and not self.burst
