"""What changes engines or the assignment: choose, show the plan, ask, run, tell. No rule is decided here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from typing import TYPE_CHECKING, Literal, cast

from console.model.assignment_changes import change_words
from console.model.deployment import engine_words
from console.model.errors import Busy, ConsoleError, UsageError
from console.model.plan import Plan, PlanResult, StepEvent, Verb
from console.model.shortening import list_text
from console.model.snapshot import LinkState
from screens.actions import BY_ID
from screens.assignment_preview import TAKE_AWAY, free_rows, group_rows, preview
from screens.background_work import set_off
from screens.controllers.assignment_board import report_change
from screens.controllers.overrides import Overrides
from screens.dialogs.picker import PickerDialog
from screens.dialogs.plan import PlanDialog
from screens.panes.base import pointed_row
from screens.panes.plan import PlanPane
from screens.styled_lines import Line, Row, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen
    from screens.protocols import EngineOperator, Session

Run = Callable[[Plan, Callable[[StepEvent], None], str], Awaitable[PlanResult]]
"""Runs a plan with what was typed to confirm it."""


class EngineActions:
    """Start, stop, restart, kill, assign; one plan at a time."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen

    def verbs(self) -> Verbs:
        """Keys that lead to a change."""
        return {
            "start": lambda: self.act("start"),
            "stop": lambda: self.act("stop"),
            "restart": lambda: self.act("restart"),
            "kill": lambda: self.act("kill"),
            "assign": self.assign,
            "undo": lambda: self.turn_back(True),
            "redo": lambda: self.turn_back(False),
            "refresh": self.refresh,
            "accept-key": self.accept_key,
        }

    def act(self, verb: Verb, engines: Sequence[str] | None = None) -> None:
        """Show the plan of a verb on these engines, or on the chosen ones."""
        screen = self._screen
        if not self._may_change():
            return
        marks: Set[str] = frozenset()
        if engines is not None:
            chosen = tuple(engines)
        elif (here := pointed_row(screen.focused)) is not None:
            chosen = (here.engine, *here.others)
        else:
            chosen, marks = screen.grid.chosen_engines(), screen.grid.view.marks
        if not chosen:
            if self._layout_chosen():
                screen.notify("no engine here: give the node to a group first (a)", severity="warning", markup=False)
            return
        operator = screen.console.session.operator
        target = engine_words(chosen)
        self.offer(verb, target, lambda: operator.prepare(verb, chosen), asked=chosen, marks=marks)

    def end(self, verb: Literal["stop", "kill"], node: str, pid: int) -> None:
        """Show the plan to end an unmanaged process."""
        operator = self._screen.console.session.operator
        self.offer(verb, f"pid {pid} on {node}", lambda: operator.prepare_end(verb, node, pid))

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
        """Show a plan that is still to be made, and run it when it is confirmed; `run` stands for the operator's own.

        `asked` are the engines that were pointed at, so that the plan can say why it takes in more; `marks` are the marked
        rows it is for, which are marked no longer once it runs.
        """
        if self._may_change():
            screen = self._screen
            set_off(screen, "act", self._act, verb, target, prepare, run, asked, marks)

    def _may_change(self) -> bool:
        screen = self._screen
        session = screen.console.session
        if session.read_only:
            replay = screen.replaying.words()
            why = "this is a replay" if replay else "the console was not started with --write"
            screen.notify(f"read-only: {why}", severity="warning", markup=False)
            return False
        running = screen.console.fleet.acting if screen.console.fleet else None
        if running is not None:
            pane, cancel = (screen.console.options.keys.word(BY_ID[each]) for each in ("pane-plan", "cancel-plan"))
            words = (
                f"a {running.verb} is running on {shown(running.cluster)}; "
                f"{pane} shows it, and {cancel} there starts no more steps"
            )
            screen.notify(words, severity="warning", markup=False)
            return False
        return True

    async def _act(
        self,
        verb: Verb,
        target: str,
        prepare: Callable[[], Awaitable[Plan]],
        run: Run | None,
        asked: Sequence[str],
        marks: Set[str],
    ) -> None:
        console = self._screen.console
        operator = console.session.operator
        dialog = PlanDialog(
            console.look,
            console.pen,
            console.keys,
            verb=verb,
            target=target,
            cluster=console.session.cluster.name,
            prepare=prepare,
            asked=asked,
            marked=len(marks),
        )
        confirmed = await console.push_screen_wait(dialog)
        if confirmed and dialog.plan is not None:
            console.run_worker(self._run(operator, dialog.plan, confirmed, run, marks), group="plan")

    async def _run(
        self, operator: EngineOperator, plan: Plan, confirmed: str, run: Run | None, marks: Set[str]
    ) -> None:
        screen = self._screen
        pane = cast(PlanPane, screen.panes["plan"])
        pane.begin(plan)
        screen.open_pane("plan")
        used = [marks] if marks else []

        def notice(event: StepEvent) -> None:
            if used:  # a plan that is refused leaves its marks for another try
                screen.grid.unmark(used.pop())
            if pane.plan is plan:  # a restart policy of another cluster may have started one meanwhile
                pane.note(event)
            screen.draw_header()

        try:
            if run is None:
                result = await Overrides(screen.console, operator, plan, confirmed).run(notice)
            else:
                result = await run(plan, notice, confirmed)
        except ConsoleError as error:
            pane.refuse(f"{error}. {error.hint}" if error.hint else str(error))
            if (
                run is not None or not isinstance(error, Busy) or not error.holder
            ):  # else it was asked about, and declined
                screen.console.tell(error)
            return
        finally:
            screen.draw_header()
        if pane.plan is plan:
            pane.end(result)
        for why in result.unrecorded:
            screen.notify(f"done, but not recorded: {shown(why)}", severity="warning", markup=False)
        screen.notify(
            f"{plan.verb} of {plan.target}: {_ending(result)}",
            severity="information" if result.ok else "error",
            markup=False,
        )

    def assign(self) -> None:
        """Choose a group for the marked or current nodes."""
        screen = self._screen
        nodes = screen.grid.chosen_nodes()
        if not nodes:
            screen.notify("no node here", severity="warning", markup=False)
            return
        if self._layout_chosen():
            set_off(screen, "act", self._assign, nodes)

    def _layout_chosen(self) -> bool:
        """Whether there is a layout to act by; where there is none, those that fit are offered."""
        chosen = self._screen.console.session.deployment.layout.chosen
        if not chosen:
            self._screen.editing.layout("")
        return chosen

    async def _assign(self, nodes: tuple[str, ...]) -> None:
        session = self._screen.console.session
        deployment = session.deployment
        names = list_text([shown(node) for node in nodes], 6)
        chosen = await self._choose(
            (("Give ", "plain"), (names, "bold"), (" to which group?", "plain")),
            group_rows(deployment),
            deployment.assignment.group_of(nodes[0]),
            lambda key: preview(deployment, None if key == TAKE_AWAY else key, nodes),
        )
        if chosen is not None:
            self._give(session, None if chosen == TAKE_AWAY else chosen, nodes)

    def fill(self, group: str, node: str | None) -> None:
        """Choose a node for an empty place of a group, or a group for the node of a place."""
        if node is not None:
            set_off(self._screen, "act", self._assign, (node,))
        else:
            set_off(self._screen, "act", self._fill, group)

    async def _fill(self, group: str) -> None:
        session = self._screen.console.session
        deployment = session.deployment
        rows = free_rows(deployment, group)
        title: Line = (("Which node for ", "plain"), (shown(group), "bold"), ("?", "plain"))
        chosen = await self._choose(title, rows, None, lambda key: preview(deployment, group, (key,)))
        if chosen is not None:
            self._give(session, group, (chosen,))

    async def _choose(
        self, title: Line, rows: list[Row], first: str | None, following: Callable[[str], Sequence[Line]]
    ) -> str | None:
        console = self._screen.console
        foot: Line = (("Enter", "key"), (" give  ", "dim"), ("esc", "key"), (" cancel  ", "dim"))
        return await console.push_screen_wait(
            PickerDialog(
                console.look,
                console.pen,
                console.keys,
                title=title,
                rows=rows,
                foot=(*foot, ("nothing changes on a node by this", "dim")),
                chosen=first,
                careful=True,
                preview=following,
            )
        )

    def _give(self, session: Session, group: str | None, nodes: Sequence[str]) -> None:
        before = session.deployment.assignment
        try:
            session.assign(group, nodes)
        except ConsoleError as error:
            self._screen.console.tell(error)
            return
        report_change(self._screen, before)
        self._screen.grid.look_at(marks=frozenset())
        self._screen.draw()

    def turn_back(self, back: bool) -> None:
        """Undo or redo a change of the assignment."""
        session, keys = self._screen.console.session, self._screen.console.options.keys
        before = session.deployment.assignment
        try:
            done = session.undo() if back else session.redo()
        except ConsoleError as error:
            self._screen.console.tell(error)
            return
        if not done:
            self._screen.notify(f"nothing to {'undo' if back else 'redo'}", markup=False, timeout=3)
        elif back:
            words = shown(change_words(session.deployment.assignment, before))
            self._screen.notify(f"undone: {words}; {keys.word(BY_ID['redo'])} does it again", markup=False)
        else:
            report_change(self._screen, before)
        self._screen.draw()

    def refresh(self) -> None:
        """Dial the current node now, draw everything anew."""
        target = self._screen.grid.target
        if target.node:
            self._screen.console.session.retry(target.node)
        self._screen.console.terminal.redraw()

    def accept_key(self) -> None:
        """Ask before a host key is trusted."""
        set_off(self._screen, "act", self._accept_key)

    async def _accept_key(self) -> None:
        screen = self._screen
        console = screen.console
        node = screen.snapshot.nodes.get(screen.grid.target.node or "")
        if node is None or not node.link.reason or node.link.state is not LinkState.BLOCKED:
            screen.notify("the node under the cursor is not blocked", markup=False)
            return
        if not node.link.question:
            text = f"there is no host key to trust: {shown(node.link.reason)}"
            console.tell(UsageError(text, hint=shown(node.link.hint)))
            return
        rows_text = f"{shown(node.link.reason)} {shown(node.link.hint)}".strip()
        if not await console.ask_yes(
            (("Trust this host key of ", "plain"), (shown(node.name), "bold"), ("?", "plain")), rows_text
        ):
            return
        try:
            await console.session.accept_host_key(node.name)
        except ConsoleError as error:
            console.tell(error)


def _ending(result: PlanResult) -> str:
    """How a plan ended, in a few words."""
    if result.ok:
        return "done"
    if result.taken_over:
        return f"taken over by {shown(result.taken_over)}"
    return "stopped on request" if result.cancelled else "FAILED, see the plan pane (8)"
