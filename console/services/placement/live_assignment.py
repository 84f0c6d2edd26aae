"""Changes which node runs which group in a live session. Refused while engines run on a place that would change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from console.files import load_assignment
from console.model.deployment import Assignment, Deployment
from console.model.errors import FileError, Refused
from console.model.snapshot import ClusterSnapshot, Device, EventLevel
from console.services.monitoring.monitor import Monitor
from console.services.placement.edits import AssignmentHistory
from console.services.placement.undo_history import keep, load_history

Change = Callable[[Deployment], Deployment]
"""An operation of `console.services.placement.edits`, its other arguments bound."""


class LiveAssignment:
    """The assignment of one session, its file, and its way back."""

    def __init__(self, monitor: Monitor, path: Path) -> None:
        self._monitor = monitor
        self._path = path
        self._history = load_history(path, monitor.deployment)

    def change(self, operation: Change, *, by_plan: bool = False) -> None:
        """Do one operation as one step that can be taken back; saved at once.

        Raises what the operation raises, and Refused while an engine of ours runs on a place that would change, or while
        a plan runs that does not do it itself (`by_plan`).
        """
        made = operation(self._monitor.deployment)
        if made.assignment == self._monitor.deployment.assignment:
            return
        self._take(made, self._history.changed(made.assignment), by_plan)

    def change_by_plan(self, operation: Change) -> None:
        """The same for the plan that runs."""
        self.change(operation, by_plan=True)

    def keep(self) -> None:
        """Write down which node runs which group now; what another console kept meanwhile is one step back.

        Raises ConsoleError.
        """
        if self._monitor.read_only:
            return
        try:
            saved = load_assignment(self._path) if self._path.exists() else None
        except FileError:
            saved = None
        if saved == self._history.now:
            return
        if saved is not None:
            before = load_history(self._path, reassigned(self._monitor.deployment, saved))
            self._history = before.changed(self._history.now)
        keep(self._path, self._history)

    def undo(self) -> bool:
        """Take the last change back; False when there is none."""
        return self._go(self._history.undone())

    def redo(self) -> bool:
        """Make a change again that was taken back; False when there is none."""
        return self._go(self._history.redone())

    def free_devices(self) -> Mapping[str, int]:
        """Devices of each node that nobody uses, as far as that is known."""
        return free_devices(self._monitor.snapshot)

    def _go(self, history: AssignmentHistory) -> bool:
        if history is self._history or history.now == self._history.now:
            return False
        now = self._monitor.deployment
        self._take(reassigned(now, history.now), history)
        return True

    def _take(self, made: Deployment, history: AssignmentHistory, by_plan: bool = False) -> None:
        if not by_plan:
            self._monitor.current_deployment.must_be_free()
        _must_be_idle(self._monitor.deployment, made, self._monitor.snapshot)
        if not self._monitor.read_only:  # what a look at a cluster tries out is nobody else's
            keep(self._path, history)
        self._history = history
        self._monitor.current_deployment.change(made, by_plan=by_plan)
        shown = "; ".join(f"{group}: {', '.join(nodes) or '-'}" for group, nodes in made.assignment.nodes.items())
        self._monitor.note(EventLevel.INFO, f"assignment is now {shown}")
        self._monitor.publish()


def free_devices(snapshot: ClusterSnapshot) -> Mapping[str, int]:
    """Devices of each node that nobody uses, as far as that is known."""
    return {
        name: sum(_free(device) for device in node.devices) for name, node in snapshot.nodes.items() if node.devices
    }


def reassigned(deployment: Deployment, after: Assignment) -> Deployment:
    """The deployment with another assignment."""
    return Deployment(deployment.cluster, deployment.layout.written or deployment.layout, after)


def _free(device: Device) -> bool:
    return device.processes_known and not device.processes


def _must_be_idle(before: Deployment, after: Deployment, snapshot: ClusterSnapshot) -> None:
    """A place keeps its ranks while engines of them run: the numbers on the screen must be those of the processes."""
    new = {rank.id: (rank.node, rank.devices, rank.port) for rank in after.ranks()}
    for rank in before.ranks():
        seen = snapshot.engines.get(rank.id)
        moved = new.get(rank.id) != (rank.node, rank.devices, rank.port)
        if moved and seen is not None and seen.run and seen.state.alive:
            raise Refused(f"{rank.id} runs on {rank.node}", hint="stop it before you change its place")
