"""Holds the current deployment of one session, locks it while a plan runs, and learns addresses that nodes report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Protocol

from console.model.deployment import Deployment, is_address
from console.model.errors import Refused
from console.model.snapshot import EventLevel
from console.services.monitoring.records import NodeRecord


class Note(Protocol):
    """Adds an event to the snapshot."""

    def __call__(self, level: EventLevel, text: str, *, node: str = "") -> None: ...


class CurrentDeployment:
    """The current cluster, layout and assignment. They cannot change while a plan runs."""

    def __init__(self, deployment: Deployment, nodes: Mapping[str, NodeRecord], note: Note) -> None:
        self.current = deployment
        self._nodes = nodes
        self._note = note
        self._locked_by = ""
        self._refused: set[tuple[str, str]] = set()

    def change(self, deployment: Deployment, *, by_plan: bool = False) -> None:
        """Replace the deployment. Raises Refused while a plan runs, unless that plan makes the change."""
        if not by_plan:
            self.require_unlocked()
        self.current = deployment

    def require_unlocked(self) -> None:
        """Raises Refused while a plan runs, because the plan was made from the current deployment."""
        if self._locked_by:
            text = f"{self._locked_by} is running: nodes, groups and addresses cannot change until it ends"
            raise Refused(text, hint="wait until it ends, or cancel its further steps (c in the Plan pane)")

    @contextlib.contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Lock the deployment while a plan (`a start`) runs; addresses reported meanwhile are applied afterwards."""
        self._locked_by = what
        try:
            yield
        finally:
            self._locked_by = ""
            for record in self._nodes.values():
                self.learn_address(record)

    def learn_address(self, record: NodeRecord) -> None:
        """Use the address that a node reports, when its cluster file entry has a host name and no `ip`."""
        reported = record.host.ssh_address
        if self._locked_by or not reported or record.node.ip is not None or is_address(record.node.host):
            return
        if owner := self._owner(reported, record.node.name):
            if (record.node.name, reported) not in self._refused:
                self._refused.add((record.node.name, reported))
                text = f"reports the address {reported}, which belongs to {owner}; ignored: set `ip` of the node"
                self._note(EventLevel.ERROR, text, node=record.node.name)
            return
        record.node = record.node.model_copy(update={"ip": reported})
        previous = self.current
        nodes = {**previous.cluster.nodes, record.node.name: record.node}
        cluster = previous.cluster.model_copy(update={"nodes": nodes})
        self.current = Deployment(cluster, previous.layout.written or previous.layout, previous.assignment)
        self._note(EventLevel.INFO, f"reports the address {reported}", node=record.node.name)

    def _owner(self, address: str, asking: str) -> str:
        """Another node with this address; a node cannot claim it by its own report."""
        for name, node in self.current.cluster.nodes.items():
            if name != asking and address in (node.ip, node.host):
                return name
        return ""
