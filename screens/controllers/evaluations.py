"""Starts and cancels evaluations from the screen: the typed options, the plan dialog, one or several runs in turn. No figure
is worked out here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual.worker import Worker

from console.model.errors import ConsoleError
from console.model.run import RunKey
from screens.controllers.base import Commands, Controller
from screens.dialogs.evaluation import EvaluationDialog
from screens.styled_lines import Line, Row, shown, wrap
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.model.plan import Plan
    from console.services.evaluation.plans import EvaluationPlan, EvaluationRequest
    from screens.controllers.arrangement import Arrangement
    from screens.evaluation.running import RunningEvaluation
    from screens.fleet import Fleet
    from screens.interaction import Interaction
    from screens.panes.evaluation import EvaluationPane

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
        "vllm bench serve, one run after the other: throughput against latency, and where latency starts to rise fast.",
    ),
    ("bench --tool aisbench --concurrency 16", "AISBench's performance run with its streaming configuration."),
    ("eval gsm8k", "AISBench accuracy on GSM8K."),
    ("eval gpqa", "AISBench accuracy on GPQA diamond. It takes hours."),
)
"""What one may start with; every line can be changed before it is planned."""


@dataclass(eq=False)
class EvaluationActions(Controller):
    """One asking at a time; runs on nodes go on without the console, a sweep and the built-in generator need it."""

    interaction: Interaction
    fleet: Fleet
    arrangement: Arrangement
    pane: EvaluationPane
    begin_command: Callable[[str], None]
    """Opens the command line with the beginning of a command."""
    _work: dict[RunKey, Worker[None]] = field(default_factory=dict, init=False)
    """Workers of the built-in generator's runs."""

    def verbs(self) -> Verbs:
        """Keys that start or end a run."""
        return {"new-run": self.choose, "cancel-run": self.cancel_here}

    def commands(self) -> Commands:
        """What is measured, with its options."""
        return {"bench": lambda words: self.ask("bench", words), "eval": lambda words: self.ask("eval", words)}

    def choose(self) -> None:
        """Choose a beginning and go on typing."""
        if self._may():
            self.interaction.start("act", self._choose)

    async def _choose(self) -> None:
        texts = dict(BEGINNINGS)
        foot: Line = (
            ("Enter", "key"),
            (" to the command line, to change it  ", "dim"),
            ("esc", "key"),
            (" close", "dim"),
        )
        chosen = await self.interaction.choose(
            (("What to measure?", "title"),),
            [Row(words, ((words, "bold"),)) for words in texts],
            foot,
            preview=lambda words: [((text, "plain"),) for text in wrap(texts[words], 74)],
        )
        if chosen is not None:
            self.begin_command(chosen)

    def ask(self, verb: str, words: str) -> None:
        """Show the plan of what was typed."""
        from console.services.evaluation.evaluation_options import parse_line  # needed by nobody who measures nothing

        if not self._may():
            return
        try:
            asks = parse_line(verb, words)
        except ConsoleError as error:
            self.interaction.warn(f"{error}; {error.hint}" if error.hint else str(error))
            return
        self.interaction.start("act", self._ask, asks)

    async def _ask(self, asks: Sequence[EvaluationRequest]) -> None:
        from console.services.evaluation.plans import dialog_plan, next_argv  # as above

        session = self.fleet.session
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
        cluster = session.cluster.name
        if await self.interaction.answer(EvaluationDialog, words=words, cluster=cluster, prepare=prepare) and made:
            worker = self.interaction.start_beside(self._run(made[-1], following))
            if not made[-1].node:
                self._work[made[-1].key] = worker

    async def _run(self, plan: EvaluationPlan, following: Sequence[tuple[EvaluationRequest, tuple[str, ...]]]) -> None:
        """This run, then those that follow with the words they were shown with; the first that does not end well ends it."""
        evaluator = self.fleet.session.evaluator
        worker = self._work.get(plan.key)
        self.arrangement.go("evaluation")
        try:
            good = await self._one(plan, wait=bool(following))
            for left, (ask, argv) in zip(range(len(following), 0, -1), following, strict=True):
                if not good:
                    self.interaction.warn(
                        f"the sweep ends here: the last run did not end well, {left} more were not started"
                    )
                    return
                plan = await evaluator.prepare(ask)
                if plan.argv != argv:
                    self.interaction.warn(
                        f"the sweep ends here: the next command differs from the one you confirmed, {left} more were not started"
                    )
                    return
                if worker is not None:
                    self._work[plan.key] = worker
                good = await self._one(plan, wait=left > 1)
        except ConsoleError as error:
            self.interaction.tell(error)
        finally:
            self._work = {key: each for key, each in self._work.items() if each is not worker}

    async def _one(self, plan: EvaluationPlan, *, wait: bool) -> bool:
        """Begin a run and, when asked to, wait for its record; whether one can go on."""
        evaluator = self.fleet.session.evaluator
        if not plan.node:
            record = await evaluator.measure(plan, lambda progress: None, confirmed=True)
            return record.clean
        key = await evaluator.start(plan, confirmed=True)
        self.interaction.notify(f"{key.engine} runs on {shown(plan.node)}; it continues after you quit", timeout=4)
        return not wait or (await evaluator.watch.wait(key, lambda progress: None)).clean

    def cancel_here(self) -> None:
        """Ask, then end the run under the cursor."""
        live = next((each for each in self.pane.live() if each.key.run == self.pane.run_here), None)
        if live is None:
            self.interaction.warn("no running evaluation under the cursor")
        elif self._may():
            self.interaction.start("act", self._cancel, live)

    async def _cancel(self, live: RunningEvaluation) -> None:
        where = (
            f"TERM to every process of the run on {live.node}, KILL after 10 s to what is left." if live.node else ""
        )
        text = f"{where} Its figures are lost. No engine is touched.".strip()
        if not await self.interaction.ask_yes(
            (("Cancel ", "plain"), (shown(live.key.engine), "bold"), ("?", "plain")), text
        ):
            return
        if not live.node:
            worker = self._work.get(live.key)
            if worker is not None:
                worker.cancel()
            self.interaction.notify("cancelled; no more requests are sent", timeout=4)
            return
        try:
            result = await self.fleet.session.evaluator.cancel(live.key, live.node)
        except ConsoleError as error:
            self.interaction.tell(error)
            return
        left = ", ".join(str(each) for each in result.processes)
        self.interaction.notify(
            f"{live.key.engine} on {shown(live.node)}: {result.outcome}" + (f", left: {shown(left)}" if left else ""),
            severity="error" if result.outcome == "stuck" else "information",
        )

    def _may(self) -> bool:
        if self.fleet.session.read_only:
            self.interaction.warn("read-only: the console was not started with --write")
            return False
        return True
