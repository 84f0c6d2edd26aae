"""Lines that tell how far a plan is: what happens alike to many engines or nodes is one line, as it is one row of the plan."""

from __future__ import annotations

import time
from collections.abc import Iterator

from console.model.plan import Outcome, Plan, StepEvent
from console.model.shortening import list_text
from console.services.operations.plan_progress import WRONG, FoldedOutcome, PlanProgress
from console.services.operations.step_folding import FoldedSteps

_MOST_MESSAGES = 2
_OPEN = (Outcome.PENDING, Outcome.RUNNING)
_NEWS = (Outcome.RUNNING, *WRONG)


class StepLines:
    """Turns the events of one plan into lines.

    A row of the plan has a line when its first step begins and when all its steps have ended. What a running step reports,
    and that one goes wrong, has a line at once, but not a second one for another step that reports the same.
    """

    def __init__(self, plan: Plan) -> None:
        self._progress = PlanProgress(plan)
        self._told: set[tuple[str, ...]] = set()

    def lines(self, event: StepEvent) -> Iterator[str]:
        """The lines that an event brings."""
        self._progress.note(event)
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        for row, parts in self._progress.rows_with(event.step):
            over = all(part.outcome not in _OPEN for part in parts)
            for part in parts:
                if over:
                    yield from self._once(
                        clock, part, part.folded.title, list_text(part.messages, _MOST_MESSAGES, "; ")
                    )
                elif any(step.id == event.step for step in part.steps) and part.outcome in _NEWS:
                    yield from self._first(clock, row, part, event.message)

    def _first(self, clock: str, row: FoldedSteps, part: FoldedOutcome, message: str) -> Iterator[str]:
        if (row.key, part.outcome, message) not in self._told:
            self._told.add((row.key, part.outcome, message))
            begins = part.outcome is Outcome.RUNNING and not message
            yield from self._once(clock, part, row.title if begins else part.folded.title, message)

    def _once(self, clock: str, part: FoldedOutcome, title: str, message: str) -> Iterator[str]:
        if (part.outcome, title, message) not in self._told:
            self._told.add((part.outcome, title, message))
            yield f"{clock} {part.outcome:8} {title}  {message}".rstrip()
