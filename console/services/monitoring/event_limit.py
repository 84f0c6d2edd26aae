"""Limits the events of one node in a minute, so that it cannot fill the list of events."""

from __future__ import annotations

MOST = 200
"""Events of one node in a minute; the start of sixteen engines makes a few dozen."""
WINDOW_S = 60.0


class EventLimit:
    """Counts the events of each node."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}
        """Node -> start of its time window, and number of events in it."""

    def admit(self, node: str, text: str, now: float) -> str | None:
        """The text to add: `text`, or a note about the limit for the first event above it; None for later events."""
        since, count = self._windows.get(node, (now, 0))
        if now - since >= WINDOW_S:
            since, count = now, 0
        self._windows[node] = since, count + 1
        if count < MOST:
            return text
        return (
            f"more than {MOST} events in a minute: further events of this minute are dropped" if count == MOST else None
        )
