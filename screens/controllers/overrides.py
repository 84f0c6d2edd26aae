"""What an operator may insist on after a plan was refused: taking over from another one, passing over failed checks.

Both are typed and journaled. Whether a plan may run is decided by the operator service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.model.errors import Busy
from console.model.plan import Outcome, Plan, PlanResult, StepEvent
from screens.dialogs.typed_confirm import TypedConfirmDialog
from screens.styled_lines import Line, shown

if TYPE_CHECKING:
    from screens.app import ConsoleApp
    from screens.protocols import EngineOperator


class Overrides:
    """One plan that is run, and run again when its operator insists."""

    def __init__(self, console: ConsoleApp, operator: EngineOperator, plan: Plan, confirmed: str) -> None:
        self._console = console
        self._operator = operator
        self._plan = plan
        self._confirmed = confirmed

    async def run(self, notice: Callable[[StepEvent], None]) -> PlanResult:
        """The result of the last time it ran. Raises ConsoleError as the operator service does."""
        takeover, override = False, frozenset[str]()
        while True:
            try:
                result = await self._operator.run(
                    self._plan, notice, confirmed=self._confirmed, takeover=takeover, override=override
                )
            except Busy as busy:
                if takeover or not busy.holder or not await self._takes_over(busy):
                    raise
                takeover = True
                continue
            if not result.checks or not await self._passes_over(result):
                return result
            override |= frozenset(result.checks)

    async def _takes_over(self, busy: Busy) -> bool:
        text = (
            "Ask them first. Their plan starts no more steps once their console sees this, within seconds; steps under way end "
            "by themselves. It is written to the journal and shown in other consoles. What each node does is still decided "
            "there: a launch made from an old view is refused."
        )
        title: Line = (("TAKE OVER ", "danger"), (f"from {shown(busy.holder)}", "title"))
        return await self._asks(title, (str(busy), text), busy.holder, f"to {self._plan.verb} all the same")

    async def _passes_over(self, result: PlanResult) -> bool:
        failed = [step for step, outcome in result.outcomes.items() if outcome is Outcome.FAILED]
        ids = " ".join(result.checks)
        before = (
            "Nothing was started." if self._plan.verb == "start" else "What ran was stopped, nothing was started yet."
        )
        title: Line = (
            ("PASS OVER ", "danger"),
            (f"check{'s' if len(result.checks) > 1 else ''} {shown(ids)}", "title"),
        )
        texts = (*(result.messages.get(step, step) for step in failed), before)
        return await self._asks(title, texts, ids, f"to {self._plan.verb} although they fail")

    async def _asks(self, title: Line, texts: Sequence[str], expected: str, what: str) -> bool:
        console = self._console
        dialog = TypedConfirmDialog(
            console.look, console.pen, console.keys, title=title, texts=texts, expected=expected, what=what
        )
        return await console.push_screen_wait(dialog) is not None
