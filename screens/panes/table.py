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
    part: str
    """What it is about: `selection`, what the cursor is on; `deployment`; `tools`."""
    place: str
    """`MODULE:CLASS` below `screens`; the class takes its id."""

    @property
    def action(self) -> str:
        """The action that opens it."""
        return f"pane-{self.id}"

    def make(self) -> Pane | LogPane:
        """The pane, its module loaded now if nobody did before."""
        module, _, name = self.place.partition(":")
        return cast("Pane | LogPane", getattr(import_module(f"screens.{module}"), name)(id=self.id))


PANES: tuple[PaneEntry, ...] = (
    PaneEntry("logs", "Logs", "selection", "panes.log:LogPane"),
    PaneEntry("npus", "NPUs", "selection", "panes.npus:NpuPane"),
    PaneEntry("health", "Health", "selection", "panes.health:HealthPane"),
    PaneEntry("metrics", "Metrics", "selection", "panes.metrics:MetricsPane"),
    PaneEntry("diagnosis", "Diagnosis", "selection", "panes.diagnosis:DiagnosisPane"),
    PaneEntry("roles", "Roles", "deployment", "panes.roles:RolePane"),
    PaneEntry("plan", "Plan", "deployment", "panes.plan:PlanPane"),
    PaneEntry("events", "Events", "deployment", "panes.events:EventPane"),
    PaneEntry("preflight", "Preflight", "deployment", "panes.preflight:PreflightPane"),
    PaneEntry("verify", "Verify", "tools", "panes.verify:VerifyPane"),
    PaneEntry("evaluation", "Bench", "tools", "panes.evaluation:EvaluationPane"),
    PaneEntry("journal", "Journal", "tools", "panes.journal:JournalPane"),
)
"""In the order of the tabs. Their digit keys start at 2 and end with 0, for 1 is the grid; tools have letters."""
