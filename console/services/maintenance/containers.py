"""Makes plans that pull images and create, start or adopt containers of nodes.

`readiness.container_setup` and `console.probes.container` define the required container. A running container is never
stopped, removed or recreated.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from console.commands.quoting import join
from console.model.cluster import Node, Runtime
from console.model.errors import ConsoleError, NothingToDo, Refused, UsageError
from console.model.findings import Finding, Severity
from console.model.payload import NodeCommands
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.snapshot import LinkState
from console.probes.command_batch import batch_argv, batch_timeout_s, parse_batch
from console.remote.link import NodeLink
from console.services.maintenance.node_tasks import (
    MaintenancePlan,
    NodeTask,
    NodeTaskRunner,
    argvs_of,
    run_command,
    run_detached,
)
from console.services.monitoring.monitor import Monitor
from console.services.operations.step_context import Report
from console.services.readiness.adoption import AdoptedContainers
from console.services.readiness.container_setup import (
    ContainerFacts,
    creation_argv,
    creation_command,
    driver_missing,
    removal_command,
    seen,
    state_commands,
)
from console.services.readiness.node_requirements import requirements_of, used_nodes

ContainerAction = Literal["all", "create", "start", "adopt"]
RULE = "CONTAINER"
MAKE_S = 300.0
SETTLE_S = 20.0
_LAYER = re.compile(r"^(?:Copying blob (?:sha256:)?)?([0-9a-f]{12})[0-9a-f]*:?[ \t]*(.*)$", re.MULTILINE)
_HAVE = re.compile(r"Pull complete|Already exists|done|skipped", re.IGNORECASE)


@dataclass(slots=True)
class _Draft:
    """A plan under construction: stages by title, and the task of each step."""

    stages: dict[str, list[Step]] = field(default_factory=dict)
    tasks: dict[str, NodeTask] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, stage: str, step: Step, task: NodeTask) -> None:
        """Add a step."""
        self.stages.setdefault(stage, []).append(step)
        self.tasks[step.id] = task

    def add_finding(self, severity: Severity, node: str, message: str, fix: str = "") -> None:
        """Add a finding."""
        self.findings.append(Finding(RULE, severity, message, node, fix=fix))


class ContainerManager:
    """The containers of one session's cluster."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], adopted: AdoptedContainers) -> None:
        self._monitor = monitor
        self._links = links
        self._adopted = adopted

    async def look(self, nodes: Sequence[str] = ()) -> tuple[ContainerFacts, ...]:
        """The container state of these nodes, or of all used nodes (else all nodes) when none is named. Changes nothing.

        Raises UsageError for an unknown node or a node without containers.
        """
        return tuple(await asyncio.gather(*(self._look(self._node(name)) for name in self._chosen(nodes))))

    async def prepare(self, act: ContainerAction, nodes: Sequence[str] = ()) -> MaintenancePlan:
        """The plan of an action: `create` missing containers, `start` stopped ones, `all` both; `adopt` takes `NODE=NAME`
        arguments.

        Raises Refused in read-only mode, NothingToDo or Refused when there is nothing to do, UsageError as `look` does.
        """
        if self._monitor.read_only:
            raise Refused("this session is read-only", hint="start the console with --write to change this cluster")
        draft = _Draft()
        if act == "adopt":
            await self._adopt(draft, nodes)
        else:
            for found in await self.look(nodes):
                self._plan(draft, act, found)
        if not draft.stages:
            raise _nothing_to_do(draft.findings)
        deployment = self._monitor.deployment
        production = "production" in deployment.cluster.tags
        plan = Plan(
            verb="containers",
            cluster=deployment.cluster.name,
            deployment=deployment.name,
            engines=(),
            stages=tuple(Stage(title, tuple(steps)) for title, steps in draft.stages.items()),
            confirm=Confirm("name", deployment.cluster.name) if production else Confirm("key", "y"),
            findings=tuple(draft.findings),
            by_node=True,
        )
        return MaintenancePlan(plan, NodeTaskRunner(draft.tasks, self._links, "dsv4-console containers"))

    def _chosen(self, nodes: Sequence[str]) -> tuple[str, ...]:
        cluster = self._monitor.deployment.cluster
        for name in nodes:
            if name not in cluster.nodes:
                raise UsageError(f"no node {name!r}", hint=f"nodes: {', '.join(cluster.nodes)}")
            if not cluster.nodes[name].runtime.words:
                hint = "set `runtime: {kind: docker, container: NAME, image: IMAGE}` where they shall run in one"
                raise UsageError(f"{name} runs engines on the host itself, without a container", hint=hint)
        every = used_nodes(self._monitor.deployment) or tuple(cluster.nodes)
        found = tuple(nodes) or tuple(name for name in every if cluster.nodes[name].runtime.words)
        if not found:
            raise UsageError("no node runs engines in a container", hint="runtime.kind is host on all of them")
        return found

    def _node(self, name: str) -> Node:
        return self._monitor.deployment.node(name)

    async def _look(self, node: Node) -> ContainerFacts:
        """The container state of a node, for the container named in `node`."""
        deployment = self._monitor.deployment
        link = self._links[node.name]
        if link.link.state is not LinkState.UP:
            return ContainerFacts(
                node.name, node.runtime.container, f"not connected: {link.link.reason or link.link.state}"
            )
        batch = state_commands(deployment, node)
        try:
            sample = await link.run_command(batch_argv(batch, node.python), batch_timeout_s(batch))
        except ConsoleError as error:
            return ContainerFacts(node.name, node.runtime.container, str(error))
        wanted = requirements_of(deployment, node.name, self._monitor.snapshot)
        if node.runtime.per == "node":
            wanted = replace(wanted, container=node.runtime.container)
        return seen(wanted, parse_batch(sample.stdout))

    def _plan(self, draft: _Draft, act: ContainerAction, found: ContainerFacts) -> None:
        node = self._node(found.node)
        if found.trouble:
            draft.add_finding(Severity.WARNING, found.node, f"{found.node} is skipped: {found.trouble}")
        elif found.per_engine:
            self._plan_image(draft, node, found)
        elif found.container is None:
            if act in ("all", "create"):
                self._plan_creation(draft, node, found)
            else:
                draft.add_finding(
                    Severity.NOTE, found.node, f"{found.node} has no container {found.name}", "containers create"
                )
        elif found.container.running:
            _report_differences(draft, node, found, "runs and is used unchanged")
        elif act in ("all", "start"):
            _report_differences(draft, node, found, "is started unchanged")
            words = (*node.runtime.words, "start", found.name)
            title = f"{node.name}: start {found.name}"
            step = Step(f"begin:{node.name}", "maintenance", title, node.name, (), NodeCommands((words,)))
            draft.add("start", step, self._start)
            self._plan_verification(draft, node)
        else:
            message = f"{found.name} on {found.node} is there, {found.container.status}"
            draft.add_finding(Severity.NOTE, found.node, message, "containers start")

    def _plan_creation(self, draft: _Draft, node: Node, found: ContainerFacts) -> None:
        name = node.name
        if not creation_command(self._monitor.deployment, name):
            fix = "write runtime.image in the cluster file, or image in the layout"
            draft.add_finding(Severity.WARNING, name, f"{name} is skipped: no image is configured for it", fix)
            return
        if driver := driver_missing(found):
            message = f"{name} is skipped: the host has no {', '.join(driver)}"
            draft.add_finding(
                Severity.WARNING, name, message, "install the Ascend driver; docker would mount empty directories"
            )
            return
        for path in found.missing:
            message = f"{path} is not on {name} yet; the container tool makes it as an empty directory"
            draft.add_finding(Severity.WARNING, name, message, "copy the weights there first")
        if found.others:
            message = f"{name} also has {', '.join(found.others[:4])}"
            draft.add_finding(Severity.NOTE, name, message, f"to use one of them: containers adopt {name}=NAME")
        words = creation_argv(self._monitor.deployment, name)
        if not found.image_id and "--rootfs" not in words:
            self._plan_pull(draft, node, found.image)
        work = NodeCommands((("mkdir", "-p", "-m", "700", node.base), words))
        step = Step(f"create:{name}", "maintenance", f"{name}: create {found.name}", name, (), work)
        draft.add("create", step, lambda step, report: self._create(node, step))
        self._plan_verification(draft, node)

    def _plan_pull(self, draft: _Draft, node: Node, image: str) -> None:
        words = (*node.runtime.words, "pull", image)
        title = f"{node.name}: pull {image}"
        step = Step(f"pull:{node.name}", "maintenance", title, node.name, (), NodeCommands((words,)))
        draft.add("pull", step, self._pull)

    def _plan_image(self, draft: _Draft, node: Node, found: ContainerFacts) -> None:
        """Plan the image for a node with one container per engine."""
        if not found.image:
            fix = "write runtime.image in the cluster file, or image in the layout"
            draft.add_finding(
                Severity.WARNING, node.name, f"{node.name} is skipped: no image is configured for it", fix
            )
        elif not found.image_id:
            self._plan_pull(draft, node, found.image)
        for path in found.missing:
            draft.add_finding(Severity.WARNING, node.name, f"{path} is not on {node.name}; engines mount it")

    def _plan_verification(self, draft: _Draft, node: Node) -> None:
        words = (*node.runtime.words, "exec", node.runtime.container, node.python, "--version")
        title = f"{node.name}: {node.runtime.container} runs and is as required"
        step = Step(f"prove:{node.name}", "maintenance", title, node.name, (), NodeCommands((words,)))
        draft.add("verify", step, lambda step, report: self._verify(node, step))

    async def _adopt(self, draft: _Draft, pairs: Sequence[str]) -> None:
        if not pairs:
            raise UsageError(
                "which container?", hint="containers adopt NODE=NAME; NODE= goes back to the cluster file's"
            )
        for word in pairs:
            name, _, container = word.partition("=")
            (name,) = self._chosen([name])
            node = self._node(name)
            if node.runtime.per == "engine":
                hint = "set `per: node` in its runtime to use one that is there"
                raise UsageError(f"engines on {name} make their own containers", hint=hint)
            chosen = container or self._adopted.written(node)
            other = _with_container(node, chosen)
            found = await self._look(other)
            if found.container is None:
                there = ", ".join(found.others) or "none"
                hint = f"containers of other names there: {there}"
                raise UsageError(found.trouble or f"{name} has no container {chosen!r}", hint=hint)
            if not found.container.running:
                raise Refused(
                    f"{chosen} on {name} is {found.container.status}",
                    hint=f"start it first: {join((*node.runtime.words, 'start', chosen))}",
                )
            _report_differences(draft, other, found, "is adopted unchanged")
            words = (*other.runtime.words, "exec", chosen, node.python, "--version")
            title = f"{name}: launch engines in {chosen} from now on"
            step = Step(f"adopt:{name}", "maintenance", title, name, (), NodeCommands((words,)))
            draft.add("adopt", step, self._adoption_task(other, self._adopted.written(node)))

    async def _pull(self, step: Step, report: Report) -> str:
        (words,) = argvs_of(step)
        told = ""

        def on_output(log: str) -> None:
            nonlocal told
            text = pull_progress(log)
            if text and text != told:
                told = text
                report(text)

        log = await run_detached(self._links[step.node], f"pull-{_plain(words[-1])}", words, on_output)
        lines = [line for line in log.split("\n") if line.strip()]
        return lines[-1][:160] if lines else "pulled"

    async def _create(self, node: Node, step: Step) -> str:
        found = await self._look(node)
        if found.container is not None:
            text = f"the container {found.name} on {node.name} exists already, {found.container.status}"
            raise Refused(text, hint="another operator created it meanwhile; make the plan again")
        link = self._links[node.name]
        made = ""
        for words in argvs_of(step):
            made = await run_command(link, words, MAKE_S)
        return made.split("\n")[-1][:12]

    async def _start(self, step: Step, report: Report) -> str:
        (words,) = argvs_of(step)
        await run_command(self._links[step.node], words, MAKE_S)
        return "started"

    async def _verify(self, node: Node, step: Step) -> str:
        """Verify that the container runs and that its Python interpreter answers; report differences."""
        (words,) = argvs_of(step)
        version = await run_command(self._links[node.name], words, SETTLE_S)
        found = await self._look(node)
        if found.container is None or not found.container.running:
            raise ConsoleError(f"{found.name} on {node.name} is {found.state}", hint=found.trouble)
        rest = f"; differs: {'; '.join(each.text for each in found.differences)}" if found.differences else ""
        return f"{version or node.python}{rest}"

    def _adoption_task(self, node: Node, written: str) -> NodeTask:
        async def take(step: Step, report: Report) -> str:
            text = await self._verify(node, step)
            self._adopted.take(node, instead=written)
            return f"{text}; used from the next console session on"

        return take


def pull_progress(log: str) -> str:
    """`5 of 12 layers` from the output of docker or podman pull; empty before the first layer."""
    layers: dict[str, bool] = {}
    for layer, text in _LAYER.findall(log):
        layers[layer] = layers.get(layer, False) or bool(_HAVE.search(text))
    return f"{sum(layers.values())} of {len(layers)} layers" if layers else ""


def _report_differences(draft: _Draft, node: Node, found: ContainerFacts, how: str) -> None:
    for each in found.differences:
        message = f"{found.name} on {found.node} {how}, although it differs: {each.text}"
        fix = f"when nothing runs in it: {removal_command(node)}; then containers create {found.node}"
        draft.add_finding(Severity.WARNING, found.node, message, fix)


def _with_container(node: Node, name: str) -> Node:
    runtime: Runtime = node.runtime.model_copy(update={"container": name})
    return node.model_copy(update={"runtime": runtime})


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-100:]


def _nothing_to_do(findings: Sequence[Finding]) -> Refused:
    """The error when no step is planned: nothing to do, or problems that a plan cannot fix."""
    told = "; ".join(finding.message for finding in findings)
    fixes = "; ".join(dict.fromkeys(finding.fix for finding in findings if finding.fix))
    return (Refused if findings else NothingToDo)(
        f"nothing to do: {told or 'every container runs and is as required'}", hint=fixes
    )
