"""The deployment of one session: what counts now, who may change it, and what nodes tell of their addresses."""

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
    """Cluster, layout and assignment as they count now. They stay as they are while a plan runs."""

    def __init__(self, deployment: Deployment, nodes: Mapping[str, NodeRecord], note: Note) -> None:
        self.now = deployment
        self._nodes = nodes
        self._note = note
        self._held = ""
        self._refused: set[tuple[str, str]] = set()

    def change(self, deployment: Deployment, *, by_plan: bool = False) -> None:
        """Have another one count. Raises Refused while a plan runs, unless that plan does it itself."""
        if not by_plan:
            self.must_be_free()
        self.now = deployment

    def must_be_free(self) -> None:
        """Raises Refused while a plan runs: what it does was worked out from the deployment, and shown so."""
        if self._held:
            text = f"{self._held} is running: nodes, groups and addresses stay as they are until it ends"
            raise Refused(text, hint="wait for its end, or have it start no more steps (c in the Plan pane)")

    @contextlib.contextmanager
    def holding(self, what: str) -> Iterator[None]:
        """Keep it as it is while a plan (`a start`) runs; addresses that nodes tell meanwhile count afterwards."""
        self._held = what
        try:
            yield
        finally:
            self._held = ""
            for record in self._nodes.values():
                self.learn_address(record)

    def learn_address(self, record: NodeRecord) -> None:
        """A node written down by name without `ip` serves at the address it reports for itself."""
        told = record.host.ssh_address
        if self._held or not told or record.node.ip is not None or is_address(record.node.host):
            return
        if owner := self._owner(told, record.node.name):
            if (record.node.name, told) not in self._refused:
                self._refused.add((record.node.name, told))
                text = f"says that it serves at {told}, which is {owner}'s; not believed: set `ip` of the node"
                self._note(EventLevel.ERROR, text, node=record.node.name)
            return
        record.node = record.node.model_copy(update={"ip": told})
        was = self.now
        nodes = {**was.cluster.nodes, record.node.name: record.node}
        cluster = was.cluster.model_copy(update={"nodes": nodes})
        self.now = Deployment(cluster, was.layout.written or was.layout, was.assignment)
        self._note(EventLevel.INFO, f"serves at {told}, as it says", node=record.node.name)

    def _owner(self, address: str, asking: str) -> str:
        """Another node that is known by this address; no node takes it from it by its word alone."""
        for name, node in self.now.cluster.nodes.items():
            if name != asking and address in (node.ip, node.host):
                return name
        return ""
