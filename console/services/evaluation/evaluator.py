"""Prepares, starts, cancels and records evaluations of a deployment.

A run belongs to its node: it continues without the console, and any console can make its record. Only the built-in generator
runs on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from console.commands import evaluation as commands
from console.commands.container import inside, own_container
from console.commands.evaluation import BenchLoad, Endpoint
from console.commands.script import cmd_sh
from console.evaluation.arrival_schedule import ClosedLoop, OpenLoop, prompts
from console.evaluation.figures import ResultError
from console.evaluation.loadgen import Lateness, Send, generate
from console.evaluation.progress import Progress
from console.evaluation.records import Ending, Record, Tool, layout_hash
from console.evaluation.result_store import ResultStore
from console.evaluation.statistics import Timed, read_requests
from console.journal import Journal
from console.model.errors import ConsoleError, LinkLost, Refused, Unreachable, UsageError
from console.model.findings import Finding, Severity
from console.model.run import RunKey, StopResult
from console.model.snapshot import EventLevel, LinkState
from console.remote.completion_streams import Streams
from console.remote.link import NodeLink
from console.services.evaluation import evaluation_checks, plans
from console.services.evaluation.past_runs import PastRuns
from console.services.evaluation.plans import EvaluationPlan, EvaluationRequest
from console.services.evaluation.results import npu_use
from console.services.evaluation.watch import EvaluationWatch
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.snapshot_builder import current_run
from console.services.operations.payloads import new_run_id
from console.services.serving.request_auth import client, key_of

GRACE_S, KILL_S = 10.0, 10.0
REQUEST_S = 600.0
"""Limit of one request of the built-in generator."""
WORDS_PER_TOKEN = 0.75
"""Approximate words per token of the generator's English prompts; records use the token counts of the server."""


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A run of the built-in generator on this machine, with its progress."""

    plan: EvaluationPlan
    started_at: float
    progress: Progress


class Evaluator:
    """The evaluations of one session."""

    def __init__(
        self,
        monitor: Monitor,
        links: Mapping[str, NodeLink],
        logs: LogBook,
        journal: Journal,
        store: ResultStore,
        *,
        who: str,
    ) -> None:
        self.store = store
        self._monitor = monitor
        self._links = links
        self._journal = journal
        self._who = who
        self.watch = EvaluationWatch(monitor, logs, store)
        monitor.subscribe(PastRuns(monitor, links, self.watch).update)
        self.local: dict[RunKey, LocalRun] = {}
        """Runs of the built-in generator on this machine."""

    async def prepare(self, ask: EvaluationRequest) -> EvaluationPlan:
        """Run all checks and build the exact run. Changes nothing on nodes.

        Raises Refused in read-only mode (an evaluation loads the cluster), UsageError for invalid requests, Unreachable when
        the node has no link.
        """
        self._require_write_access()
        deployment = self._monitor.deployment
        where = plans.address(ask.endpoint) if ask.endpoint else commands.endpoint(deployment)
        node = "" if ask.tool is Tool.BUILT_IN else ask.node or where.node or commands.endpoint(deployment).node
        near = self._link_node(ask, where, node)
        link = self._up(near)
        key = RunKey(deployment.name, plans.engine_id(ask), new_run_id())
        checked = await self._check(ask, where, node, link)
        model = ask.model or checked.model.id
        findings = (*checked.findings, *self._busy_findings(key))
        token = secrets.token_hex(8)
        api_key = key_of(deployment.layout, where.group)
        argv, config = plans.tool_argv(deployment, ask, where, model or "MODEL", keyed=bool(api_key))
        versions = plans.versions(deployment, checked, ask.tool)
        spec = plans.run_spec(deployment, ask, where, model, token=token, argv=argv, versions=versions, by=self._who)
        script = cmd_sh(commands.run_command(token, argv, config, api_key), deployment.node(node)) if node else ""
        found = current_run(self._monitor.nodes[node], key.deployment, key.engine) if node else None
        basis = found.key.run if found else None
        box = own_container(deployment, deployment.node(node), key.engine) if node else None
        work = (script, argv, findings, spec, basis, versions, box, api_key)
        return EvaluationPlan(ask, where, node, model, key, *work)

    async def start(self, plan: EvaluationPlan, *, confirmed: bool) -> RunKey:
        """Launch a prepared run on its node. Raises Refused without confirmation, ConsoleError for a failed check."""
        self._require_confirmed(plan, confirmed)
        if not plan.node:
            raise UsageError("the built-in generator runs here: use `measure`")
        facts = self._facts(plan)
        self._journal.record("evaluation-begin", **facts)
        link = self._up(plan.node)
        box = plan.container.spec() if plan.container else None
        await link.prepare(plan.key, dict(plan.spec), plan.script, plan.basis, container=box)
        try:
            await link.commit(plan.key)
        except LinkLost:
            raise
        except ConsoleError as error:
            self._journal.record("evaluation-refused", error=str(error), **facts)
            with contextlib.suppress(ConsoleError):  # the node keeps a run that was launched nevertheless
                await link.discard(plan.key)
            raise
        self._monitor.note(EventLevel.INFO, f"{plan.key.engine} started: {plan.ask.subject}", node=plan.node)
        return plan.key

    async def measure(
        self, plan: EvaluationPlan, on_progress: Callable[[Progress], None], *, confirmed: bool
    ) -> Record:
        """Run the built-in generator on this machine and keep its record. Cancelling the call cancels every request.

        Its times include the path to the endpoint, which is the SSH connection unless the node's `http` is `direct`.
        """
        self._require_confirmed(plan, confirmed)
        load = plan.ask.load
        if plan.node or not isinstance(load, BenchLoad):
            raise UsageError("the built-in generator measures performance only")
        self._journal.record("evaluation-begin", **self._facts(plan))
        self.local[plan.key] = LocalRun(plan, time.time(), Progress(0, load.requests))
        try:
            return await self._measured(plan, load, on_progress)
        finally:
            self.local.pop(plan.key, None)

    async def _measured(self, plan: EvaluationPlan, load: BenchLoad, on_progress: Callable[[Progress], None]) -> Record:
        near = self._link_node(plan.ask, plan.where, "")
        link = self._links[near]
        tunnel = link if link.node.http == "tunnel" else None
        streams = Streams(plan.where.host, plan.where.port, tunnel)

        def noted(progress: Progress) -> None:
            self.local[plan.key] = replace(self.local[plan.key], progress=progress)
            on_progress(progress)

        unsubscribe = self._monitor.subscribe(lambda snapshot: self.watch.sample(plan.key.run, snapshot))
        try:
            send = _sender(plan, load, streams)
            await _warm_up(load, send)
            parameters = {**plans.parameters(plan.ask), "through": link.node.http}
            record = replace(self._base_record(plan, time.time()), parameters=parameters)
            record = await _generated(record, load, send, noted)
        except asyncio.CancelledError:
            self._journal.record("evaluation-cancelled", **self._facts(plan))
            raise
        finally:
            unsubscribe()
            streams.close()
        use = npu_use(self.store.samples(plan.key.run), record.started_at, record.ended_at)
        record = replace(record, npu=use)
        self.watch.keep(record)
        return record

    async def cancel(self, key: RunKey, node: str) -> StopResult:
        """Stop the run with TERM, then KILL; gives the result from the node."""
        self._require_write_access()
        self._journal.record("evaluation-cancel", deployment=key.deployment, engine=key.engine, run=key.run, node=node)
        results = await self._up(node).stop([key], GRACE_S, KILL_S, by=self._who)
        return results.get(key, StopResult("absent"))

    async def _check(
        self, ask: EvaluationRequest, where: Endpoint, node: str, link: NodeLink
    ) -> evaluation_checks.CheckResults:
        deployment = self._monitor.deployment
        http = client(link, deployment.layout, where.group)
        rank = evaluation_checks.asked_rank(deployment, where) if where.engine else None
        host, port = (
            (rank.address, rank.port) if rank is not None and rank.port is not None else (where.host, where.port)
        )
        asking = client(self._links[rank.node], deployment.layout, rank.group) if rank is not None else http
        facts = await evaluation_checks.ask_model(asking, host, port)
        found: list[Finding] = [*evaluation_checks.model_findings(facts, ask.model, str(where))]
        found += evaluation_checks.length_findings(ask.load, ask.tool, facts.max_model_len, str(where))
        tool = commands.Presence()
        if node:
            program, distribution, files = plans.node_needs(ask)
            tool = await evaluation_checks.ask_presence(
                link, inside(deployment, deployment.node(node)), program, distribution, files
            )
            found += evaluation_checks.tool_findings(tool, node, program, ask.subject)
        if not any(finding.severity is Severity.ERROR for finding in found):
            model = ask.model or facts.id
            times = evaluation_checks.smoke_times(deployment) if where.engine == "proxy" else 1
            if fault := await evaluation_checks.smoke(http, where, model, times):
                found.append(evaluation_checks.smoke_finding(fault, str(where)))
        return evaluation_checks.CheckResults(facts, tool, tuple(found))

    def _busy_findings(self, key: RunKey) -> tuple[Finding, ...]:
        lives = [(name, state.key) for name, state in self.watch.running()]
        lives += [("this machine", other) for other in self.local]
        return tuple(
            Finding(
                "EVAL-BUSY",
                Severity.ERROR if other.engine == key.engine else Severity.WARNING,
                f"{other.engine} is running on {name}; the two runs would affect each other",
                name,
                fix="wait for it, or cancel it",
            )
            for name, other in lives
        )

    def _base_record(self, plan: EvaluationPlan, started: float) -> Record:
        deployment = self._monitor.deployment
        return Record(
            run=plan.key.run,
            cluster=deployment.cluster.name,
            deployment=deployment.name,
            layout_hash=layout_hash(deployment.layout),
            tool=plan.ask.tool,
            kind=plan.ask.kind,
            subject=plan.ask.subject,
            node=socket.gethostname(),
            endpoint=str(plan.where),
            model=plan.model,
            started_at=started,
            by=self._who,
            versions=dict(plan.versions),
        )

    def _link_node(self, ask: EvaluationRequest, where: Endpoint, node: str) -> str:
        """The node whose link reaches the endpoint."""
        near = node or ask.node or where.node or next(iter(self._links))
        if near not in self._links:
            raise UsageError(f"the cluster has no node {near!r}", hint=f"nodes: {', '.join(self._links)}")
        return near

    def _up(self, node: str) -> NodeLink:
        link = self._links[node]
        if link.link.state is not LinkState.UP:
            raise Unreachable(f"{node} is not connected: {link.link.reason or link.link.state}", hint=link.link.hint)
        return link

    def _require_write_access(self) -> None:
        if self._monitor.read_only:
            raise Refused(
                "this session is read-only, and an evaluation loads the cluster",
                hint="start the console with --write to change this cluster",
            )

    def _require_confirmed(self, plan: EvaluationPlan, confirmed: bool) -> None:
        self._require_write_access()
        if not confirmed:
            raise Refused("not confirmed", hint="an evaluation loads the cluster; give --yes")
        if plan.blocked:
            first = next(finding for finding in plan.findings if finding.severity is Severity.ERROR)
            raise ConsoleError(f"{first.rule}: {first.message}", hint=first.fix)

    def _facts(self, plan: EvaluationPlan) -> dict[str, JsonValue]:
        return {
            "deployment": plan.key.deployment,
            "engine": plan.key.engine,
            "run": plan.key.run,
            "node": plan.node,
            "endpoint": str(plan.where),
            "command": plan.command,
        }


def _sender(plan: EvaluationPlan, load: BenchLoad, streams: Streams) -> Send:
    """A function that sends one prompt and gives its timing."""
    body: dict[str, JsonValue] = {
        "model": plan.model,
        "max_completion_tokens": load.output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "temperature": 0,
    }

    async def send(prompt: str, due: float) -> Timed:
        full: dict[str, JsonValue] = {**body, "messages": [{"role": "user", "content": prompt}]}
        got = await streams.chat(full, REQUEST_S, plan.api_key)
        return Timed(due, got.sent_at, got.pieces, got.prompt_tokens, got.output_tokens, got.characters, got.error)

    return send


def _words(load: BenchLoad) -> int:
    return int(load.input_tokens * WORDS_PER_TOKEN)


async def _warm_up(load: BenchLoad, send: Send) -> None:
    """Send the uncounted warm-up requests, with their own prompts."""
    if load.warmups:
        texts = list(prompts(_words(load), load.warmups, load.seed + 1))
        await generate(ClosedLoop(load.concurrency or 1, load.warmups), texts, send)


async def _generated(record: Record, load: BenchLoad, send: Send, on_progress: Callable[[Progress], None]) -> Record:
    """Run the load; gives the record with its figures, or with the error."""
    texts = list(prompts(_words(load), load.requests, load.seed))
    began = time.monotonic()

    def ended(count: int, failed: int) -> None:
        rate = count / max(1e-9, time.monotonic() - began)
        on_progress(Progress(count, load.requests, rate, (load.requests - count) / rate, failed))

    shape = (
        OpenLoop(load.rate, load.requests, seed=load.seed, max_in_flight=load.concurrency)
        if load.rate is not None
        else ClosedLoop(load.concurrency or 1, load.requests)
    )
    async with Lateness() as late:
        timed = await generate(shape, texts, send, ended)
    record = replace(record, ended_at=time.time())
    try:
        reading = read_requests(timed, intended=load.rate is not None, lateness=late.seconds)
    except ResultError as error:
        return replace(record, ending=Ending.FAILED, error=str(error))
    return replace(
        record,
        numbers=dict(reading.numbers),
        failed_requests=reading.failed_requests,
        total_requests=reading.total_requests,
        timeline=reading.timeline,
        warnings=reading.warnings,
    )
