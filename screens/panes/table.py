"""The table of panes. A new pane is one class and one row here; its module is loaded when the first frame is painted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from screens.panes.base import Pane
    from screens.panes.log import LogPane

AnyPane = TypeVar("AnyPane", bound="Pane | LogPane")


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


class Panes(Mapping[str, "Pane | LogPane"]):
    """The panes of the screen by id, and which of them is open; there is none before `load`."""

    def __init__(self) -> None:
        self._by_id: dict[str, Pane | LogPane] = {}
        self.opened = PANES[0].id
        """Id of the open pane."""
        self.on_open: Callable[[], None] = lambda: None
        """Called when a pane was opened."""

    def load(self) -> None:
        """Make all panes of the table; all but the open one are hidden."""
        self._by_id = {entry.id: entry.make() for entry in PANES}
        self._show_opened()

    def open(self, name: str) -> None:
        """Show a pane by id instead of the one that is open."""
        self.opened = name
        self._show_opened()
        self.on_open()

    def _show_opened(self) -> None:
        for name, pane in self._by_id.items():
            pane.display = name == self.opened

    @property
    def current(self) -> Pane | LogPane:
        """The open pane."""
        return self._by_id[self.opened]

    def of(self, kind: type[AnyPane]) -> AnyPane:
        """The pane of this class."""
        return next(pane for pane in self._by_id.values() if isinstance(pane, kind))

    def __getitem__(self, name: str) -> Pane | LogPane:
        return self._by_id[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)
