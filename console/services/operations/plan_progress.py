"""The progress of a plan, for an operator: a verdict, then rows of steps with the same work and the same outcome. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from console.model.counting import counted
from console.model.plan import Outcome, Plan, PlanResult, Step, StepEvent
from console.services.operations.step_folding import FoldedSteps, StepPart, folded_plan

WRONG = (Outcome.FAILED, Outcome.UNKNOWN)
_ONE_BY_ONE = (*WRONG, Outcome.RUNNING)
"""Outcomes whose steps share a row only when they report the same."""


@dataclass(frozen=True, slots=True)
class FoldedOutcome:
    """Steps of one stage that do the same and have the same outcome."""

    folded: FoldedSteps
    outcome: Outcome
    messages: tuple[str, ...]
    """What the steps reported, each text once."""

    @property
    def key(self) -> str:
        """A name that is unique within the plan."""
        return self.folded.key

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps."""
        return self.folded.steps


class PlanProgress:
    """The outcomes of one plan's steps so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcomes = {step.id: Outcome.PENDING for step in plan.steps}
        self.messages: dict[str, str] = {}
        self.result: PlanResult | None = None
        self._folded = folded_plan(plan)
        self._having: dict[str, list[FoldedSteps]] = {}
        for row in self._folded:
            for step in row.steps:
                self._having.setdefault(step.id, []).append(row)

    def note(self, event: StepEvent) -> None:
        """Take an event of a step."""
        self.outcomes[event.step] = event.outcome
        if event.message:
            self.messages[event.step] = event.message

    def end(self, result: PlanResult) -> None:
        """Take the outcome of the whole plan."""
        self.result = result
        self.outcomes.update(result.outcomes)
        self.messages.update({step: text for step, text in result.messages.items() if text})

    @property
    def wrong(self) -> bool:
        """Whether a step failed or its outcome is unknown."""
        return any(outcome in WRONG for outcome in self.outcomes.values())

    def rows(self) -> tuple[FoldedOutcome, ...]:
        """All steps, folded: failed and unknown ones first, the others in the order of the plan."""
        found = (each for row in self._folded for each in self._row(row))
        return tuple(sorted(found, key=lambda row: row.outcome not in WRONG))

    def rows_with(self, step: str) -> tuple[tuple[FoldedSteps, tuple[FoldedOutcome, ...]], ...]:
        """The rows of the plan that contain this step, by its id, each split by outcome."""
        return tuple((row, tuple(self._row(row))) for row in self._having.get(step, ()))

    def _row(self, row: FoldedSteps) -> Iterator[FoldedOutcome]:
        alike: dict[tuple[Outcome, str], list[StepPart]] = {}
        for part in row.parts:
            outcome = self.outcomes[part.step.id]
            own = self.messages.get(part.step.id, "") if outcome in _ONE_BY_ONE else ""
            alike.setdefault((outcome, own), []).append(part)
        for (outcome, _), parts in alike.items():
            texts = dict.fromkeys(text for part in parts if (text := self.messages.get(part.step.id, "")))
            yield FoldedOutcome(FoldedSteps(row.stage, tuple(parts)), outcome, tuple(texts))

    def verdict(self) -> str:
        """One line: the first failed or unknown step, else how the plan ended, else which stage runs."""
        plan, result = self.plan, self.result
        rows = self.rows()
        if rows and rows[0].outcome in WRONG:
            where = f"stage {rows[0].folded.stage} of {len(plan.stages)}"
            if rows[0].outcome is Outcome.FAILED:
                return f"{plan.verb} failed at {where}: {rows[0].folded.title}"
            doubt = f"{plan.verb}: the outcome of a step is unknown at {where}: {rows[0].folded.title}"
            return f"{doubt}; check the engines, then make a new plan"
        if result is not None and not result.ok:
            skipped = sum(outcome is Outcome.SKIPPED for outcome in self.outcomes.values())
            by = f", taken over by {result.taken_over}" if result.taken_over else ""
            return f"{plan.verb} was cancelled{by}: {counted(skipped, 'step')} not started"
        if result is not None:
            return f"{plan.verb} of {plan.target} is done"
        now = next((row for row in rows if row.outcome in (Outcome.RUNNING, Outcome.PENDING)), None)
        if now is None:
            return f"{plan.verb}: every step is done"
        state = "runs" if now.outcome is Outcome.RUNNING else "is next"
        return f"{plan.verb}: stage {now.folded.stage} of {len(plan.stages)} {state}"
