"""The events pane: a time line of events."""

from __future__ import annotations

import time

from console.model.counting import counted
from console.model.snapshot import Event, EventLevel
from screens.pane_moment import PaneMoment
from screens.panes.timeline import TimelineEntry, TimelinePane
from screens.styled_lines import Line, shown

_ROLES = {EventLevel.INFO: "plain", EventLevel.WARNING: "warn", EventLevel.ERROR: "fail"}


class EventPane(TimelinePane):
    """Warnings and errors have a sign; rows unfold to the whole text."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.empty = "nothing has happened yet"

    def draw_moment(self, moment: PaneMoment) -> None:
        """All events, or those that match, the newest first."""
        needle = self.needle.casefold()
        events = (each for each in reversed(moment.snapshot.events) if needle in _words(each).casefold())
        self.show_entries((self._entry(each) for each in events), moment.snapshot.at)

    def title(self) -> Line:
        """How many there are, and how many of them are bad."""
        events = self.moment.snapshot.events if self.moment else ()
        spans: list[tuple[str, str]] = [("Events", "bold"), (f"  {len(events)}", "plain")]
        for level, noun in ((EventLevel.ERROR, "error"), (EventLevel.WARNING, "warning")):
            if count := sum(each.level is level for each in events):
                spans.append((f", {counted(count, noun)}", _ROLES[level]))
        return (*spans, (f", newest first, Enter unfolds, times in {time.strftime('%Z')}", "dim"))

    def _entry(self, event: Event) -> TimelineEntry:
        role = _ROLES[event.level]
        sign = {EventLevel.INFO: " ", EventLevel.WARNING: "!", EventLevel.ERROR: "X" if self.pen.ascii else "✗"}
        name = shown(event.engine or event.node)
        return TimelineEntry(
            key=f"event/{event.seq}",
            at=event.at,
            names=(name,) if name else (),
            alike=(event.level, event.text),
            head=((f"{sign[event.level]} ", role),),
            words=((shown(event.text), role),),
        )


def _words(event: Event) -> str:
    return f"{event.engine} {event.node} {event.text}"
