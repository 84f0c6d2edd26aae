"""The bell: rings and shows each new alert of all clusters once, and never too often. Also shows a message,
without a bell, on what others have just done to engines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from console.model.counting import counted
from screens.styled_lines import shown

if TYPE_CHECKING:
    from console.model.alert import Alert
    from console.model.snapshot import ClusterSnapshot
    from screens.fleet import Fleet
    from screens.interaction import Interaction

GATHER_S = 3.0
"""How long an operation of somebody else may grow, engine by engine, before it is told."""
LATELY_S = 60.0
"""What was done longer ago is in the journal's pane."""
QUIET_S = 10.0
"""Least time between two bells; what comes in between is in the header and in the causes."""


class Bell:
    """Remembers which alerts were shown."""

    def __init__(self, interaction: Interaction, fleet: Fleet) -> None:
        self._interaction = interaction
        self._fleet = fleet
        self._told: frozenset[tuple[str, str]] = frozenset()
        self._rang_at: float | None = None
        self._acts: dict[tuple[str, str, str], float] = {}
        """(cluster, who, verb) -> when that was done that was told last."""

    def update(self, _snapshot: ClusterSnapshot) -> None:
        """Look at the newest snapshots of all clusters."""
        snapshots = tuple(each.snapshot for each in self._fleet.sessions)
        self._look_on(snapshots)
        found = {(each.cluster, alert.key): alert for each in snapshots for alert in each.alerts}
        new = [alert for key, alert in found.items() if key not in self._told]
        self._told = frozenset(found)
        if new:
            self._ring(new)

    def _look_on(self, snapshots: Iterable[ClusterSnapshot]) -> None:
        found = [
            (snapshot.cluster, act)
            for snapshot in snapshots
            for act in snapshot.observed_operations
            if GATHER_S <= snapshot.at - act.at < LATELY_S
        ]
        for cluster, act in found:
            key = (cluster, act.who, act.verb)
            new = act.at > self._acts.get(key, 0.0) + GATHER_S
            self._acts[key] = max(act.at, self._acts.get(key, 0.0))
            if new and act.who.partition(" (")[0] != self._me():
                words = f"{shown(act.who)}: {act.verb} of {counted(len(act.engines), 'engine')}, seen on the nodes (J)"
                self._interaction.notify(words, severity="warning", timeout=10)

    def _me(self) -> str:
        from console.journal import operator_name

        return operator_name()

    def _ring(self, new: list[Alert]) -> None:
        now = self._interaction.key_times.clock()
        if self._rang_at is not None and now - self._rang_at < QUIET_S:
            return
        self._rang_at = now
        first = min(new, key=lambda each: each.level != "error")
        more = f"; and {len(new) - 1} more" if len(new) > 1 else ""
        remedy = f"\n{first.remedy}" if first.remedy else ""
        self._interaction.ring()
        words = shown(f"{first.title}{more}") + (f"\n{shown(remedy.strip())}" if remedy else "")
        self._interaction.notify(words, title="ALERT", severity=first.level, timeout=10)
