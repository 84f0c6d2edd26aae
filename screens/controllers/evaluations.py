"""Begins and cancels evaluations from the screen: a line of words, the plan dialog, one run or one after the other. No figure
is worked out here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from textual.worker import Worker

from console.model.errors import ConsoleError
from console.model.run import RunKey
from screens.background_work import set_off
from screens.dialogs.evaluation import EvaluationDialog
from screens.dialogs.picker import PickerDialog
from screens.panes.base import Target
from screens.panes.evaluation import EvaluationPane
from screens.panes.log import LogPane
from screens.styled_lines import Line, Row, shown, wrap
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.model.plan import Plan
    from console.services.evaluation.plans import EvaluationPlan, EvaluationRequest
    from screens.evaluation.running import RunningEvaluation
    from screens.main import MainScreen

BEGINNINGS: tuple[tuple[str, str], ...] = (
    (
        "bench --tool built-in --concurrency 8 --num-prompts 40",
        "A quick look from this machine through the SSH connection; needs nothing on a node and ends with this console.",
    ),
    (
        "bench --concurrency 16",
        "vllm bench serve in a container of the deployment: 16 requests in flight, random prompts.",
    ),
    ("bench --request-rate 2", "vllm bench serve: 2 requests a second, whatever the engines do with them."),
    (
        "bench --sweep 1,2,4,8,16,32",
        "vllm bench serve, one run after the other: throughput against latency, and the knee.",
    ),
    ("bench --tool aisbench --concurrency 16", "AISBench's performance run with its streaming configuration."),
    ("eval gsm8k", "AISBench accuracy on GSM8K."),
    ("eval gpqa", "AISBench accuracy on GPQA diamond. It takes hours."),
)
"""What one may start with; every line can be changed before it is planned."""


class EvaluationActions:
    """One asking at a time; runs on nodes go on without the console, a sweep and the built-in generator need it."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen
        self._work: dict[RunKey, Worker[None]] = {}
        """Workers of the built-in generator's runs."""

    def verbs(self) -> Verbs:
        """Keys that start or end a run."""
        return {"new-run": self.choose, "cancel-run": self.cancel_here}

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """What can be typed with words behind it."""
        return {"bench": lambda words: self.ask("bench", words), "eval": lambda words: self.ask("eval", words)}

    def choose(self) -> None:
        """Choose a beginning and go on typing."""
        if self._may():
            set_off(self._screen, "act", self._choose)

    async def _choose(self) -> None:
        console = self._screen.console
        rows = [Row(words, ((words, "bold"),)) for words, _ in BEGINNINGS]
        texts = dict(BEGINNINGS)
        foot: Line = (
            ("Enter", "key"),
            (" to the command line, to change it  ", "dim"),
            ("esc", "key"),
            (" close", "dim"),
        )
        chosen = await console.push_screen_wait(
            PickerDialog(
                console.look,
                console.pen,
                console.keys,
                title=(("What to measure?", "title"),),
                rows=rows,
                foot=foot,
                preview=lambda words: [((text, "plain"),) for text in wrap(texts[words], 74)],
            )
        )
        if chosen is not None:
            self._screen.command_line.begin(chosen)

    def ask(self, verb: str, words: str) -> None:
        """Show the plan of what was typed."""
        from console.services.evaluation.evaluation_options import parse_line  # needed by nobody who measures nothing

        if not self._may():
            return
        try:
            asks = parse_line(verb, words)
        except ConsoleError as error:
            self._warn(f"{error}; {error.hint}" if error.hint else str(error))
            return
        set_off(self._screen, "act", self._ask, asks)

    async def _ask(self, asks: Sequence[EvaluationRequest]) -> None:
        from console.services.evaluation.plans import dialog_plan, next_argv  # as above

        console = self._screen.console
        session = console.session
        made: list[EvaluationPlan] = []
        following: list[tuple[EvaluationRequest, tuple[str, ...]]] = []

        async def prepare() -> Plan:
            plan = await session.evaluator.prepare(asks[0])
            made.append(plan)
            following[:] = [(ask, next_argv(plan, session.deployment, ask)) for ask in asks[1:]]
            serving = session.snapshot.serving.get("")
            return dialog_plan(plan, session.deployment, asks[1:], (serving.running or 0) if serving else 0)

        count = f", {len(asks)} runs" if len(asks) > 1 else ""
        words = f"{asks[0].kind.upper()} {asks[0].tool} {asks[0].subject}{count}"
        dialog = EvaluationDialog(
            console.look, console.pen, console.keys, words=words, cluster=session.cluster.name, prepare=prepare
        )
        if await console.push_screen_wait(dialog) and made:
            worker = console.run_worker(self._run(made[-1], following), group="evaluation")
            if not made[-1].node:
                self._work[made[-1].key] = worker

    async def _run(self, plan: EvaluationPlan, following: Sequence[tuple[EvaluationRequest, tuple[str, ...]]]) -> None:
        """This run, then those that follow with the words they were shown with; the first that does not end well ends it."""
        screen = self._screen
        evaluator = screen.console.session.evaluator
        worker = self._work.get(plan.key)
        screen.arrangement.go("evaluation")
        try:
            good = await self._one(plan, wait=bool(following))
            for left, (ask, argv) in zip(range(len(following), 0, -1), following, strict=True):
                if not good:
                    self._warn(f"the sweep ends here: the last run did not end well, {left} were to follow")
                    return
                plan = await evaluator.prepare(ask)
                if plan.argv != argv:
                    self._warn(f"the sweep ends here: what follows is no longer what was shown, {left} were to follow")
                    return
                if worker is not None:
                    self._work[plan.key] = worker
                good = await self._one(plan, wait=left > 1)
        except ConsoleError as error:
            screen.console.tell(error)
        finally:
            self._work = {key: each for key, each in self._work.items() if each is not worker}

    async def _one(self, plan: EvaluationPlan, *, wait: bool) -> bool:
        """Begin a run and, when asked to, wait for its record; whether one can go on."""
        evaluator = self._screen.console.session.evaluator
        if not plan.node:
            record = await evaluator.measure(plan, lambda progress: None, confirmed=True)
            return record.clean
        key = await evaluator.start(plan, confirmed=True)
        self._screen.notify(
            f"{key.engine} runs on {shown(plan.node)}; it goes on when you leave", markup=False, timeout=4
        )
        return not wait or (await evaluator.watch.wait(key, lambda progress: None)).clean

    def cancel_here(self) -> None:
        """Ask, then end the run under the cursor."""
        pane = self._pane
        live = next((each for each in pane.live() if each.key.run == pane.run_here), None)
        if live is None:
            self._warn("no running evaluation under the cursor")
        elif self._may():
            set_off(self._screen, "act", self._cancel, live)

    async def _cancel(self, live: RunningEvaluation) -> None:
        console = self._screen.console
        where = (
            f"TERM to every process of the run on {live.node}, KILL after 10 s to what is left." if live.node else ""
        )
        text = f"{where} Its figures are lost. No engine is touched.".strip()
        if not await console.ask_yes((("Cancel ", "plain"), (shown(live.key.engine), "bold"), ("?", "plain")), text):
            return
        if not live.node:
            worker = self._work.get(live.key)
            if worker is not None:
                worker.cancel()
            self._screen.notify("cancelled; nothing is sent any more", markup=False, timeout=4)
            return
        try:
            result = await console.session.evaluator.cancel(live.key, live.node)
        except ConsoleError as error:
            console.tell(error)
            return
        left = ", ".join(str(each) for each in result.processes)
        self._screen.notify(
            f"{live.key.engine} on {shown(live.node)}: {result.outcome}" + (f", left: {shown(left)}" if left else ""),
            severity="error" if result.outcome == "stuck" else "information",
            markup=False,
        )

    def show_log(self, engine: str, run: str) -> None:
        """The log of a run in the log pane, until the cursor of the grid moves."""
        screen = self._screen
        log = screen.panes["logs"]
        assert isinstance(log, LogPane)
        screen.pinned = (screen.grid.target, Target(engine=engine))
        screen.arrangement.go("logs")
        log.run_name = run
        screen.follow_cursor()

    def _may(self) -> bool:
        if self._screen.console.session.read_only:
            self._warn("read-only: the console was not started with --write")
            return False
        return True

    @property
    def _pane(self) -> EvaluationPane:
        pane = self._screen.panes["evaluation"]
        assert isinstance(pane, EvaluationPane)
        return pane

    def _warn(self, words: str) -> None:
        self._screen.notify(shown(words), severity="warning", markup=False)
