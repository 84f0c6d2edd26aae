"""The clusters that are open together, and the one that is meant now. It knows neither rows nor keys.

A snapshot, a plan and an assignment belong to one cluster; "the session" is that of the selected cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.model.errors import UsageError

if TYPE_CHECKING:
    from console.model.plan import Plan
    from console.model.snapshot import ClusterSnapshot
    from screens.protocols import Session


class Fleet:
    """Sessions in the order in which they were named; at least one."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        names = [each.cluster.name for each in sessions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two clusters are named {twice!r}", hint="give one of them another `name` in its file")
        self.sessions = tuple(sessions)
        self.current = self.sessions[0]
        self._frozen: tuple[ClusterSnapshot, ...] | None = None

    @property
    def several(self) -> bool:
        """Whether rows must say which cluster they are of."""
        return len(self.sessions) > 1

    @property
    def snapshots(self) -> tuple[ClusterSnapshot, ...]:
        """The shown snapshot of each cluster: the newest one, or the frozen one."""
        return self._frozen or tuple(each.snapshot for each in self.sessions)

    @property
    def snapshot(self) -> ClusterSnapshot:
        """The shown snapshot of the selected cluster."""
        return self.snapshots[self.sessions.index(self.current)]

    @property
    def bad_elsewhere(self) -> int:
        """Engines an operator must look at in the clusters that are not meant."""
        others = (each for each in self.snapshots if each is not self.snapshot)
        return sum(engine.bad for each in others for engine in each.engines.values())

    @property
    def acting(self) -> Plan | None:
        """The plan that runs now, in whichever cluster."""
        return next((each.operator.running for each in self.sessions if each.operator.running is not None), None)

    @property
    def measuring(self) -> bool:
        """Whether the built-in generator measures from this machine."""
        return any(each.evaluator.local for each in self.sessions)

    @property
    def frozen(self) -> bool:
        """Whether the snapshots are frozen."""
        return self._frozen is not None

    def freeze(self) -> bool:
        """Freeze all snapshots, or unfreeze them; gives whether they are frozen now."""
        self._frozen = None if self._frozen else tuple(each.snapshot for each in self.sessions)
        return self.frozen

    def select(self, cluster: str) -> bool:
        """Mean another cluster from now on; False when there is none of that name."""
        found = next((each for each in self.sessions if each.cluster.name == cluster), None)
        if found is None:
            return False
        self.current = found
        return True

    def subscribe(self, listener: Callable[[ClusterSnapshot], None]) -> Callable[[], None]:
        """Call a listener with every new snapshot of every cluster; gives a function that ends it."""
        ends = [each.subscribe(listener) for each in self.sessions]

        def end() -> None:
            for each in ends:
                each()

        return end
