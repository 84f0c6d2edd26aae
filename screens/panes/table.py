"""The table of panes. A new pane is one class and one row here; its module is loaded when the first frame is painted."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from screens.panes.base import Pane
    from screens.panes.log import LogPane


@dataclass(frozen=True, slots=True)
class PaneEntry:
    """One tab."""

    id: str
    title: str
    place: str
    """`MODULE:CLASS` below `screens`; the class takes its id."""

    def make(self) -> Pane | LogPane:
        """The pane, its module loaded now if nobody did before."""
        module, _, name = self.place.partition(":")
        return cast("Pane | LogPane", getattr(import_module(f"screens.{module}"), name)(id=self.id))


PANES: tuple[PaneEntry, ...] = (
    PaneEntry("logs", "Logs", "panes.log:LogPane"),
    PaneEntry("npus", "NPUs", "panes.npus:NpuPane"),
    PaneEntry("health", "Health", "panes.health:HealthPane"),
    PaneEntry("events", "Events", "panes.events:EventPane"),
    PaneEntry("plan", "Plan", "panes.plan:PlanPane"),
    PaneEntry("roles", "Roles", "panes.roles:RolePane"),
    PaneEntry("preflight", "Preflight", "panes.preflight:PreflightPane"),
    PaneEntry("metrics", "Metrics", "panes.metrics:MetricsPane"),
    PaneEntry("diagnosis", "Diagnosis", "panes.diagnosis:DiagnosisPane"),
    PaneEntry("evaluation", "Bench", "panes.evaluation:EvaluationPane"),
    PaneEntry("journal", "Journal", "panes.journal:JournalPane"),
    PaneEntry("verify", "Verify", "panes.verify:VerifyPane"),
)
"""In the order of the tabs; digit keys start at 2, for 1 is the grid; the tenth is 0, and those behind it have letters."""
