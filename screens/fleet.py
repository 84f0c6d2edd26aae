"""The open clusters, and the selected one. Does not know rows or keys.

A snapshot, a plan and an assignment belong to one cluster; "the session" is that of the selected cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.model.errors import UsageError

if TYPE_CHECKING:
    from console.model.plan import Plan
    from console.model.snapshot import ClusterSnapshot
    from console.services.recordings.replay import ReplayPosition
    from screens.protocols import Session


def uniquely_named(sessions: Sequence[Session]) -> tuple[Session, ...]:
    """These sessions. Raises UsageError when two of them have clusters of one name."""
    names = [each.cluster.name for each in sessions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two clusters are named {twice!r}", hint="give one of them another `name` in its file")
    return tuple(sessions)


class Fleet:
    """Sessions in the order in which they were named; none before the files are read."""

    def __init__(self) -> None:
        self.sessions: tuple[Session, ...] = ()
        self.on_snapshot: Callable[[ClusterSnapshot], None] = lambda snapshot: None
        """Called with every new snapshot of every cluster."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when other clusters are shown, or when snapshots are frozen or not any more."""
        self._current: Session | None = None
        self._frozen: tuple[ClusterSnapshot, ...] = ()
        self._ends: tuple[Callable[[], None], ...] = ()

    async def show(self, sessions: Sequence[Session]) -> None:
        """Show these clusters from now on and start to connect; those that were shown before are closed.

        The selected cluster stays selected where it is still there.
        """
        before, meant = self.sessions, self._current
        self._unsubscribe()
        self.sessions, self._current, self._frozen = tuple(sessions), sessions[0], ()
        if meant is not None:
            self.select(meant.cluster.name)
        self._ends = tuple(each.subscribe(self._take) for each in self.sessions)
        self.on_change()
        for each in before:
            await each.close()
        for each in self.sessions:
            await each.open()

    async def close(self) -> None:
        """Let all nodes go; engines stay."""
        self._unsubscribe()
        for each in self.sessions:
            await each.close()

    def _unsubscribe(self) -> None:
        for end in self._ends:
            end()
        self._ends = ()

    def _take(self, snapshot: ClusterSnapshot) -> None:
        self.on_snapshot(snapshot)

    @property
    def opened(self) -> bool:
        """Whether any cluster is shown; `session` and `snapshot` exist only then."""
        return bool(self.sessions)

    @property
    def session(self) -> Session:
        """The selected cluster."""
        assert self._current is not None
        return self._current

    @property
    def snapshot(self) -> ClusterSnapshot:
        """The shown snapshot of the selected cluster: the newest one, or the frozen one."""
        return self.snapshots[self.sessions.index(self.session)]

    @property
    def snapshots(self) -> tuple[ClusterSnapshot, ...]:
        """The shown snapshot of each cluster."""
        return self._frozen or tuple(each.snapshot for each in self.sessions)

    @property
    def several(self) -> bool:
        """Whether rows must say which cluster they are of."""
        return len(self.sessions) > 1

    @property
    def bad_elsewhere(self) -> int:
        """Engines an operator must look at in the clusters that are not selected."""
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
    def replay(self) -> ReplayPosition | None:
        """The position in the recording, where the selected cluster is a replay."""
        from console.services.recordings.replay import Replay  # its code is there once any session is

        return self._current.tape if isinstance(self._current, Replay) else None

    @property
    def frozen(self) -> bool:
        """Whether the snapshots are frozen."""
        return bool(self._frozen)

    def freeze(self) -> bool:
        """Freeze all snapshots, or unfreeze them; gives whether they are frozen now."""
        self._frozen = () if self._frozen else tuple(each.snapshot for each in self.sessions)
        self.on_change()
        return self.frozen

    def select(self, cluster: str) -> bool:
        """Select a cluster by name; False when there is none of that name."""
        found = next((each for each in self.sessions if each.cluster.name == cluster), None)
        if found is None:
            return False
        self._current = found
        return True
