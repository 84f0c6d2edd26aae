"""The check pane: what must hold on the nodes before a launch, as it was when it was last asked. Asking changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from screens.grid_rows import age_words
from screens.lines import Line, Row, Span, fit, shown, wrap
from screens.panes.base import Pane, Shown
from screens.room import Verbs

if TYPE_CHECKING:
    from console.services.preflight import Report

_ROLES = {"pass": "ok", "warn": "warn", "fail": "fail", "unknown": "stale"}
_INDENT = 15


class PreflightPane(Pane):
    """Equal answers of many nodes in one line; what does not pass with its cause and remedy first, what passes below."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._trouble = ""

    def verbs(self) -> Verbs:
        """Moves, and asking the nodes."""
        return {**super().verbs(), "preflight": self.begin}

    def begin(self) -> None:
        """Ask all nodes now."""
        if self.moment is None or self.moment.session.preflight.running:
            return
        self.run_worker(self._ask(self.moment), name="preflight", exclusive=True)
        self.app.notify("checking the nodes; the tab Check shows what is found", markup=False, timeout=3)

    async def _ask(self, moment: Shown) -> None:
        self._trouble = ""
        try:
            await moment.session.preflight.run()
        except ConsoleError as error:
            self._trouble = f"{error}" + (f" — {error.hint}" if error.hint else "")
        if self.moment is not None:
            self.draw_moment(self.moment)
            self.on_title()

    def draw_moment(self, moment: Shown) -> None:
        """The last report."""
        checks = moment.session.preflight
        self.empty = "checking the nodes …" if checks.running else "not checked yet; P checks all nodes"
        rows = [Row("trouble", ((shown(self._trouble), "fail"),))] if self._trouble else []
        if checks.latest is not None:
            rows += report_rows(checks.latest, max(30, self.size.width - 2))
        if self.needle:
            needle = self.needle.casefold()
            rows = [row for row in rows if needle in "".join(text for text, _ in row.line).casefold()]
        self.show(rows)

    def title(self) -> Line:
        """What it came to, and how old that is."""
        if self.moment is None:
            return ()
        checks = self.moment.session.preflight
        if checks.latest is None:
            return (("checking …" if checks.running else "never asked", "dim"),)
        counts: dict[str, int] = {}
        for each in checks.latest.results:
            counts[str(each.verdict)] = counts.get(str(each.verdict), 0) + 1
        spans: list[Span] = [(f"{counts[word]} {word} ", role) for word, role in _ROLES.items() if word in counts]
        age = "checking …" if checks.running else f"{age_words(max(0.0, time.time() - checks.latest.at))} ago"
        return (*spans, (age, "dim"))


def report_rows(report: Report, cells: int) -> list[Row]:
    """Worst first, each with what was seen, why it matters and what mends it; then what passes, one line each."""
    order = ("fail", "warn", "unknown", "pass")
    folds = sorted(report.folds, key=lambda fold: order.index(fold.verdict))
    rows: list[Row] = []
    for number, fold in enumerate(folds):
        verdict = str(fold.verdict)
        where = "all nodes" if len(fold.nodes) == len(report.nodes) > 1 else ", ".join(fold.nodes)
        head = f"{fit(verdict, 8)}{fit(fold.check, 4, right=True)}   "
        text = f"{shown(fold.title)} ({shown(where)}): {shown(fold.seen)}"
        lines = [(text, _ROLES[verdict] if verdict != "pass" else "plain")]
        if verdict != "pass":
            lines += [(shown(fold.why), "dim"), (f"mend: {shown(fold.remedy)}" if fold.remedy else "", "key")]
        rows += _wrapped(f"{number}", head, _ROLES[verdict], lines, cells)
    if report.crossing is not None:
        rows += [
            Row(f"matrix/{row[0]}", (("".join(fit(shown(cell), 12) for cell in row), "plain"),))
            for row in report.crossing.matrix()
        ]
    return rows


def _wrapped(key: str, head: str, role: str, lines: list[tuple[str, str]], cells: int) -> Iterator[Row]:
    for part, (text, tone) in enumerate(lines):
        for place, piece in enumerate(wrap(text, max(10, cells - _INDENT)) if text else []):
            lead = head if part == place == 0 else " " * _INDENT
            yield Row(f"{key}/{part}/{place}", ((lead, role), (piece, tone)))
