"""When words said in passing have been read: they lie over rows, so the first key after a while takes them away."""

from __future__ import annotations

from collections.abc import Callable

READ_S = 2.0
"""How long they stay whatever is pressed."""


class MessageTimeout:
    """The newest of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said_at: float | None = None
        self._words = ""

    def said(self, words: str) -> bool:
        """Something is said; False when just that stands there already, as in a paste that is refused key by key."""
        now = self._clock()
        if words == self._words and self._said_at is not None and now - self._said_at < READ_S:
            return False
        self._words, self._said_at = words, now
        return True

    def over(self) -> bool:
        """Whether there is something that can have been read."""
        return self._said_at is not None and self._clock() - self._said_at >= READ_S

    def gone(self) -> None:
        """Nothing of it stands there any more."""
        self._said_at = None
