"""The plan pane: the running or last plan, stage by stage, with the outcome of each step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from console.model.plan import Outcome, Plan, PlanResult, Step, StepEvent
from console.services.monitoring.intervals import GRACE_S, KILL_S
from console.services.operations.plan_progress import FoldedOutcome, PlanProgress
from screens.actions import BY_ID, bindings
from screens.pane_moment import PaneMoment
from screens.panes.folding import FoldingPane
from screens.styled_lines import Line, Row, Span, fit, shown, width, wrap
from screens.themes import Sign
from screens.widgets import Verbs

OUTCOMES = {
    Outcome.PENDING: Sign("-", "-", "waits", "dim"),
    Outcome.RUNNING: Sign("↻", "/", "runs", "busy"),
    Outcome.DONE: Sign("✓", "+", "done", "ok"),
    Outcome.FAILED: Sign("✗", "X", "FAILED", "fail"),
    Outcome.UNKNOWN: Sign("?", "?", "unknown", "stale"),
    Outcome.SKIPPED: Sign("▫", "o", "skipped", "dim"),
}


INDENT = 14
"""Cells before the title of a step, without the mark of its fold."""


class PlanPane(FoldingPane):
    """Progress of one plan. It keeps the last one, so that a failure can be read afterwards."""

    place: ClassVar[str] = "plan"
    BINDINGS: ClassVar = bindings("plan", "verb")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._progress: PlanProgress | None = None
        self.empty = "no plan has run; s, x, r on an engine make one"
        self.refusal = ""
        self._read_by_hand = False
        self.clock: Callable[[], float] = time.monotonic
        self._began: dict[str, float] = {}
        """Since when each running step runs."""
        self._counts: dict[str, str] = {}
        """What is said of the time that running steps have."""

    @property
    def plan(self) -> Plan | None:
        """The plan that is shown."""
        return self._progress.plan if self._progress else None

    def moved(self) -> None:
        """The reader went somewhere by hand."""
        self._read_by_hand = True

    def verbs(self) -> Verbs:
        """Moves, and to go no further."""
        return {**super().verbs(), "cancel-plan": self.cancel}

    def cancel(self) -> None:
        """Begin no further step."""
        operator = self.moment.session.operator if self.moment else None
        if operator is None or operator.running is None:
            self.notify("no plan is running", markup=False)
            return
        operator.cancel()
        self.notify("no further step will start; running steps end by themselves", markup=False)

    def begin(self, plan: Plan) -> None:
        """Show a plan that is about to run."""
        self._progress, self.refusal = PlanProgress(plan), ""
        self._began = {}
        self._read_by_hand = False
        self.redraw()

    def note(self, event: StepEvent) -> None:
        """Take news of a step."""
        if self._progress is None:
            return
        self._progress.note(event)
        if event.outcome is Outcome.RUNNING:
            self._began.setdefault(event.step, self.clock())
        self.redraw()

    def end(self, result: PlanResult) -> None:
        """Take the outcome of the whole."""
        if self._progress is not None:
            self._progress.end(result)
            self.redraw()

    def refuse(self, why: str) -> None:
        """The plan did not run."""
        self.refusal = why
        self.redraw()

    def draw_moment(self, moment: PaneMoment) -> None:
        """The plan does not come from the snapshot."""
        self.redraw()

    def tick(self) -> None:
        """Count on while something runs that has a limit; drawn only when its words change."""
        if self._counted() != self._counts:
            self.redraw()

    def _counted(self) -> dict[str, str]:
        shown = self._progress
        if shown is None or shown.result is not None:
            return {}
        now, limit = self.clock(), shown.plan.drain_s
        return {
            step.id: words
            for step in shown.plan.steps
            if shown.outcomes[step.id] is Outcome.RUNNING
            and (words := _time_words(step, now - self._began.get(step.id, now), limit))
        }

    def redraw(self) -> None:
        """Make the rows anew; the step that runs stays in sight unless the reader has gone elsewhere."""
        self._counts = self._counted()
        self.folds.begin()
        rows = [*self._rows()]
        self.show(rows)
        if not self._read_by_hand and (here := self._in_sight(rows)) != self.cursor:
            self.cursor = here
            self.draw()
        self.on_title()

    def _in_sight(self, rows: Sequence[Row]) -> int:
        """The first row while something is wrong or all is over, else the first step that runs or waits."""
        progress = self._progress
        if progress is None or progress.result is not None or progress.wrong:
            return 0
        undone = (Outcome.RUNNING, Outcome.PENDING)
        keys = {f"step/{row.key}" for row in progress.rows() if row.outcome in undone}
        return next((at for at, row in enumerate(rows) if row.key in keys), 0)

    def title(self) -> Line:
        """What it is and how far."""
        if self._progress is None:
            return (("Plan", "bold"), ("  none yet", "dim"))
        result, outcomes = self._progress.result, self._progress.outcomes
        done = sum(1 for each in outcomes.values() if each is Outcome.DONE)
        words = f"Plan: {self._progress.plan.verb} {done}/{len(outcomes)} steps "
        if self.refusal:
            return ((words, "bold"), ("REFUSED", "fail"))
        if result is None:
            ids = ("cancel-plan",) if self.has_focus else ("pane-plan", "cancel-plan")
            keys = " then ".join(self.keys.word(BY_ID[each]) for each in ids)
            return ((words, "bold"), ("running", "busy"), (f"  {keys}", "key"), (": no more steps", "plain"))
        if result.ok or result.cancelled:
            return ((words, "bold"), ("ok", "ok") if result.ok else ("stopped", "warn"))
        known = self.moment is not None and self.moment.snapshot.diagnoses
        key = self.keys.word(BY_ID["pane-diagnosis"]) if known else ""
        return ((words, "bold"), ("FAILED", "fail"), *(((f"  {key}", "key"), (": causes", "plain")) if key else ()))

    def _rows(self) -> Iterator[Row]:
        """The verdict, what went wrong, then all other steps in order."""
        progress = self._progress
        if progress is None:
            return
        cells = max(20, self.size.width - 2)
        if self.refusal:
            for at, text in enumerate(wrap(shown(self.refusal), cells)):
                yield Row(f"refusal/{at}", ((text, "fail"),))
        else:
            role = "fail" if progress.wrong else "ok" if progress.result and progress.result.ok else "title"
            for at, text in enumerate(wrap(shown(progress.verdict()), cells)):
                yield Row(f"verdict/{at}", ((text, role),))
        stage = 0
        for row in progress.rows():
            yield from self._outcome_rows(row, "" if row.folded.stage == stage else str(row.folded.stage))
            stage = row.folded.stage

    def _outcome_rows(self, row: FoldedOutcome, number: str) -> Iterator[Row]:
        """The steps of a row with their sign; what they reported below, where it is one thing and they are not done."""
        sign, key = OUTCOMES[row.outcome], f"step/{row.key}"
        begin: tuple[Span, ...] = ((fit(number, 3), "dim"), (f"{self.pen.sign(sign)} {sign.word:8}", sign.role))
        room = max(20, self.size.width - INDENT - 3)
        one, *others = wrap(shown(row.folded.title), room)
        told = row.messages[0] if len(row.messages) == 1 else ""
        beside = row.outcome is Outcome.DONE and told and not others and width(one) + width(shown(told)) + 2 <= room
        line: Line = (*begin, (one, "plain"), (f"  {shown(told)}" if beside else "", "dim"))
        yield from self.folded(key, line, self._each_step(row))
        for at, text in enumerate(others):
            yield Row(f"{key}/title/{at}", ((" " * (INDENT + 2), ""), (text, "plain")))
        for step in row.steps:
            if step.id in self._counts:
                yield Row(f"count/{step.id}", ((" " * (INDENT + 2) + self._counts[step.id], sign.role),))
        if row.outcome is not Outcome.DONE and told:
            yield from self.texts(f"{key}/news", shown(told), INDENT + 2, sign.role)

    def _each_step(self, row: FoldedOutcome) -> Iterator[Row]:
        """Each step by itself, with what it reported."""
        for step in row.steps:
            news = self._progress.messages.get(step.id, "") if self._progress else ""
            node = "" if step.title.startswith(f"{step.node}: ") else f"  {step.node}"
            text = shown(f"{step.title}{node}" + (f": {news}" if news else ""))
            yield from self.texts(f"each/{row.key}/{step.id}", text, INDENT + 2, "dim")


def _time_words(step: Step, ran_s: float, drain_s: float) -> str:
    """How much of its time a step has used, and what follows; empty for one without a limit, or beyond it."""
    ran = int(ran_s)
    if step.act == "drain" and ran < drain_s:
        return f"drain {ran}/{drain_s:.0f} s, then remaining requests are aborted"
    if step.act == "stop" and ran < GRACE_S:
        return f"TERM {ran}/{GRACE_S:.0f} s, then KILL"
    if step.act == "stop" and ran < GRACE_S + KILL_S:
        return f"KILL {ran - int(GRACE_S)}/{KILL_S:.0f} s, then STUCK"
    return ""
