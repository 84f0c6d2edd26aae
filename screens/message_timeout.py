"""When a message has been read: the first key after a while removes it and shows the footer again."""

from __future__ import annotations

from collections.abc import Callable

READ_S = 2.0
"""How long a message stays, whatever key is pressed (seconds)."""


class MessageTimeout:
    """The time of the newest message."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shown_at: float | None = None

    def shown(self) -> None:
        """A message is shown."""
        self._shown_at = self._clock()

    def over(self) -> bool:
        """Whether a message is shown that the operator has had time to read."""
        return self._shown_at is not None and self._clock() - self._shown_at >= READ_S

    def gone(self) -> None:
        """No message is shown any more."""
        self._shown_at = None
