"""The bell: rings and says what is new among the alerts of all clusters, once each, and never in a storm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from screens.lines import shown

if TYPE_CHECKING:
    from console.model.alert import Alert
    from console.model.snapshot import ClusterSnapshot
    from screens.main import MainScreen

QUIET_S = 10.0
"""Least time between two bells; what comes in between is in the header and in the causes."""


class Alarm:
    """Remembers which alerts were told."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen
        self._told: frozenset[tuple[str, str]] = frozenset()
        self._rang_at: float | None = None

    def hear(self, pictures: Iterable[ClusterSnapshot]) -> None:
        """Take the pictures of a moment."""
        found = {(each.cluster, alert.key): alert for each in pictures for alert in each.alerts}
        new = [alert for key, alert in found.items() if key not in self._told]
        self._told = frozenset(found)
        if new:
            self._ring(new)

    def _ring(self, new: list[Alert]) -> None:
        now = self._screen.console.keys.clock()
        if self._rang_at is not None and now - self._rang_at < QUIET_S:
            return
        self._rang_at = now
        first = min(new, key=lambda each: each.level != "error")
        more = f"; and {len(new) - 1} more" if len(new) > 1 else ""
        remedy = f"\n{first.remedy}" if first.remedy else ""
        self._screen.app.bell()
        words = shown(f"{first.title}{more}") + (f"\n{shown(remedy.strip())}" if remedy else "")
        self._screen.notify(words, title="ALERT", severity=first.level, markup=False, timeout=10)
