"""The weights on the nodes: whether they are whole and the same, and copied from one node to others over their own network.

A copy is a supervised run on each node, so it goes on when the console ends or a link is lost; started again it goes on where
it was. It is called complete only after the node has been asked anew.
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
from console.services.maintenance.node_tasks import Errand, MaintenancePlan, NodeTaskRunner, argvs_of
from console.services.maintenance.task_runs import ASK_EVERY_S, TaskRuns, last_line
from console.services.monitoring.monitor import Monitor
from console.services.operations.step_context import Report
from console.services.readiness.node_requirements import carrying, requirements_of, running_on

SOURCE, COPY = "weights-source", "weights-copy"
"""Under which names the runs live on their nodes."""
RULE = "WEIGHTS"
BEGIN_S = 120.0
"""How long the source may take to look at its files."""
_PORT = re.compile(r"^port (\d{1,5})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NodeWeights:
    """What one node has."""

    node: str
    weights: Weights
    copying: str = ""
    """The last line of a copy that is at work there."""


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
        """What these nodes have, all that carry something when none is named. Changes nothing.

        Raises UsageError for a node that is not there, and for a model that is named by a hub's name and lies nowhere.
        """
        self._path()
        return tuple(await asyncio.gather(*(self._look(name) for name in self._chosen(nodes))))

    async def prepare(self, source: str, targets: Sequence[str] = ()) -> MaintenancePlan:
        """The plan that copies the model from `source` to the targets, all others that carry something when none is named.

        Without a source it is the first node that has the model whole.
        Raises Refused in read-only mode, when the source is not whole and when nobody lacks anything.
        """
        self._must_be_armed()
        source = source or await self._whole()
        wanted = tuple(name for name in self._chosen(targets) if name != source)
        (origin,) = await self.look((source,))
        if not origin.weights.complete:
            why = origin.weights.trouble or "; ".join(origin.weights.lacking[:3])
            raise Refused(f"{source} has no whole model to copy: {why}", hint="see: dsv4-console weights")
        findings: list[Finding] = []
        lacking: list[str] = []
        for held in await self.look(wanted) if wanted else ():
            told = self._told(held, origin)
            if told is None:
                lacking.append(held.node)
            else:
                findings.append(told)
        if not lacking:
            words = "; ".join(each.message for each in findings) or "no other node is named"
            known = all(each.severity is Severity.NOTE for each in findings)
            raise (NothingToDo if known else Refused)(f"nothing to do: {words}")
        return self._chore(_Copy(source, self._path(), manifest=origin.weights.manifest), lacking, findings, origin)

    async def _whole(self) -> str:
        """The node to copy from when none is named: never a guess between models that differ."""
        whole = [held for held in await self.look() if held.weights.complete]
        if not whole:
            hint = "see: dsv4-console weights; to load it: dsv4-console weights download"
            raise Refused("no node has the model whole", hint=hint)
        if len({held.weights.manifest for held in whole}) > 1:
            names = ", ".join(f"{held.node} ({held.weights.manifest[:8]})" for held in whole)
            raise Refused(f"the whole models differ: {names}", hint="name the node whose model is the right one")
        return whole[0].node

    async def stop(self, nodes: Sequence[str] = ()) -> tuple[str, ...]:
        """End the copies that are at work there, on all nodes when none is named, and sources nobody fetches from then.

        What has been brought is kept. Gives a line for each.
        """
        self._must_be_armed()
        chosen = tuple(nodes) or tuple(self._links)
        copies = {name: run for name in self._links if (run := self._runs.live(name, COPY))}
        ended = {name: run for name, run in copies.items() if name in chosen}
        if len(ended) == len(copies):
            ended |= {name: run for name in self._links if (run := self._runs.live(name, SOURCE)) and name not in ended}
        told = []
        for name, run in ended.items():
            told.append(await self._runs.end(name, run))
        return tuple(told)

    def _told(self, held: NodeWeights, origin: NodeWeights) -> Finding | None:
        """Why a node is left out; None when it lacks something."""
        if held.copying:
            message = f"{held.node} is left out, a copy is at work there: {held.copying}"
        elif self._links[held.node].link.state is not LinkState.UP:
            message = f"{held.node} is left out: {held.weights.trouble}"
        elif held.weights.complete and held.weights.manifest == origin.weights.manifest:
            return Finding(RULE, Severity.NOTE, f"{held.node} has the same, whole", held.node)
        else:
            return None
        return Finding(RULE, Severity.WARNING, message, held.node)

    def _chore(
        self, copy: _Copy, targets: Sequence[str], findings: Sequence[Finding], origin: NodeWeights
    ) -> MaintenancePlan:
        deployment = self._monitor.deployment
        address = deployment.address(copy.source)
        gib = origin.weights.bytes / 2**30
        node = deployment.node(copy.source)
        work = NodeCommands((serve_argv(node, copy.path, address, len(targets)),))
        title = f"{copy.source}: serve {gib:.1f} GiB to {len(targets)} node{'s' if len(targets) > 1 else ''}"
        serving = Step(f"serve:{copy.source}", "maintenance", title, copy.source, (), work)
        errands: dict[str, Errand] = {serving.id: lambda step, report: self._serve(copy, step)}
        steps = []
        for name in targets:
            work = NodeCommands((fetch_argv(deployment.node(name), copy.path, address),))
            title = f"{name}: bring what is missing or differs, verify"
            step = Step(f"fetch:{name}", "maintenance", title, name, (), work)
            errands[step.id] = self._fetching(copy)
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
        return MaintenancePlan(plan, NodeTaskRunner(errands, self._links, "dsv4-console weights"))

    def _losses(self, targets: Sequence[str]) -> Iterator[str]:
        for name in targets:
            yield f"{name}: files of the same name that differ are replaced"
            if alive := running_on(name, self._monitor.snapshot):
                yield f"{name}: {len(alive)} engines run there; one that starts before the copy is whole fails"

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
                raise ConsoleError(last_line(log) or "the source ended and said nothing")
            await asyncio.sleep(ASK_EVERY_S / 4)
        raise ConsoleError(f"the source has not started after {BEGIN_S:.0f} s", hint=f"see logs {SOURCE}")

    async def _end_idle_source(self, name: str) -> None:
        """One that nobody fetches from any more would only wait. Raises Refused while somebody does."""
        run = self._runs.live(name, SOURCE)
        if run is None:
            return
        busy = [each for each in self._links if self._runs.live(each, COPY)]
        if busy:
            raise Refused(f"{name} serves a copy already, to {', '.join(busy)}", hint="wait for it, or: weights stop")
        await self._runs.end(name, run)

    def _fetching(self, copy: _Copy) -> Errand:
        async def fetch(step: Step, report: Report) -> str:
            if copy.port is None:
                raise ConsoleError(f"{copy.source} serves nothing")
            name, (argv,) = step.node, argvs_of(step)
            filled = [str(copy.port) if word == PORT else word for word in argv]
            key = await self._runs.launch(name, COPY, script_of(filled, copy.token), ("fetch", copy.path))
            last = await self._runs.follow(name, key, report)
            if not last.startswith("complete"):
                raise ConsoleError(last, hint="start it again: what has been brought is kept")
            held = await self._look(name)
            if not held.weights.complete or held.weights.manifest != copy.manifest:
                why = held.weights.trouble or "; ".join(held.weights.lacking[:3]) or "it differs from the source's"
                raise ConsoleError(f"{last}, but when asked anew: {why}")
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
        return tuple(nodes) or tuple(ranked) or carrying(deployment) or tuple(self._links)

    def _path(self) -> str:
        path = self._monitor.deployment.layout.model.path
        if not path.startswith("/"):
            raise UsageError(f"the layout names its model by {path!r}, no path", hint="write model.path as a directory")
        return path

    def _must_be_armed(self) -> None:
        if self._monitor.read_only:
            raise Refused("this session is read-only", hint="start the console with --write to change this cluster")
