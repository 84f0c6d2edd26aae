"""Evaluations without a node: results in a real file, runs that a test lets start, go on and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from console.commands.evaluation import Endpoint
from console.evaluation.progress import Progress
from console.evaluation.records import Ending, Record, Tool
from console.evaluation.result_store import ResultStore
from console.model.deployment import Deployment
from console.model.errors import ConsoleError, Refused
from console.model.findings import Finding
from console.model.run import RunKey, RunState, RunVerdict, StopResult
from console.services.evaluation.evaluator import LocalRun
from console.services.evaluation.plans import EvaluationPlan, EvaluationRequest, engine_id, parameters, tool_argv
from tests.evaluation.figures import record

STARTED = 1_764_000_000.0


@dataclass
class FakeRuns:
    """Runs on nodes."""

    live: dict[RunKey, tuple[str, RunState]] = field(default_factory=dict)
    far: dict[RunKey, Progress] = field(default_factory=dict)
    ended: dict[RunKey, asyncio.Future[Record]] = field(default_factory=dict)

    def running(self) -> tuple[tuple[str, RunState], ...]:
        """What lives."""
        return tuple(self.live.values())

    def progress(self, key: RunKey) -> Progress | None:
        """What a test says."""
        return self.far.get(key)

    async def wait(self, key: RunKey, told: Callable[[Progress | None], None]) -> Record:
        """Until a test ends it."""
        return await self.ended[key]


class FakeEvaluator:
    """Like the real one, with plans that only add a run here."""

    def __init__(self, directory: Path, deployment: Callable[[], Deployment], *, read_only: bool = False) -> None:
        self._deployment = deployment
        self.store = ResultStore(directory / "results.sqlite")
        self.watch = FakeRuns()
        self.local: dict[RunKey, LocalRun] = {}
        self.read_only = read_only
        self.asked: list[EvaluationRequest] = []
        self.started: list[RunKey] = []
        self.cancelled: list[tuple[RunKey, str]] = []
        self.findings: tuple[Finding, ...] = ()
        self.refusal: ConsoleError | None = None
        self.gate = asyncio.Event()

    async def prepare(self, ask: EvaluationRequest) -> EvaluationPlan:
        """Checked by nobody."""
        if self.read_only:
            raise Refused("this session is read-only, and an evaluation loads the cluster")
        self.asked.append(ask)
        key = RunKey("a3-pd", engine_id(ask), f"20261123T20{len(self.asked):02d}00Z-ab12")
        node = "" if ask.tool is Tool.BUILT_IN else ask.node or "p0"
        where = Endpoint("10.0.0.1", 8000, "p0", "proxy")
        return EvaluationPlan(
            ask,
            where,
            node,
            "dsv4",
            key,
            "",
            tool_argv(self._deployment(), ask, where, "dsv4")[0],
            self.findings,
            {},
            None,
            {},
        )

    async def start(self, plan: EvaluationPlan, *, confirmed: bool) -> RunKey:
        """A run that lives until `end`."""
        assert confirmed
        if self.refusal is not None:
            raise self.refusal
        self.started.append(plan.key)
        self.begin(plan.key, plan.node, plan.ask)
        return plan.key

    def begin(self, key: RunKey, node: str, ask: EvaluationRequest) -> None:
        """A run is there, whoever started it."""
        said: dict[str, JsonValue] = {
            "token": "t",
            "tool": str(ask.tool),
            "kind": str(ask.kind),
            "subject": ask.subject,
            "endpoint": "10.0.0.1:8000",
            "model": "dsv4",
            "cluster": "lab",
            "layout_hash": "0123456789ab",
            "parameters": parameters(ask),
        }
        state = RunState(key, RunVerdict.RUNNING, pid=7, started_at=STARTED, spec={"evaluation": said})
        self.watch.live[key] = (node, state)
        self.watch.ended[key] = asyncio.get_running_loop().create_future()

    def end(self, key: RunKey, **changes: object) -> Record:
        """A run ends and its record is kept."""
        del self.watch.live[key]
        made = record(key.run, started_at=STARTED + len(self.started), **changes)
        self.store.add(made)
        self.watch.ended[key].set_result(made)
        return made

    async def measure(self, plan: EvaluationPlan, told: Callable[[Progress], None], *, confirmed: bool) -> Record:
        """Goes on until the gate opens."""
        assert confirmed
        self.started.append(plan.key)
        self.local[plan.key] = LocalRun(plan, STARTED, Progress(3, 40, 2.0, 18.5, 0))
        try:
            await self.gate.wait()
        finally:
            del self.local[plan.key]
        made = record(plan.key.run, tool=Tool.BUILT_IN, started_at=STARTED + len(self.started))
        self.store.add(made)
        return made

    async def cancel(self, key: RunKey, node: str) -> StopResult:
        """Ends at once."""
        self.cancelled.append((key, node))
        self.end(key, numbers={}, ending=Ending.CANCELLED, error="cancelled before it ended")
        return StopResult("stopped")
