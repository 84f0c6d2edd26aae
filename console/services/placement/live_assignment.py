"""Changes the assignment of a live session. Refuses to move ranks while their engines run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from console.files import load_assignment
from console.model.deployment import Assignment, Deployment
from console.model.errors import FileError, Refused
from console.model.snapshot import ClusterSnapshot, Device, EventLevel
from console.services.monitoring.monitor import Monitor
from console.services.placement.edits import AssignmentHistory
from console.services.placement.undo_history import load_history, save

Change = Callable[[Deployment], Deployment]
"""An operation of `console.services.placement.edits` with its other arguments bound."""


class LiveAssignment:
    """The assignment of one session, with its file and its history."""

    def __init__(self, monitor: Monitor, path: Path) -> None:
        self._monitor = monitor
        self._path = path
        self._history = load_history(path, monitor.deployment)

    def change(self, operation: Change, *, by_plan: bool = False) -> None:
        """Apply one operation as one undoable change and save it.

        Raises what the operation raises, and Refused while an engine runs whose rank would move, or while a plan runs that
        does not make this change itself (`by_plan`).
        """
        made = operation(self._monitor.deployment)
        if made.assignment == self._monitor.deployment.assignment:
            return
        self._apply(made, self._history.changed(made.assignment), by_plan)

    def change_by_plan(self, operation: Change) -> None:
        """Apply an operation of the running plan."""
        self.change(operation, by_plan=True)

    def save(self) -> None:
        """Save the present assignment. An assignment that another console saved meanwhile becomes the previous one.

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
        save(self._path, self._history)

    def undo(self) -> bool:
        """Undo the last change; False without one."""
        return self._restore(self._history.undone())

    def redo(self) -> bool:
        """Redo an undone change; False without one."""
        return self._restore(self._history.redone())

    def free_devices(self) -> Mapping[str, int]:
        """The number of unused devices of each node, where known."""
        return free_devices(self._monitor.snapshot)

    def _restore(self, history: AssignmentHistory) -> bool:
        if history is self._history or history.now == self._history.now:
            return False
        now = self._monitor.deployment
        self._apply(reassigned(now, history.now), history)
        return True

    def _apply(self, made: Deployment, history: AssignmentHistory, by_plan: bool = False) -> None:
        if not by_plan:
            self._monitor.current_deployment.require_unlocked()
        _require_idle(self._monitor.deployment, made, self._monitor.snapshot)
        if not self._monitor.read_only:  # a read-only session saves nothing
            save(self._path, history)
        self._history = history
        self._monitor.current_deployment.change(made, by_plan=by_plan)
        shown = "; ".join(f"{group}: {', '.join(nodes) or '-'}" for group, nodes in made.assignment.nodes.items())
        self._monitor.note(EventLevel.INFO, f"assignment is now {shown}")
        self._monitor.publish()


def free_devices(snapshot: ClusterSnapshot) -> Mapping[str, int]:
    """The number of unused devices of each node, where known."""
    return {
        name: sum(_free(device) for device in node.devices) for name, node in snapshot.nodes.items() if node.devices
    }


def reassigned(deployment: Deployment, after: Assignment) -> Deployment:
    """The deployment with another assignment."""
    return Deployment(deployment.cluster, deployment.layout.written or deployment.layout, after)


def _free(device: Device) -> bool:
    return device.processes_known and not device.processes


def _require_idle(before: Deployment, after: Deployment, snapshot: ClusterSnapshot) -> None:
    """Raises Refused when a rank with a running engine would move."""
    new = {rank.id: (rank.node, rank.devices, rank.port) for rank in after.ranks()}
    for rank in before.ranks():
        seen = snapshot.engines.get(rank.id)
        moved = new.get(rank.id) != (rank.node, rank.devices, rank.port)
        if moved and seen is not None and seen.run and seen.state.alive:
            raise Refused(f"{rank.id} runs on {rank.node}", hint="stop it before you move its rank")
