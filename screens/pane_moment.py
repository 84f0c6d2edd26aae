"""The data that a pane draws: a snapshot, and the selected row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot, EngineSnapshot, NodeSnapshot
    from screens.protocols import Session


@dataclass(frozen=True, slots=True)
class Target:
    """What the operator's cursor is on: a node, or one engine of it, or a group."""

    node: str | None = None
    engine: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class PaneMoment:
    """The moment a pane draws."""

    snapshot: ClusterSnapshot
    target: Target
    session: Session

    @property
    def node(self) -> NodeSnapshot | None:
        """The node the cursor is on."""
        return self.snapshot.nodes.get(self.target.node) if self.target.node else None

    @property
    def engines(self) -> tuple[EngineSnapshot, ...]:
        """The engine the cursor is on, else those of its node or group."""
        if self.target.engine:
            found = self.snapshot.engines.get(self.target.engine)
            return (found,) if found else ()
        if self.target.group:
            return tuple(each for each in self.snapshot.engines.values() if each.group == self.target.group)
        return self.snapshot.engines_on(self.target.node) if self.target.node else ()
