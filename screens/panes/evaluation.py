"""The evaluation pane: running evaluations, results, and their views. Starts and cancels nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from console.model.errors import ConsoleError
from screens.actions import bindings
from screens.background_work import set_off
from screens.pane_moment import PaneMoment
from screens.panes.base import Pane
from screens.styled_lines import Line, Row, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.evaluation.records import Record
    from screens.evaluation.running import RunningEvaluation
    from screens.evaluation.views import View

ASK_EVERY_S = 1.0
"""How often the file of results is asked whether there is something new, while the pane is open."""
MOST = 200

_TITLES = {"run": "one run", "compare": "two runs compared", "sweep": "sweep", "targets": "figures to reach"}


class EvaluationPane(Pane):
    """A table of runs; Enter opens one, marks are compared, esc goes back to the table."""

    place: ClassVar[str] = "evaluation"
    BINDINGS: ClassVar = bindings("evaluation", "verb")
    with_cursor = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view: View = "runs"
        self.chosen: tuple[str, ...] = ()
        self.marked: tuple[str, ...] = ()
        self.records: tuple[Record, ...] = ()
        self.on_log: Callable[[str, str], None] = lambda engine, run: None
        self._whole: dict[str, Record] = {}
        self._state: object = None
        self._asked = 0.0
        self._trouble = ""
        self._place = (0, 0)
        """Cursor and first row of the table while another view is open."""

    def verbs(self) -> Verbs:
        """Moves, and the ways from view to view."""
        return {
            **super().verbs(),
            "open-run": self.open_run,
            "mark-run": self.mark,
            "compare": self.compare,
            "sweep-curve": self.sweep,
            "targets": lambda: self.go_to("targets", ()),
            "run-log": self.show_log,
        }

    def live(self) -> tuple[RunningEvaluation, ...]:
        """What runs now."""
        from screens.evaluation.running import (
            live_runs,  # what is drawn first must not wait for what only this pane needs
        )

        return live_runs(self.moment.session.evaluator) if self.moment else ()

    @property
    def run_here(self) -> str | None:
        """The run under the cursor, or the one that is open."""
        if self.view == "run":
            return self.chosen[0]
        kind, _, run = (self.current.key if self.current else "").partition("/")
        return run if self.view == "runs" and kind == "run" else None

    def draw_moment(self, moment: PaneMoment) -> None:
        """The open view of now."""
        from screens.evaluation.views import ViewContext, rows  # as above

        self._look(moment)
        live = self.live()
        self.empty = "nothing measured yet; n starts, or :bench, :eval gsm8k"
        board = ViewContext(max(40, self.cells), self.pen, live, self.records, self._whole, self.chosen, self.marked)
        heading, made = rows(self.view, board)
        if self.needle:
            needle = self.needle.casefold()
            made = [row for row in made if needle in "".join(text for text, _ in row.line).casefold()]
        if self._trouble:
            made.insert(0, Row("trouble", ((shown(self._trouble), "fail"),)))
        self.show(made, heading)
        self.on_title()

    def title(self) -> Line:
        """What runs and how much is kept, or which view this is."""
        if self.view != "runs":
            return ((f"Bench: {_TITLES[self.view]}", "bold"), (", esc back", "dim"))
        from console.evaluation import report_text  # as above

        counts = [(len(self.live()), "running", "busy"), (len(self.marked), "marked", "key")]
        now: Line = tuple((f"{count} {word}, ", role) for count, word, role in counts if count)
        newest: Line = (("; newest ", "dim"), *report_text.verdict(self.records[0])) if self.records else ()
        kept = (f"{len(self.records)} kept", "plain")
        return (("Bench  ", "bold"), *now, kept, *((shown(text), role) for text, role in newest))

    def go_to(self, view: View, chosen: tuple[str, ...]) -> None:
        """Open another view."""
        if self.view == "runs":
            self._place = (self.cursor, self.offset_row)
        self.view, self.chosen, self.with_cursor = view, chosen, view == "runs"
        self.cursor, self.offset_row = self._place if view == "runs" else (0, 0)
        self.rows = []
        if self.moment is not None:
            self.draw_moment(self.moment)

    def back(self) -> bool:
        """From a filter, then from a view, to the table."""
        if super().back():
            return True
        if self.view == "runs":
            return False
        self.go_to("runs", ())
        return True

    def open_run(self) -> None:
        """All that is known of the run under the cursor."""
        run = self.run_here
        if run is not None and self.view == "runs":
            self.go_to("run", (run,))
            self._fetch((run,))

    def mark(self) -> None:
        """Mark the run, or take its mark away."""
        run = self.run_here
        if run is None or self.view != "runs":
            return
        self.marked = tuple(each for each in self.marked if each != run) if run in self.marked else (*self.marked, run)
        self.move(1)
        if self.moment is not None:
            self.draw_moment(self.moment)

    def compare(self) -> None:
        """The two marked runs, the older one first."""
        kept = tuple(each.run for each in self.records if each.run in self.marked)
        if len(kept) != 2:
            self.app.notify("mark two finished runs with space, then = compares them", markup=False, timeout=4)
            return
        self.go_to("compare", kept)
        self._fetch(kept)

    def sweep(self) -> None:
        """Throughput against latency over the marked runs, or over all that are like the one under the cursor."""
        from screens.evaluation.views import alike  # as above

        here = next((each for each in self.records if each.run == self.run_here), None)
        chosen = self.marked or (alike(here, self.records) if here else ())
        if not chosen:
            self.app.notify("no finished run here; :bench --sweep 1,2,4,8 makes a sweep", markup=False, timeout=4)
            return
        self.go_to("sweep", chosen)

    def show_log(self) -> None:
        """The log of the run."""
        run = self.run_here
        engines = {each.key.run: each.key.engine for each in self.live() if each.node}
        engines |= {each.run: _engine(each) for each in self.records}
        if run is None or not engines.get(run):
            self.app.notify(
                "no log here: select a run on a node; the built-in load generator writes no log",
                markup=False,
                timeout=4,
            )
            return
        self.on_log(engines[run], run)

    def _look(self, moment: PaneMoment) -> None:
        """Ask the file of results again when that is due; it is read in a thread, so that no key waits for a disk."""
        if time.monotonic() - self._asked >= ASK_EVERY_S and self.is_mounted:
            self._asked = time.monotonic()
            set_off(self, "results", self._load, moment)

    async def _load(self, moment: PaneMoment) -> None:
        from console.evaluation.result_store import Filter  # as above

        store = moment.session.evaluator.store
        try:
            state = await asyncio.to_thread(store.state)
            if state == self._state and not self._trouble:
                return
            self.records = await asyncio.to_thread(store.find, Filter(limit=MOST, light=True))
            self._state, self._trouble = state, ""
        except ConsoleError as error:
            self._trouble = f"{error}. {error.hint}"
        known = {each.run for each in self.records}
        self.marked = tuple(each for each in self.marked if each in known)
        if self.view == "run" and self.chosen[0] in known:
            self._fetch(self.chosen)
        self._redraw()

    def _fetch(self, runs: tuple[str, ...]) -> None:
        missing = tuple(run for run in runs if run not in self._whole and any(each.run == run for each in self.records))
        if missing and self.moment is not None:
            set_off(self, "whole", self._read, self.moment, missing)

    async def _read(self, moment: PaneMoment, runs: tuple[str, ...]) -> None:
        try:
            for run in runs:
                self._whole[run] = await asyncio.to_thread(moment.session.evaluator.store.get, run)
        except ConsoleError as error:
            self._trouble = f"{error}. {error.hint}"
        self._redraw()

    def _redraw(self) -> None:
        if self.moment is not None:
            self.draw_moment(self.moment)


def _engine(record: Record) -> str:
    """Under what name the run lives on its node; empty for runs of this machine."""
    from console.evaluation.records import Tool  # as above
    from console.services.evaluation.plans import run_name

    return "" if record.tool is Tool.BUILT_IN else run_name(record.tool, record.kind, record.subject)
