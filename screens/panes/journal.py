"""The journal pane: who did what on this cluster from this machine, when, and how it ended; newest first.

What others did is in it as far as nodes tell, marked as seen.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from console.model.counting import counted
from screens.panes.base import Pane, PaneMoment
from screens.styled_lines import Line, Row, Span, fit, shown, wrap

if TYPE_CHECKING:
    from console.services.audit_log import AuditEntry

KEPT = 2000
"""How many records are read; the file keeps all of them."""


class JournalPane(Pane):
    """Read again only when the file has grown."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.empty = "nobody has done anything on this cluster from this machine yet"
        self._traces: tuple[AuditEntry, ...] = ()
        self._seen: tuple[str, int] | None = None
        self._others = 0

    def draw_moment(self, moment: PaneMoment) -> None:
        """All acts, or those that match."""
        from console.services.audit_log import audit_entries, with_others

        journal = moment.session.journal
        try:
            size = journal.path.stat().st_size
        except OSError:
            size = 0
        if self._seen != (str(journal.path), size):
            self._seen = (str(journal.path), size)
            self._traces = audit_entries(journal.tail(KEPT))
        needle = self.needle.casefold()
        rows: list[Row] = []
        every = with_others(self._traces, moment.snapshot.sightings)
        self._others = len(every) - len(self._traces)
        for number, trace in enumerate(every):
            lines = self._lines(trace)
            if not needle or any(needle in "".join(text for text, _ in line).casefold() for line in lines):
                rows.extend(Row(f"trace/{len(every) - number}/{part}", line) for part, line in enumerate(lines))
        self.show(rows)

    def title(self) -> Line:
        """How many there are, and in which zone they are told."""
        seen = f", {self._others} seen" if self._others else ""
        words = f"  {counted(len(self._traces), 'operation')} from this machine{seen}, times in {time.strftime('%Z')}"
        return (("Journal", "bold"), (words, "dim"))

    def _lines(self, trace: AuditEntry) -> list[Line]:
        role = "dim" if trace.seen else {True: "ok", False: "fail", None: "busy"}[trace.good]
        took = "" if trace.took_s is None else f" in {trace.took_s:.0f} s"
        head: list[Span] = [
            (time.strftime("%m-%d %H:%M:%S ", time.localtime(trace.at)), "dim"),
            (fit(shown(trace.who), 14) + " ", "plain"),
            (fit(shown(trace.what), 22) + " ", "bold"),
            (shown(trace.outcome) + took, role),
            ("  " + shown(trace.whom), "dim"),
        ]
        cells = max(20, self.size.width - 17)
        more = [text for detail in trace.details for text in wrap(shown(detail), cells)]
        return [tuple(head), *((((" " * 15) + text, role if trace.good is False else "dim"),) for text in more)]
