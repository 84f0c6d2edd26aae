"""Keeps one node from filling the list of events: after so many in a minute the rest is left out, which is said once."""

from __future__ import annotations

MOST = 200
"""Events of one node in a minute; a start of sixteen engines makes a few dozen."""
WINDOW_S = 60.0


class EventLimit:
    """Counts the events of each node."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}
        """Node -> since when is counted, and how many there were."""

    def take(self, node: str, text: str, now: float) -> str | None:
        """The text to add, which for the first event too many says so; None for those after it."""
        since, count = self._windows.get(node, (now, 0))
        if now - since >= WINDOW_S:
            since, count = now, 0
        self._windows[node] = since, count + 1
        if count < MOST:
            return text
        return f"more than {MOST} events in a minute: the rest of this minute is left out" if count == MOST else None
