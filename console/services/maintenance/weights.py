"""Checks the weights on nodes, and makes plans that copy them from one node to others over their own network.

A copy is a supervised run on each node, so it continues without the console; a repeated copy continues where it stopped. A
copy counts as complete only after the node has been checked again.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from console.commands.container import inside
from console.commands.weights import PORT, fetch_argv, script_of, serve_argv
from console.model.errors import ConsoleError, NothingToDo, Refused, UsageError
from console.model.findings import Finding, Severity
from console.model.payload import NodeCommands
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.snapshot import LinkState
from console.probes.checks_weights import PROBE_COMMANDS, Weights, parse_weights
from console.probes.command_batch import batch_argv, batch_timeout_s, jobs, parse_batch
from console.remote.link import NodeLink
from console.services.maintenance.node_tasks import MaintenancePlan, NodeTask, NodeTaskRunner, argvs_of
from console.services.maintenance.task_runs import ASK_EVERY_S, TaskRuns, last_line
from console.services.monitoring.monitor import Monitor
from console.services.operations.step_context import Report
from console.services.readiness.node_requirements import requirements_of, running_on, used_nodes

SOURCE, COPY = "weights-source", "weights-copy"
"""Names of the runs on their nodes."""
RULE = "WEIGHTS"
BEGIN_S = 120.0
"""How long the source may take to read its files."""
_PORT = re.compile(r"^port (\d{1,5})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NodeWeights:
    """The weights of one node."""

    node: str
    weights: Weights
    copying: str = ""
    """The last line of a running copy; empty without one."""


@dataclass(slots=True)
class _Copy:
    """One copy from a node to others, while its plan runs."""

    source: str
    path: str
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    manifest: str = ""
    port: int | None = None


class WeightManager:
    """The weights of one session's deployment."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], who: str) -> None:
        self._monitor = monitor
        self._links = links
        self._runs = TaskRuns(monitor, links, who, "weights")

    async def look(self, nodes: Sequence[str] = ()) -> tuple[NodeWeights, ...]:
        """The weights of these nodes, or of all used nodes when none is named. Changes nothing.

        Raises UsageError for an unknown node, and for a model without a directory.
        """
        self._path()
        return tuple(await asyncio.gather(*(self._look(name) for name in self._chosen(nodes))))

    async def prepare(self, source: str, targets: Sequence[str] = ()) -> MaintenancePlan:
        """The plan that copies the model from `source` to the targets, or to all other used nodes when none is named.

        Without a source, the first node with the complete model. Raises Refused in read-only mode, when the source is
        incomplete, and when no target lacks anything.
        """
        self._require_write_access()
        source = source or await self._complete_node()
        wanted = tuple(name for name in self._chosen(targets) if name != source)
        (origin,) = await self.look((source,))
        if not origin.weights.complete:
            why = origin.weights.trouble or "; ".join(origin.weights.lacking[:3])
            raise Refused(f"{source} does not have the complete model: {why}", hint="see: dsv4-console weights")
        findings: list[Finding] = []
        lacking: list[str] = []
        for held in await self.look(wanted) if wanted else ():
            told = self._skip_finding(held, origin)
            if told is None:
                lacking.append(held.node)
            else:
                findings.append(told)
        if not lacking:
            words = "; ".join(each.message for each in findings) or "no other node is named"
            known = all(each.severity is Severity.NOTE for each in findings)
            raise (NothingToDo if known else Refused)(f"nothing to do: {words}")
        return self._make_plan(_Copy(source, self._path(), manifest=origin.weights.manifest), lacking, findings, origin)

    async def _complete_node(self) -> str:
        """The first node with the complete model. Raises Refused without one, or when complete models differ."""
        whole = [held for held in await self.look() if held.weights.complete]
        if not whole:
            hint = "see: dsv4-console weights; to load it: dsv4-console weights download"
            raise Refused("no node has the complete model", hint=hint)
        if len({held.weights.manifest for held in whole}) > 1:
            names = ", ".join(f"{held.node} ({held.weights.manifest[:8]})" for held in whole)
            raise Refused(f"complete models differ: {names}", hint="name the node with the right model")
        return whole[0].node

    async def stop(self, nodes: Sequence[str] = ()) -> tuple[str, ...]:
        """Stop the copies on these nodes, or on all when none is named, and sources without further copies.

        Copied data is kept. Gives a line for each.
        """
        self._require_write_access()
        chosen = tuple(nodes) or tuple(self._links)
        copies = {name: run for name in self._links if (run := self._runs.live(name, COPY))}
        ended = {name: run for name, run in copies.items() if name in chosen}
        if len(ended) == len(copies):
            ended |= {name: run for name in self._links if (run := self._runs.live(name, SOURCE)) and name not in ended}
        told = []
        for name, run in ended.items():
            told.append(await self._runs.end(name, run))
        return tuple(told)

    def _skip_finding(self, held: NodeWeights, origin: NodeWeights) -> Finding | None:
        """Why a node is skipped; None when it needs a copy."""
        if held.copying:
            message = f"{held.node} is skipped, a copy runs there: {held.copying}"
        elif self._links[held.node].link.state is not LinkState.UP:
            message = f"{held.node} is skipped: {held.weights.trouble}"
        elif held.weights.complete and held.weights.manifest == origin.weights.manifest:
            return Finding(RULE, Severity.NOTE, f"{held.node} has the same complete model", held.node)
        else:
            return None
        return Finding(RULE, Severity.WARNING, message, held.node)

    def _make_plan(
        self, copy: _Copy, targets: Sequence[str], findings: Sequence[Finding], origin: NodeWeights
    ) -> MaintenancePlan:
        deployment = self._monitor.deployment
        address = deployment.address(copy.source)
        gib = origin.weights.bytes / 2**30
        node = deployment.node(copy.source)
        work = NodeCommands((serve_argv(node, copy.path, address, len(targets)),))
        title = f"{copy.source}: serve {gib:.1f} GiB to {len(targets)} node{'s' if len(targets) > 1 else ''}"
        serving = Step(f"serve:{copy.source}", "maintenance", title, copy.source, (), work)
        tasks: dict[str, NodeTask] = {serving.id: lambda step, report: self._serve(copy, step)}
        steps = []
        for name in targets:
            work = NodeCommands((fetch_argv(deployment.node(name), copy.path, address),))
            title = f"{name}: fetch missing and different files, verify"
            step = Step(f"fetch:{name}", "maintenance", title, name, (), work)
            tasks[step.id] = self._fetch_task(copy)
            steps.append(step)
        production = "production" in deployment.cluster.tags
        plan = Plan(
            verb="weights",
            cluster=deployment.cluster.name,
            deployment=deployment.name,
            engines=(),
            stages=(Stage("serve", (serving,)), Stage("copy", tuple(steps))),
            confirm=Confirm("name", deployment.cluster.name) if production else Confirm("key", "y"),
            findings=tuple(findings),
            losses=tuple(self._losses(targets)),
        )
        return MaintenancePlan(plan, NodeTaskRunner(tasks, self._links, "dsv4-console weights"))

    def _losses(self, targets: Sequence[str]) -> Iterator[str]:
        for name in targets:
            yield f"{name}: files of the same name that differ are replaced"
            if alive := running_on(name, self._monitor.snapshot):
                yield f"{name}: {len(alive)} engines run there; an engine that starts before the copy is complete fails"

    async def _serve(self, copy: _Copy, step: Step) -> str:
        (argv,) = argvs_of(step)
        await self._end_idle_source(copy.source)
        key = await self._runs.launch(copy.source, SOURCE, script_of(argv, copy.token), ("serve", copy.path))
        end = time.monotonic() + BEGIN_S
        while time.monotonic() < end:
            over = self._runs.ended(copy.source, key)
            log = await self._runs.tail(copy.source, key, 0)
            if found := _PORT.search(log):
                copy.port = int(found[1])
                return f"{log.splitlines()[0]}, port {copy.port}"
            if over:
                raise ConsoleError(last_line(log) or "the source exited without output")
            await asyncio.sleep(ASK_EVERY_S / 4)
        raise ConsoleError(
            f"the source has not started after {BEGIN_S:.0f} s", hint=f"read its log: dsv4-console logs {SOURCE}"
        )

    async def _end_idle_source(self, name: str) -> None:
        """Stop a source without copies. Raises Refused while a copy uses it."""
        run = self._runs.live(name, SOURCE)
        if run is None:
            return
        busy = [each for each in self._links if self._runs.live(each, COPY)]
        if busy:
            raise Refused(f"{name} serves a copy already, to {', '.join(busy)}", hint="wait for it, or: weights stop")
        await self._runs.end(name, run)

    def _fetch_task(self, copy: _Copy) -> NodeTask:
        async def fetch(step: Step, report: Report) -> str:
            if copy.port is None:
                raise ConsoleError(f"{copy.source} does not serve the weights")
            name, (argv,) = step.node, argvs_of(step)
            filled = [str(copy.port) if word == PORT else word for word in argv]
            key = await self._runs.launch(name, COPY, script_of(filled, copy.token), ("fetch", copy.path))
            last = await self._runs.follow(name, key, report)
            if not last.startswith("complete"):
                raise ConsoleError(last, hint="start it again: copied data is kept")
            held = await self._look(name)
            if not held.weights.complete or held.weights.manifest != copy.manifest:
                why = held.weights.trouble or "; ".join(held.weights.lacking[:3]) or "it differs from the source's"
                raise ConsoleError(f"{last}, but the next check shows: {why}")
            return last

        return fetch

    async def _look(self, name: str) -> NodeWeights:
        link = self._links[name]
        if link.link.state is not LinkState.UP:
            return NodeWeights(name, Weights(f"not connected: {link.link.reason or link.link.state}"))
        wanted = replace(requirements_of(self._monitor.deployment, name, self._monitor.snapshot), model=self._path())
        asked = [each for each in PROBE_COMMANDS if each.name == "weights"]
        copying = ""
        try:
            batch = jobs(asked, wanted, inside(self._monitor.deployment, self._monitor.deployment.node(name)))
            python = self._monitor.deployment.node(name).python
            sample = await link.run_command(batch_argv(batch, python), batch_timeout_s(batch))
            run = self._runs.live(name, COPY)
            copying = last_line(await self._runs.tail(name, run.key)) or "begun" if run else ""
        except ConsoleError as error:
            return NodeWeights(name, Weights(str(error)))
        return NodeWeights(name, parse_weights(parse_batch(sample.stdout).get("weights")), copying)

    def _chosen(self, nodes: Sequence[str]) -> tuple[str, ...]:
        for name in nodes:
            if name not in self._links:
                raise UsageError(f"no node {name!r}", hint=f"nodes: {', '.join(self._links)}")
        deployment = self._monitor.deployment
        ranked = dict.fromkeys(rank.node for rank in deployment.ranks())
        return tuple(nodes) or tuple(ranked) or used_nodes(deployment) or tuple(self._links)

    def _path(self) -> str:
        path = self._monitor.deployment.layout.model.path
        if not path.startswith("/"):
            raise UsageError(f"the model {path!r} of the layout is not a path", hint="write model.path as a directory")
        return path

    def _require_write_access(self) -> None:
        if self._monitor.read_only:
            raise Refused("this session is read-only", hint="start the console with --write to change this cluster")
