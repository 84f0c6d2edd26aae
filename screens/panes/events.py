"""The events pane: what happened, newest last, with the whole text of the one under the cursor."""

from __future__ import annotations

import time

from console.model.snapshot import Event, EventLevel
from screens.panes.base import Pane, PaneMoment
from screens.styled_lines import Line, Row, fit, shown

_ROLES = {EventLevel.INFO: "plain", EventLevel.WARNING: "warn", EventLevel.ERROR: "fail"}
_SIGNS = {EventLevel.INFO: " ", EventLevel.WARNING: "!", EventLevel.ERROR: "X"}


class EventPane(Pane):
    """A list that stays at its end until the reader goes up."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.empty = "nothing has happened yet"
        self._at_end = True

    def draw_moment(self, moment: PaneMoment) -> None:
        """All events, or those that match."""
        rows = [Row(f"event/{event.seq}", _line(event)) for event in moment.snapshot.events]
        if self.needle:
            needle = self.needle.casefold()
            rows = [row for row in rows if needle in "".join(text for text, _ in row.line).casefold()]
        if self._at_end:
            self.offset_row = max(0, len(rows) - self.visible_rows)
        self.show(rows)

    def moved(self) -> None:
        """Going up holds the list still, reaching the end lets it run."""
        self._at_end = self.offset_row >= len(self.rows) - self.visible_rows

    def title(self) -> Line:
        """How many there are."""
        count = len(self.moment.snapshot.events) if self.moment else 0
        return (("Events", "bold"), (f"  {count}, times in {time.strftime('%Z')}", "dim"))


def _line(event: Event) -> Line:
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    where = shown(event.engine or event.node)
    return (
        (f"{clock} ", "dim"),
        (f"{_SIGNS[event.level]} ", _ROLES[event.level]),
        (fit(where, 13) + " ", "bold"),
        (shown(event.text), _ROLES[event.level]),
    )
