"""Shows a plan, asks for its confirmation, and runs it in the plan pane. The screen changes nodes in no other way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.errors import Busy, ConsoleError
from console.model.plan import Outcome, Plan, PlanResult, StepEvent, Verb
from screens.dialogs.plan import PlanDialog
from screens.dialogs.typed_confirm import TypedConfirmDialog
from screens.styled_lines import Line, shown

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from screens.dialogs.plan import Confirmed
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction
    from screens.panes.plan import PlanPane
    from screens.panes.table import Panes
    from screens.protocols import EngineOperator

Run = Callable[[Plan, Callable[[StepEvent], None], str], Awaitable[PlanResult]]
"""Runs a plan with what was typed to confirm it."""


@dataclass(eq=False)
class PlanOffer:
    """One plan at a time, in whichever cluster."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    panes: Panes
    pane: PlanPane
    draw_header: Callable[[], None]
    """Draws the header."""

    def offer(
        self,
        verb: Verb,
        target: str,
        prepare: Callable[[], Awaitable[Plan]],
        run: Run | None = None,
        *,
        asked: Sequence[str] = (),
        marks: Set[str] = frozenset(),
    ) -> None:
        """Prepare a plan, show it, and run it when it is confirmed; `run` replaces `EngineOperator.run`.

        `asked` are the engines that the operator selected; the plan says why it includes more. `marks` are the marked rows that
        it is for; they are unmarked when it runs.
        """
        if self.allowed():
            self.interaction.start("act", self._offer, verb, target, prepare, run, asked, marks)

    def allowed(self) -> bool:
        """Whether a plan may be made now; says why not."""
        if self.fleet.session.read_only:
            why = "this is a replay" if self.fleet.replay else "the console was not started with --write"
            self.interaction.warn(f"read-only: {why}")
            return False
        running = self.fleet.acting
        if running is not None:
            pane, cancel = self.interaction.key("pane-plan"), self.interaction.key("cancel-plan")
            self.interaction.warn(
                f"a {running.verb} is running on {shown(running.cluster)}; "
                f"{pane} shows it, and {cancel} there starts no more steps"
            )
            return False
        return True

    async def _offer(
        self,
        verb: Verb,
        target: str,
        prepare: Callable[[], Awaitable[Plan]],
        run: Run | None,
        asked: Sequence[str],
        marks: Set[str],
    ) -> None:
        session = self.fleet.session
        confirmed = await self.interaction.answer(
            PlanDialog,
            verb=verb,
            target=target,
            cluster=session.cluster.name,
            prepare=prepare,
            asked=asked,
            marked=len(marks),
        )
        if confirmed is not None:
            self.interaction.start_beside(self._run(session.operator, confirmed, run, marks))

    async def _run(self, operator: EngineOperator, confirmed: Confirmed, run: Run | None, marks: Set[str]) -> None:
        plan, pane = confirmed.plan, self.pane
        pane.begin(plan)
        self.panes.open("plan")
        used = [marks] if marks else []

        def notice(event: StepEvent) -> None:
            if used:  # a plan that is refused leaves its marks for another try
                self.grid.unmark(used.pop())
            if pane.plan is plan:  # a restart policy of another cluster may have started one meanwhile
                pane.note(event)
            self.draw_header()

        try:
            if run is None:
                result = await _Overrides(self.interaction, operator, plan, confirmed.typed).run(notice)
            else:
                result = await run(plan, notice, confirmed.typed)
        except ConsoleError as error:
            pane.refuse(f"{error}. {error.hint}" if error.hint else str(error))
            declined = run is None and isinstance(error, Busy) and error.holder
            if not declined:
                self.interaction.tell(error)
            return
        finally:
            self.draw_header()
        if pane.plan is plan:
            pane.end(result)
        for why in result.unrecorded:
            self.interaction.warn(f"done, but not recorded: {shown(why)}")
        severity: SeverityLevel = "information" if result.ok else "error"
        self.interaction.notify(f"{plan.verb} of {plan.target}: {_ending(result)}", severity=severity)


def _ending(result: PlanResult) -> str:
    """How a plan ended, in a few words."""
    if result.ok:
        return "done"
    if result.taken_over:
        return f"taken over by {shown(result.taken_over)}"
    return "cancelled" if result.cancelled else "FAILED, see the plan pane (8)"


class _Overrides:
    """Runs a plan, and runs it again when the operator chooses to take over the lease or to override failed checks.

    Both choices are typed and journaled. Whether a plan may run is decided by the operator service.
    """

    def __init__(self, interaction: Interaction, operator: EngineOperator, plan: Plan, confirmed: str) -> None:
        self._interaction = interaction
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
            "by themselves. The journal and other consoles show the takeover. Each node still checks every step: it refuses a "
            "launch that was planned from old data."
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
            ("IGNORE FAILED ", "danger"),
            (f"check{'s' if len(result.checks) > 1 else ''} {shown(ids)}", "title"),
        )
        texts = (*(result.messages.get(step, step) for step in failed), before)
        return await self._asks(title, texts, ids, f"to {self._plan.verb} although they fail")

    async def _asks(self, title: Line, texts: Sequence[str], expected: str, what: str) -> bool:
        answer = self._interaction.answer(TypedConfirmDialog, title=title, texts=texts, expected=expected, what=what)
        return await answer is not None
