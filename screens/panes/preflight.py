"""The preflight pane: what must hold on the nodes before a launch, as it was when it was last asked. Asking changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from console.model.errors import ConsoleError
from screens.actions import bindings
from screens.background_work import set_off
from screens.grid.rows import age_words
from screens.panes.base import Pane, PaneMoment
from screens.styled_lines import Line, Row, Span, fit, shown, wrap
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.services.readiness.ping_matrix import PingResults
    from console.services.readiness.preflight import Report

_ROLES = {"pass": "ok", "warn": "warn", "fail": "fail", "unknown": "stale"}
_INDENT = 15


class PreflightPane(Pane):
    """Equal answers of many nodes in one line; what does not pass with its cause and remedy first, what passes below."""

    place: ClassVar[str] = "preflight"
    BINDINGS: ClassVar = bindings("preflight", "verb")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._trouble = ""
        self._began = 0.0

    def verbs(self) -> Verbs:
        """Moves, asking the nodes, and waiting for them no longer."""
        return {
            **super().verbs(),
            "preflight": self.begin,
            "survey": lambda: self.begin(network=True),
            "survey-full": lambda: self.begin(network=True, full=True),
            "cancel-preflight": self.cancel,
        }

    def begin(self, *, network: bool = False, full: bool = False) -> None:
        """Ask all nodes now; `network` asks their NPUs about links and pings too, `full` between all of them."""
        if self.moment is None:
            return
        if self.moment.session.preflight.running:
            self.app.notify("the nodes are being asked; c in the pane Preflight stops that", markup=False, timeout=3)
            return
        self._began = time.monotonic()
        set_off(self, "preflight", self._ask, self.moment, network, full)
        self.app.notify("checking the nodes; the pane Preflight shows what is found", markup=False, timeout=3)

    def cancel(self) -> None:
        """Wait no longer."""
        stopped = self.moment is not None and self.moment.session.preflight.cancel()
        self.app.notify(
            "the nodes are not waited for any longer" if stopped else "no check runs", markup=False, timeout=3
        )

    async def _ask(self, moment: PaneMoment, network: bool, full: bool) -> None:
        from console.services.readiness.preflight import PreflightRequest

        self._trouble = ""
        try:
            await moment.session.preflight.run((), PreflightRequest(network=network, full_mesh=full))
        except ConsoleError as error:
            self._trouble = f"{error}" + (f" — {error.hint}" if error.hint else "")
        except asyncio.CancelledError:
            self._trouble = "stopped before all nodes had answered; what is below is of an earlier time"
            raise
        finally:
            if self.moment is not None and self.is_mounted:
                self.draw_moment(self.moment)
                self.on_title()

    def tick(self) -> None:
        """While nodes are asked, how far that is."""
        if self.moment is not None and self.moment.session.preflight.running:
            self.draw_moment(self.moment)

    def draw_moment(self, moment: PaneMoment) -> None:
        """The last report."""
        checks = moment.session.preflight
        self.empty = "not checked yet; P checks all nodes, n also the network between their NPUs"
        rows = [Row("trouble", ((shown(self._trouble), "fail"),))] if self._trouble else []
        if checks.running:
            words = f"{time.monotonic() - self._began:.0f} s so far; c stops. {checks.progress or 'checking the nodes'}"
            pieces = wrap(shown(words), max(30, self.size.width - 2))
            rows += [Row(f"progress/{at}", ((piece, "busy"),)) for at, piece in enumerate(pieces)]
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
            return (("Preflight  ", "bold"), ("checking …" if checks.running else "not run", "dim"))
        counts: dict[str, int] = {}
        for each in checks.latest.results:
            counts[str(each.verdict)] = counts.get(str(each.verdict), 0) + 1
        spans: list[Span] = [(f"{counts[word]} {word} ", role) for word, role in _ROLES.items() if word in counts]
        age = "checking …" if checks.running else f"{age_words(max(0.0, time.time() - checks.latest.at))} ago"
        return (("Preflight  ", "bold"), *spans, (age, "dim"))


def report_rows(report: Report, cells: int) -> list[Row]:
    """Worst first, each with what was seen, why it matters and what fixes it; then what passes, one line each."""
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
            lines += [(shown(fold.why), "dim"), (f"fix: {shown(fold.remedy)}" if fold.remedy else "", "key")]
        rows += _wrapped(f"{number}", head, _ROLES[verdict], lines, cells)
    if report.crossing is not None and report.crossing.pings:
        rows = [*matrix_rows(report.crossing, cells), *rows]
    return rows


def matrix_rows(crossing: PingResults, cells: int) -> list[Row]:
    """Answered pings of all pings, from node to node; as many columns side by side as fit, the others below."""
    head, *body = crossing.matrix()
    first = max(len(shown(row[0])) for row in (head, *body)) + 2
    width = max(len(shown(cell)) for row in (head, *body) for cell in row[1:]) + 2
    fits = max(1, (cells - first) // width)
    kind = "every NPU to every other" if crossing.full else "each NPU to those of its number"
    rows = [Row("matrix", ((f"answered pings of all pings; {kind}", "title"),))]
    for begin in range(1, len(head), fits):
        for number, row in enumerate((head, *body)):
            spans: list[Span] = [(fit(shown(row[0]), first), "dim")]
            spans += [(fit(shown(cell), width), _cell_role(cell, number)) for cell in row[begin : begin + fits]]
            rows.append(Row(f"matrix/{begin}/{number}", tuple(spans)))
    return [*rows, Row("matrix/end", (("", ""),))]


def _cell_role(cell: str, row: int) -> str:
    good, _, sent = cell.rstrip("?").partition("/")
    if not row or not sent:
        return "dim"
    return "fail" if good != sent and not cell.endswith("?") else "stale" if cell.endswith("?") else "ok"


def _wrapped(key: str, head: str, role: str, lines: list[tuple[str, str]], cells: int) -> Iterator[Row]:
    for part, (text, tone) in enumerate(lines):
        for place, piece in enumerate(wrap(text, max(10, cells - _INDENT)) if text else []):
            lead = head if part == place == 0 else " " * _INDENT
            yield Row(f"{key}/{part}/{place}", ((lead, role), (piece, tone)))
