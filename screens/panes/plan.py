"""The plan pane: the running or last plan, stage by stage, with what became of each step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from console.model.plan import Outcome, Plan, PlanResult, Step, StepEvent
from console.services.monitoring.intervals import GRACE_S, KILL_S
from screens.actions import BY_ID, bindings
from screens.panes.base import Pane, PaneMoment
from screens.styled_lines import Line, Row, Span, shown, width, wrap
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


class PlanPane(Pane):
    """Progress of one plan. It keeps the last one, so that a failure can be read afterwards."""

    place: ClassVar[str] = "plan"
    BINDINGS: ClassVar = bindings("plan", "verb")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.plan: Plan | None = None
        self.result: PlanResult | None = None
        self._outcomes: dict[str, Outcome] = {}
        self._news: dict[str, str] = {}
        self.empty = "no plan has run; s, x, r on an engine make one"
        self.refusal = ""
        self._read_by_hand = False
        self.clock: Callable[[], float] = time.monotonic
        self._began: dict[str, float] = {}
        """Since when each running step runs."""
        self._counts: dict[str, str] = {}
        """What is said of the time that running steps have."""

    def moved(self) -> None:
        """The reader went somewhere by hand."""
        self._read_by_hand = True

    @property
    def _open(self) -> set[str]:
        """Rows of the steps an eye should be on: those that went wrong, else those that are not done."""
        bad = {
            f"step/{step}" for step, outcome in self._outcomes.items() if outcome in (Outcome.FAILED, Outcome.UNKNOWN)
        }
        undone = {
            f"step/{step}" for step, outcome in self._outcomes.items() if outcome in (Outcome.RUNNING, Outcome.PENDING)
        }
        return bad or undone

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
        self.plan, self.result, self.refusal = plan, None, ""
        self._outcomes = {step.id: Outcome.PENDING for step in plan.steps}
        self._news = {}
        self._began = {}
        self._read_by_hand = False
        self.redraw()

    def note(self, event: StepEvent) -> None:
        """Take news of a step."""
        self._outcomes[event.step] = event.outcome
        if event.outcome is Outcome.RUNNING:
            self._began.setdefault(event.step, self.clock())
        if event.message:
            self._news[event.step] = event.message
        self.redraw()

    def end(self, result: PlanResult) -> None:
        """Take the outcome of the whole."""
        self.result = result
        self._outcomes.update(result.outcomes)
        self._news.update({step: text for step, text in result.messages.items() if text})
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
        if self.plan is None or self.result is not None:
            return {}
        now, limit = self.clock(), self.plan.drain_s
        return {
            step.id: words
            for step in self.plan.steps
            if self._outcomes.get(step.id) is Outcome.RUNNING
            and (words := _time_words(step, now - self._began.get(step.id, now), limit))
        }

    def redraw(self) -> None:
        """Make the rows anew; the step that runs stays in sight unless the reader has gone elsewhere."""
        self._counts = self._counted()
        rows = self._rows()
        if not self._read_by_hand:
            here = next((index for index, row in enumerate(rows) if row.key in self._open), len(rows))
            above = 1 if self.result is not None else self.visible_rows // 2
            self.offset_row = max(0, here - above)
        self.show(rows)
        self.on_title()

    def title(self) -> Line:
        """What it is and how far."""
        if self.plan is None:
            return (("Plan", "bold"), ("  none yet", "dim"))
        done = sum(1 for each in self._outcomes.values() if each is Outcome.DONE)
        words = f"Plan: {self.plan.verb} {done}/{len(self._outcomes)} steps "
        if self.refusal:
            return ((words, "bold"), ("REFUSED", "fail"))
        if self.result is None:
            return (
                (words, "bold"),
                ("running" + (", c: no more steps" if self.has_focus else ", 8 c: no more steps"), "busy"),
            )
        if self.result.ok or self.result.cancelled:
            return ((words, "bold"), ("ok", "ok") if self.result.ok else ("stopped", "warn"))
        known = self.moment is not None and self.moment.snapshot.diagnoses
        key = self.keys.word(BY_ID["pane-diagnosis"]) if known else ""
        return ((words, "bold"), ("FAILED", "fail"), *(((f"  {key}", "key"), (": causes", "plain")) if key else ()))

    def _step(self, step: Step, sign: Sign) -> list[Row]:
        """A step with its whole title, and its node behind the last words where there is room."""
        cells = max(20, self.size.width - 13)
        node = "" if step.title.startswith(f"{step.node}:") else f"  {shown(step.node)}"
        title = wrap(shown(step.title), cells)
        apart = width(title[-1]) + width(node) > cells
        lines: list[Line] = [((text, "plain"),) for text in title]
        lines[-1] = lines[-1] if apart else (*lines[-1], (node, "dim"))
        lines += [((node.strip(), "dim"),)] if apart and node else []
        begin: list[Span] = [(f"   {self.pen.sign(sign)} {sign.word:8}", sign.role), (" " * 13, "")]
        return [
            Row(f"step/{step.id}" if not at else f"title/{step.id}/{at}", (begin[min(at, 1)], *line))
            for at, line in enumerate(lines)
        ]

    def _rows(self) -> list[Row]:
        if self.plan is None:
            return []
        rows: list[Row] = []
        cells = max(20, self.size.width - 8)
        if self.refusal:
            rows.extend(
                Row(f"refusal/{at}", ((text, "fail"),)) for at, text in enumerate(wrap(shown(self.refusal), cells))
            )
        for number, stage in enumerate(self.plan.stages):
            rows.append(Row(f"stage/{number}", ((f"{number + 1}. {shown(stage.title)}", "title"),)))
            for step in stage.steps:
                outcome = self._outcomes.get(step.id, Outcome.PENDING)
                sign = OUTCOMES[outcome]
                rows.extend(self._step(step, sign))
                if step.id in self._counts:
                    rows.append(Row(f"count/{step.id}", ((f"       {self._counts[step.id]}", sign.role),)))
                news = self._news.get(step.id, "")
                rows.extend(
                    Row(f"news/{step.id}/{at}", ((f"       {text}", sign.role),))
                    for at, text in enumerate(wrap(shown(news), cells) if news else [])
                )
        return rows


def _time_words(step: Step, ran_s: float, drain_s: float) -> str:
    """How much of its time a step has used, and what follows; empty for one without a limit, or beyond it."""
    ran = int(ran_s)
    if step.act == "drain" and ran < drain_s:
        return f"drain {ran}/{drain_s:.0f} s, then what still runs is cut"
    if step.act == "stop" and ran < GRACE_S:
        return f"TERM {ran}/{GRACE_S:.0f} s, then KILL"
    if step.act == "stop" and ran < GRACE_S + KILL_S:
        return f"KILL {ran - int(GRACE_S)}/{KILL_S:.0f} s, then STUCK"
    return ""
