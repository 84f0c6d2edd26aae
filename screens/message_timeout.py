"""When words said in passing have been read: the first key after a while takes them away and brings the footer back."""

from __future__ import annotations

from collections.abc import Callable

READ_S = 2.0
"""How long they stay whatever is pressed."""


class MessageTimeout:
    """The newest of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said_at: float | None = None

    def said(self) -> None:
        """Something is said."""
        self._said_at = self._clock()

    def over(self) -> bool:
        """Whether there is something that can have been read."""
        return self._said_at is not None and self._clock() - self._said_at >= READ_S

    def gone(self) -> None:
        """Nothing of it stands there any more."""
        self._said_at = None
