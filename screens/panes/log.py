"""The log pane: the local copies of the logs of engines, and the keys to read them. `screens.logs` does the work."""

from __future__ import annotations

from typing import ClassVar

from screens.actions import bindings
from screens.logs.display import Display
from screens.logs.extraction import Extraction
from screens.logs.filters import Filters
from screens.logs.navigation import Navigation
from screens.logs.view import LogView
from screens.widgets import Verbs


class LogPane(LogView, can_focus=True):
    """A viewer over files that grow."""

    place: ClassVar[str] = "log"
    BINDINGS: ClassVar = bindings("log", "verb")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.navigation = Navigation(self)
        self.filters = Filters(self)
        self.extraction = Extraction(self)
        self.display_keys = Display(self)

    def verbs(self) -> Verbs:
        """Everything the log's keys do."""
        parts = (self.navigation, self.filters, self.extraction, self.display_keys)
        return {
            **{name: verb for part in parts for name, verb in part.verbs().items()},
            "previous-run": self.earlier,
        }

    def move(self, by: int) -> None:
        """So many rows."""
        self.navigation.move(by)

    def clipping(self) -> str:
        """What `y` copies."""
        return self.extraction.clipping()

    def look_for(self, text: str) -> None:
        """Search; empty ends it."""
        self.navigation.look_for(text)

    def filter(self, text: str) -> None:
        """Add a filter; empty takes all away."""
        self.filters.filter(text)

    def back(self) -> bool:
        """One thing less: the selection, the search, the filters, the earlier run; False when there was none of them."""
        if self.extraction.unselect():
            return True
        if self.window is not None and self.window.needle is not None:
            self.look_for("")
            return True
        if self.sieve:
            self.filter("")
            return True
        if self.earlier_run and self.moment is not None:
            self.run_name = None
            self.take(self.moment)
            return True
        return False

    def earlier(self) -> None:
        """The run before the one shown; from the oldest back to the current one."""
        if self.moment is None or self.engine is None:
            return
        if self.several:
            self.notify("merged logs show the current runs; M shows one engine alone", markup=False)
            return
        runs = self.moment.session.logs.runs(self.engine)
        current = self.run_name or (runs[0] if runs else None)
        position = runs.index(current) + 1 if current in runs else len(runs)
        self.run_name = runs[position] if position < len(runs) else None
        if self.run_name is None:
            self.notify(
                "the current run; there is no earlier one" if len(runs) < 2 else "back at the current run", markup=False
            )
        self.take(self.moment)
