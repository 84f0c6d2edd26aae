"""The table of panes. A new pane is one class and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from screens.panes.base import Pane
from screens.panes.diagnosis import DiagnosisPane
from screens.panes.evaluation import EvaluationPane
from screens.panes.events import EventPane
from screens.panes.health import HealthPane
from screens.panes.log import LogPane
from screens.panes.metrics import MetricsPane
from screens.panes.npus import NpuPane
from screens.panes.plan import PlanPane
from screens.panes.preflight import PreflightPane
from screens.panes.roles import RolePane


@dataclass(frozen=True, slots=True)
class PaneEntry:
    """One tab."""

    id: str
    title: str
    make: Callable[[], Pane | LogPane]


PANES: tuple[PaneEntry, ...] = (
    PaneEntry("logs", "Logs", lambda: LogPane(id="logs")),
    PaneEntry("npus", "NPUs", lambda: NpuPane(id="npus")),
    PaneEntry("health", "Health", lambda: HealthPane(id="health")),
    PaneEntry("events", "Events", lambda: EventPane(id="events")),
    PaneEntry("plan", "Plan", lambda: PlanPane(id="plan")),
    PaneEntry("roles", "Roles", lambda: RolePane(id="roles")),
    PaneEntry("preflight", "Check", lambda: PreflightPane(id="preflight")),
    PaneEntry("metrics", "Metrics", lambda: MetricsPane(id="metrics")),
    PaneEntry("diagnosis", "Causes", lambda: DiagnosisPane(id="diagnosis")),
    PaneEntry("evaluation", "Bench", lambda: EvaluationPane(id="evaluation")),
)
"""In the order of the tabs; digit keys begin at 2, for 1 is the grid; the tenth is 0, and those behind it have letters."""
