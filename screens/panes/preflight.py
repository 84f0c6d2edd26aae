"""The preflight pane: the last report on whether the nodes are ready to start engines. A preflight changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from console.model.counting import counted
from console.model.errors import ConsoleError
from console.model.name_ranges import name_ranges
from console.model.state import EngineState, Grade
from screens.actions import bindings
from screens.background_work import set_off
from screens.grid.rows import age_words
from screens.pane_moment import PaneMoment
from screens.panes.columns import widest
from screens.panes.folding import FoldingPane
from screens.short_names import names_in
from screens.styled_lines import Line, Pen, Row, Span, fit, join, shown, wrap
from screens.themes import GRADES, STATES, Sign
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.probes.check_types import GroupedResult, Result
    from console.services.readiness.ping_matrix import PingResults
    from console.services.readiness.preflight import Report

_SIGNS = {
    "fail": GRADES[Grade.FAIL],
    "warn": STATES[EngineState.DEGRADED],
    "unknown": GRADES[Grade.UNKNOWN],
    "pass": GRADES[Grade.OK],
}
"""The signs of verdicts, the worst first."""
_INDENT = 15


class PreflightPane(FoldingPane):
    """The verdict, each check that does not pass with its fix, a row for equal nodes, and one row for all passing checks."""

    place: ClassVar[str] = "preflight"
    BINDINGS: ClassVar = bindings("preflight", "verb")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._trouble = ""
        self._began = 0.0

    def verbs(self) -> Verbs:
        """Moves, starting a preflight, and stopping it."""
        return {
            **super().verbs(),
            "preflight": self.begin,
            "network": lambda: self.begin(network=True),
            "network-full": lambda: self.begin(network=True, full=True),
            "cancel-preflight": self.cancel,
        }

    def begin(self, *, network: bool = False, full: bool = False) -> None:
        """Check all nodes now. `network` also checks links and pings of their NPUs, with `full` between all pairs."""
        if self.moment is None:
            return
        if self.moment.session.preflight.running:
            self.app.notify("preflight is running already; c in the Preflight pane stops it", markup=False, timeout=3)
            return
        self._began = time.monotonic()
        set_off(self, "preflight", self._ask, self.moment, network, full)
        self.app.notify("preflight started; the Preflight pane shows the results", markup=False, timeout=3)

    def cancel(self) -> None:
        """Stop the running preflight."""
        stopped = self.moment is not None and self.moment.session.preflight.cancel()
        self.app.notify("preflight stopped" if stopped else "no preflight is running", markup=False, timeout=3)

    async def _ask(self, moment: PaneMoment, network: bool, full: bool) -> None:
        from console.services.readiness.preflight import PreflightRequest

        self._trouble = ""
        try:
            await moment.session.preflight.run((), PreflightRequest(network=network, full_mesh=full))
        except ConsoleError as error:
            self._trouble = f"{error}" + (f" — {error.hint}" if error.hint else "")
        except asyncio.CancelledError:
            earlier = "; the report below is an earlier one" if moment.session.preflight.latest is not None else ""
            self._trouble = f"preflight stopped before all nodes answered{earlier}"
            raise
        finally:
            if self.moment is not None and self.is_mounted:
                self.draw_moment(self.moment)
                self.on_title()

    def tick(self) -> None:
        """Draw the progress of a running preflight."""
        if self.moment is not None and self.moment.session.preflight.running:
            self.draw_moment(self.moment)

    def draw_moment(self, moment: PaneMoment) -> None:
        """The last report."""
        checks = moment.session.preflight
        self.empty = "not run; P checks all nodes, n also the network between their NPUs"
        if self.needle:
            self.empty = f"no result contains {shown(self.needle)!r}; esc removes the filter"
        rows = [Row("trouble", ((shown(self._trouble), "fail"),))] if self._trouble else []
        if checks.running:
            words = (
                f"{time.monotonic() - self._began:.0f} s so far; c stops it. {checks.progress or 'checking the nodes'}"
            )
            pieces = wrap(shown(words), max(30, self.size.width - 2))
            rows += [Row(f"progress/{at}", ((piece, "busy"),)) for at, piece in enumerate(pieces)]
        self.folds.begin()
        heading: Line = ()
        if checks.latest is not None:
            sign, words = verdict(checks.latest)
            heading = ((f"{self.pen.sign(sign)} {words}", f"bold {sign.role}"),)
            rows += self._report(checks.latest, max(30, self.size.width - 2))
        if self.needle:
            needle = self.needle.casefold()
            rows = [row for row in rows if needle in "".join(text for text, _ in row.line).casefold()]
        self.show(rows, heading)

    def _report(self, report: Report, cells: int) -> Iterator[Row]:
        """The rows of a report."""
        yield from report_rows((each for each in report.folds if each.verdict != "pass"), report, cells, self.pen)
        if report.crossing is not None and report.crossing.pings:
            yield from self._network(report.crossing, cells)
        yield from self._node_rows(report, cells)
        if passing := [each for each in report.folds if each.verdict == "pass"]:
            words = f"{counted(len(passing), 'check')} {'passes' if len(passing) == 1 else 'pass'}"
            below = report_rows(passing, report, cells, self.pen)
            yield from self.folded("passing", ((words, "dim"),), below)

    def _node_rows(self, report: Report, cells: int) -> Iterator[Row]:
        """A row for nodes with the same results; it unfolds to all results of the first of them."""
        alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
        of = {node: [each for each in report.results if each.node == node] for node in report.nodes}
        for node, results in of.items():
            alike.setdefault(tuple((each.check, str(each.verdict)) for each in results), []).append(node)
        order = [*_SIGNS]
        folds = sorted(alike.items(), key=lambda one: min((order.index(word) for _, word in one[0]), default=3))
        most = max(12, cells // 3)
        name_cells = widest([names_in(nodes, most) for nodes in alike.values()], 6, most)
        for answers, nodes in folds:
            counts = Counter(word for _, word in answers)
            parts: list[Line] = [
                ((f"{self.pen.sign(sign)} {counts[word]} {word}", sign.role),)
                for word, sign in _SIGNS.items()
                if counts[word]
            ]
            wrong = [shown(each.title) for each in of[nodes[0]] if each.verdict == "fail"]
            line = join(
                (
                    ((fit(names_in(nodes, most), name_cells), "bold"),),
                    *parts,
                    ((", ".join(wrong), "dim"),) if wrong else (),
                ),
                ("  ", ""),
            )
            yield from self.folded(f"node/{nodes[0]}", line, _answers(of[nodes[0]], cells, self.pen))

    def _network(self, crossing: PingResults, cells: int) -> Iterator[Row]:
        """The nodes that lose pings, and the matrix of pings."""
        back = sum(ping.ok is True for _, ping in crossing.pings)
        sign = GRADES[Grade.OK if back == len(crossing.pings) else Grade.FAIL]
        kind = "every NPU to every other" if crossing.full else "each NPU to those with the same number"
        words = f"{self.pen.sign(sign)} network: {back} of {len(crossing.pings)} pings answered"
        line: Line = ((words, sign.role), (f"  {kind}", "dim"))
        yield from self.folded("matrix", line, matrix_rows(crossing, cells))
        alike: dict[str, list[str]] = {}
        for node in crossing.nodes:
            losses = ((peer, crossing.cell(node, peer)) for peer in crossing.nodes)
            if pairs := ", ".join(f"{cell} answered by {shown(peer)}" for peer, cell in losses if _loses(cell)):
                alike.setdefault(pairs, []).append(node)
        for pairs, nodes in alike.items():
            yield from self.texts(f"loss/{nodes[0]}", f"{shown(name_ranges(nodes))}: {pairs}", 4, sign.role)

    def title(self) -> Line:
        """The counts of results, and the age of the report."""
        if self.moment is None:
            return ()
        checks = self.moment.session.preflight
        if checks.latest is None:
            return (("Preflight  ", "bold"), ("checking …" if checks.running else "not run", "dim"))
        counts: dict[str, int] = {}
        for each in checks.latest.results:
            counts[str(each.verdict)] = counts.get(str(each.verdict), 0) + 1
        spans: list[Span] = [
            (f"{self.pen.sign(sign)} {counts[word]} {word}  ", sign.role)
            for word, sign in _SIGNS.items()
            if word in counts
        ]
        age = "checking …" if checks.running else f"{age_words(max(0.0, time.time() - checks.latest.at))} ago"
        return (("Preflight  ", "bold"), *spans, (age, "dim"))


def verdict(report: Report) -> tuple[Sign, str]:
    """Whether the nodes are ready to start engines, with the sign for it."""
    failing = {each.node for each in report.results if each.verdict == "fail"}
    counts = Counter(str(each.verdict) for each in report.results)
    nodes = counted(len(report.nodes), "node")
    if failing:
        fails = "has a failed check" if len(failing) == 1 else "have failed checks"
        return _SIGNS["fail"], f"not ready to start: {len(failing)} of {nodes} {fails}"
    if counts["unknown"]:
        unknown = counts["unknown"]
        return _SIGNS["unknown"], f"{nodes}: the result of {counted(unknown, 'check')} is unknown"
    if counts["warn"]:
        return _SIGNS["warn"], f"{nodes} ready to start, with {counted(counts['warn'], 'warning')}"
    passes = "check passes" if counts["pass"] == 1 else "checks pass"
    return _SIGNS["pass"], f"{nodes} ready to start: {counts['pass']} {passes}"


def report_rows(folds: Iterable[GroupedResult], report: Report, cells: int, pen: Pen) -> Iterator[Row]:
    """Results, the worst first: what was seen; for a check that does not pass, also why it matters and how to fix it."""
    order = [*_SIGNS]
    for number, fold in enumerate(sorted(folds, key=lambda fold: order.index(fold.verdict))):
        word, sign = str(fold.verdict), _SIGNS[fold.verdict]
        where = "all nodes" if len(fold.nodes) == len(report.nodes) > 1 else name_ranges(fold.nodes)
        text = f"{shown(fold.title)} ({shown(where)}): {shown(fold.seen)}"
        yield from _answer(f"answer/{word}/{number}", fold, text, cells, f"{pen.sign(sign)} {word}", sign.role)


def _answers(results: Iterable[Result], cells: int, pen: Pen) -> Iterator[Row]:
    """Every result of one node."""
    for number, each in enumerate(results):
        sign = _SIGNS[each.verdict]
        text = f"{shown(each.title)}: {shown(each.seen)}"
        key = f"node/{each.node}/{each.check}/{number}"
        yield from _answer(key, each, text, cells, f"  {pen.sign(sign)} {each.verdict}", sign.role)


def _answer(key: str, each: GroupedResult | Result, text: str, cells: int, label: str, role: str) -> Iterator[Row]:
    head = f"{fit(label, 10)}{fit(each.check, 3, right=True)}  "
    passes = each.verdict == "pass"
    lines = [(text, "plain" if passes else role)]
    if not passes:
        lines += [(shown(each.why), "dim"), (f"fix: {shown(each.remedy)}" if each.remedy else "", "key")]
    yield from _wrapped(key, head, role, lines, cells)


def _loses(cell: str) -> bool:
    """Whether a cell of the matrix shows pings without an answer."""
    back, _, sent = cell.rstrip("?").partition("/")
    return bool(sent) and back != sent


def matrix_rows(crossing: PingResults, cells: int) -> list[Row]:
    """Answered and sent pings from node to node; columns that do not fit are below."""
    head, *body = crossing.matrix()
    first = max(len(shown(row[0])) for row in (head, *body)) + 2
    width = max(len(shown(cell)) for row in (head, *body) for cell in row[1:]) + 2
    fits = max(1, (cells - first) // width)
    rows: list[Row] = []
    for begin in range(1, len(head), fits):
        for number, row in enumerate((head, *body)):
            spans: list[Span] = [(fit(shown(row[0]), first), "dim")]
            spans += [(fit(shown(cell), width), _cell_role(cell, number)) for cell in row[begin : begin + fits]]
            rows.append(Row(f"matrix/{begin}/{number}", tuple(spans)))
    return rows


def _cell_role(cell: str, row: int) -> str:
    if not row or "/" not in cell:
        return "dim"
    return "stale" if cell.endswith("?") else "fail" if _loses(cell) else "ok"


def _wrapped(key: str, head: str, role: str, lines: list[tuple[str, str]], cells: int) -> Iterator[Row]:
    for part, (text, tone) in enumerate(lines):
        for place, piece in enumerate(wrap(text, max(10, cells - _INDENT)) if text else []):
            lead = head if part == place == 0 else " " * _INDENT
            yield Row(f"{key}/{part}/{place}", ((lead, role), (piece, tone)))
