"""The journal pane: who did what on this cluster from this machine, when, and how it ended, as a time line.

What others did is in it as far as nodes tell, marked as seen.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from console.model.counting import counted
from screens.pane_moment import PaneMoment
from screens.panes.timeline import TimelineEntry, TimelinePane
from screens.styled_lines import Line, Span, fit, shown

if TYPE_CHECKING:
    from console.services.audit_log import AuditEntry

KEPT = 2000
"""How many records are read; the file keeps all of them."""


class JournalPane(TimelinePane):
    """Read again only when the file has grown."""

    names_cells = 0

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.empty = "nobody has done anything on this cluster from this machine yet"
        self._entries: tuple[AuditEntry, ...] = ()
        self._seen: tuple[str, int] | None = None
        self._others = 0

    def draw_moment(self, moment: PaneMoment) -> None:
        """All operations, or those that match, the newest first."""
        from console.services.audit_log import audit_entries, with_others

        journal = moment.session.journal
        try:
            size = journal.path.stat().st_size
        except OSError:
            size = 0
        if self._seen != (str(journal.path), size):
            self._seen = (str(journal.path), size)
            self._entries = audit_entries(journal.tail(KEPT))
        every = with_others(self._entries, moment.snapshot.observed_operations)
        self._others = len(every) - len(self._entries)
        needle = self.needle.casefold()
        numbered = ((len(every) - at, each) for at, each in enumerate(every) if needle in _words(each).casefold())
        self.show_entries((_entry(number, each) for number, each in numbered), moment.snapshot.at)

    def title(self) -> Line:
        """How many there are, how many of them failed, and in which zone their times are."""
        failed = sum(each.good is False for each in self._entries)
        seen = f", {self._others} by other operators" if self._others else ""
        return (
            ("Journal", "bold"),
            (f"  {counted(len(self._entries), 'operation')} from this machine{seen}", "plain"),
            (f", {failed} failed" if failed else "", "fail"),
            (f", newest first, Enter unfolds, times in {time.strftime('%Z')}", "dim"),
        )


def _entry(number: int, entry: AuditEntry) -> TimelineEntry:
    role = "dim" if entry.seen else {True: "ok", False: "fail", None: "busy"}[entry.good]
    took = "" if entry.took_s is None else f" in {entry.took_s:.0f} s"
    names = tuple(shown(name) for name in entry.whom.split(", ") if name)
    head: list[Span] = [(fit(shown(entry.who), 10) + " ", "plain")]
    words: list[Span] = [(fit(shown(entry.what), 19) + " ", "bold"), (shown(entry.outcome) + took, role)]
    if entry.good is False and entry.details:
        words.append((f": {shown(entry.details[-1])}", role))
    details = tuple(shown(each) for each in entry.details)
    # Each operation that has details of its own is a row of its own.
    alike = (entry.who, entry.what, entry.outcome, entry.seen) if not details else number
    return TimelineEntry(f"journal/{number}", entry.at, names, alike, tuple(head), tuple(words), details)


def _words(entry: AuditEntry) -> str:
    return " ".join((entry.who, entry.what, entry.whom, entry.outcome, *entry.details))
