"""Compares kernel settings of hosts with the recommended ones, and makes the plan that sets them.

The old value is recorded on the node before a change, so that any console can show how to restore it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from console.commands.container import inside
from console.commands.quoting import quote
from console.model.errors import ConsoleError, NodeError, NothingToDo, Refused, UsageError
from console.model.findings import Finding, Severity
from console.model.payload import KernelSetting, KernelSettings
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.snapshot import ClusterSnapshot, LinkState
from console.probes.check_types import Answer
from console.probes.command_batch import Job, batch_argv, batch_timeout_s, parse_batch
from console.probes.tuning import PATHS, READ, Drift, drifts, read_arguments, settled
from console.remote.link import NodeLink
from console.services.maintenance.node_tasks import MaintenancePlan, NodeTask, NodeTaskRunner, run_command
from console.services.monitoring.monitor import Monitor
from console.services.readiness.node_requirements import requirements_of, used_nodes

RULE = "TUNING"
RECORD = ".tuning"
"""File below a node's base directory: one line per change with time, setting, old value and new value."""
_ASK_S = 10.0
_SET = """record="$1"; shift; umask 077; mkdir -p -m 700 "$(dirname "$record")" || exit 1
while [ "$#" -ge 3 ]; do name="$1"; path="$2"; value="$3"; shift 3
before="$(cat "$path")" && printf '%s\\t%s\\t%s\\t%s\\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$name" "$before" "$value" \
>>"$record" || { echo "== $name"; echo "not recorded, so not set"; continue; }
printf '%s\\n' "$value" >"$path"; echo "== $name"; cat "$path"
done; echo '== end'"""


@dataclass(frozen=True, slots=True)
class HostTuning:
    """The tuning state of one node."""

    node: str
    trouble: str = ""
    drifts: tuple[Drift, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One recorded change of a setting."""

    at: str
    name: str
    before: str
    value: str


class Tuner:
    """The host tuning of one session."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links

    async def look(self, nodes: Sequence[str] = ()) -> tuple[HostTuning, ...]:
        """The drift of these nodes, or of all used nodes (else all nodes) when none is named. Changes nothing.

        Raises UsageError for an unknown node.
        """
        return tuple(await asyncio.gather(*(self._look(name) for name in self._chosen(nodes))))

    async def prepare(self, nodes: Sequence[str] = ()) -> MaintenancePlan:
        """The plan that corrects drifted settings. Raises Refused in read-only mode or when no plan can correct them."""
        if self._monitor.read_only:
            raise Refused("this session is read-only", hint="start the console with --write to change this cluster")
        deployment = self._monitor.deployment
        findings: list[Finding] = []
        steps: list[Step] = []
        tasks: dict[str, NodeTask] = {}
        for found in await self.look(nodes):
            findings += _findings(found)
            mine = [each for each in found.drifts if not each.remedy]
            if mine:
                work = KernelSettings(
                    tuple(KernelSetting(each.name, PATHS[each.name], each.wanted, each.now) for each in mine)
                )
                title = f"{found.node}: set {', '.join(each.name for each in mine)}"
                step = Step(f"tune:{found.node}", "maintenance", title, found.node, (), work)
                tasks[step.id] = self._set
                steps.append(step)
        if not steps:
            told = "; ".join(each.message for each in findings) or "every node has the recommended settings"
            fixes = "; ".join(dict.fromkeys(each.fix for each in findings if each.fix))
            raise (Refused if findings else NothingToDo)(f"nothing to do: {told}", hint=fixes)
        plan = Plan(
            verb="tune",
            cluster=deployment.cluster.name,
            deployment=deployment.name,
            engines=(),
            stages=(Stage("set until the next reboot", tuple(steps)),),
            confirm=Confirm("name", deployment.cluster.name),
            findings=tuple(findings),
            losses=tuple(_touched(steps, self._monitor.snapshot)),
            by_node=True,
        )
        return MaintenancePlan(plan, NodeTaskRunner(tasks, self._links, "dsv4-console tune"))

    async def changes(self, nodes: Sequence[str] = ()) -> Mapping[str, tuple[Change, ...]]:
        """The recorded changes of these nodes, oldest first. Raises ConsoleError for a node that does not answer."""

        async def one(name: str) -> tuple[Change, ...]:
            link = self._links[name]
            text = await run_command(
                link, ("sh", "-c", 'cat "$1" 2>/dev/null; true', "look", f"{link.node.base}/{RECORD}")
            )
            rows = (line.split("\t") for line in text.split("\n"))
            return tuple(Change(*row) for row in rows if len(row) == 4)

        names = self._chosen(nodes)
        return dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))

    def _chosen(self, nodes: Sequence[str]) -> tuple[str, ...]:
        for name in nodes:
            if name not in self._links:
                raise UsageError(f"no node {name!r}", hint=f"nodes: {', '.join(self._links)}")
        return tuple(nodes) or used_nodes(self._monitor.deployment) or tuple(self._links)

    async def _look(self, name: str) -> HostTuning:
        link = self._links[name]
        if link.link.state is not LinkState.UP:
            return HostTuning(name, f"not connected: {link.link.reason or link.link.state}")
        deployment = self._monitor.deployment
        node = deployment.node(name)
        batch = [Job("settings", ("sh", "-c", READ, "tuning", *read_arguments()), _ASK_S)]
        try:
            if within := inside(deployment, node):
                batch.append(Job("limits", (*within, "sh", "-c", READ, "tuning"), _ASK_S))
            sample = await link.run_command(batch_argv(batch, node.python), batch_timeout_s(batch))
        except ConsoleError as error:
            return HostTuning(name, str(error))
        answers = parse_batch(sample.stdout)
        wanted = requirements_of(deployment, name, self._monitor.snapshot)
        found = drifts(answers.get("settings", Answer(exit_code=None)), wanted)
        if found is None:
            return HostTuning(name, "the settings were not reported")
        if node.runtime.words:  # limits are those inside the container
            here = drifts(answers.get("limits", Answer(exit_code=None)), replace(wanted, ports=())) or ()
            limits = ("files", "locked")
            found = (
                *(each for each in found if each.name not in limits),
                *(each for each in here if each.name in limits),
            )
        return HostTuning(name, drifts=found)

    async def _set(self, step: Step, report: object) -> str:
        link, work = self._links[step.node], step.payload
        wanted = work.settings if isinstance(work, KernelSettings) else ()
        words = [word for each in wanted for word in (each.name, each.path, each.value)]
        text = await run_command(link, ("sh", "-c", _SET, "tune", f"{link.node.base}/{RECORD}", *words))
        now = Answer(text.encode()).sections
        bad = [
            f"{each.name} is {now.get(each.name) or 'unknown'}"
            for each in wanted
            if not settled(each.name, now.get(each.name, ""), each.value)
        ]
        if bad:
            hint = "root is needed: set `sudo: true` for the node"
            raise NodeError(f"not set: {'; '.join(bad)}", kind="os", node=step.node, hint=hint)
        return f"{len(wanted)} set; to undo: dsv4-console tune --undo {step.node}"


def undo_commands(changes: Sequence[Change]) -> tuple[str, ...]:
    """The commands that restore the values before the first change of each setting."""
    first: dict[str, Change] = {}
    for each in changes:
        first.setdefault(each.name, each)
    return tuple(f"echo {quote(each.before)} > {PATHS[each.name]}" for each in first.values() if each.name in PATHS)


def _findings(found: HostTuning) -> list[Finding]:
    if found.trouble:
        return [Finding(RULE, Severity.WARNING, f"{found.node} is skipped: {found.trouble}", found.node)]
    told = [
        (f"{each.name} is {each.now} on {found.node}, wanted {each.wanted}", each)
        for each in found.drifts
        if each.remedy
    ]
    return [Finding(RULE, Severity.WARNING, text, found.node, each.why, each.remedy) for text, each in told]


def _touched(steps: Sequence[Step], snapshot: ClusterSnapshot) -> list[str]:
    """A line about engines that the change affects at once."""
    nodes = {step.node for step in steps}
    alive = [each.id for each in snapshot.engines.values() if each.node in nodes and each.state.alive and each.run]
    return [f"{len(alive)} engines run there and are affected at once"] if alive else []
