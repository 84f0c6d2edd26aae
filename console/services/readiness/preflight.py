"""Runs the preflight of a deployment: one request to each node in parallel, judged, compared between nodes, and saved.

`console.probes.preflight_checks` has the checks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from console.commands.container import temporary_container
from console.files.saving import save_text
from console.model.errors import ConsoleError, UsageError
from console.model.snapshot import EventLevel, LinkState
from console.probes.check_types import Answer, GroupedResult, NodeRequirements, Result, Verdict, folded
from console.probes.command_batch import batch_argv, batch_timeout_s, jobs, parse_batch
from console.probes.hccn import DeviceNet, parse_hccn
from console.probes.preflight_checks import answered, asked, together
from console.probes.sanitize import decode
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.readiness.container_setup import container_findings
from console.services.readiness.node_releases import with_releases
from console.services.readiness.node_requirements import requirements_of, running_on, used_nodes
from console.services.readiness.ping_matrix import PingResults, ping_all

T = TypeVar("T")

ANSWER_BYTES = 4 * 1024 * 1024
"""Size limit of a node's answer."""
CHOOSE_LAYOUT = "choose a layout first: :layout on the screen, or --layout NAME|FILE"
CONNECTION = "0"
"""Id of the check that a node answers."""
_IDLE = "12"
"""The check of idle device memory; it is meaningless while own engines run."""


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one preflight."""

    at: float
    """When it ended, seconds since the epoch."""
    took_s: float
    nodes: tuple[str, ...]
    results: tuple[Result, ...]
    network: bool = False
    crossing: PingResults | None = None
    """The pings between NPUs, if requested."""

    @property
    def folds(self) -> tuple[GroupedResult, ...]:
        """Equal results of several nodes as one line, in the order of the checks."""
        return folded(self.results)

    def count(self, verdict: Verdict) -> int:
        """The number of results with this verdict."""
        return sum(each.verdict is verdict for each in self.results)

    def failures(self, node: str) -> tuple[Result, ...]:
        """The failed checks of a node."""
        return tuple(each for each in self.results if each.node == node and each.verdict is Verdict.FAIL)


@dataclass(frozen=True, slots=True)
class PreflightRequest:
    """The scope of a preflight."""

    network: bool = False
    """Also check the network between NPUs, which takes a minute."""
    full_mesh: bool = False
    """Ping every device of every other node, not only the device of the same number."""
    blocking: bool = False
    """Only checks that can prevent a successful launch."""


REPORT = TypeAdapter(Report)
"""Converts reports to and from JSON."""


def load(path: Path) -> Report | None:
    """The report in a file; None for a missing or invalid file, or one of another release."""
    try:
        return REPORT.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


class Preflight:
    """The preflight of one session, with its last report."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], kept: Path | None = None) -> None:
        """`kept` is the file of the last report."""
        self._monitor = monitor
        self._links = links
        self._kept = kept
        self._latest: Report | None = None
        self._looked = False
        self._asking: asyncio.Task[object] | None = None
        self.running = False
        self.progress = ""
        """The progress of the running preflight; empty without one."""

    async def run(
        self,
        nodes: Sequence[str] = (),
        ask: PreflightRequest | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> Report:
        """Check these nodes, or all used nodes when none is named. Changes nothing.

        Raises UsageError for an unused node. A node that does not answer is a result and no error.
        """
        ask = ask or PreflightRequest()
        chosen = self._chosen(nodes)
        began = time.monotonic()
        self.running = True
        self._asking = asyncio.current_task() if not ask.blocking else self._asking
        say = self._saying(say)
        try:
            wanted = {node: self._wanted(node) for node in chosen}
            answers = _Answers(chosen, ask, say)
            asked_nodes = await asyncio.gather(
                *(answers.counted(node, self._ask(wanted[node], ask)) for node in chosen)
            )
            judged = together(result for found, _ in asked_nodes for result in found)
            results = with_releases(self._monitor.deployment, container_findings(self._monitor.deployment, judged))
            lost = tuple(result for found, _ in asked_nodes for result in found if result.check == CONNECTION)
            crossing = None
            if ask.network:
                networks = {node: net for node, (_, net) in zip(chosen, asked_nodes, strict=True) if net}
                crossing = await ping_all(self._links, wanted, networks, full=ask.full_mesh, report=say)
                results = (*results, *crossing.results)
        finally:
            self.running = False
            self.progress = ""
        report = Report(time.time(), time.monotonic() - began, chosen, (*lost, *results), ask.network, crossing)
        if not ask.blocking:
            self._latest = report
            self._keep(report)
        return report

    def cancel(self) -> bool:
        """Cancel the running preflight, without a report. False when none runs."""
        if not self.running or self._asking is None:
            return False
        self._asking.cancel()
        return True

    def _saying(self, say: Callable[[str], None]) -> Callable[[str], None]:
        def report_progress(text: str) -> None:
            self.progress = text
            say(text)

        return report_progress

    @property
    def latest(self) -> Report | None:
        """The last report of this or an earlier session; None without one."""
        if self._latest is None and not self._looked and self._kept is not None:
            self._latest = load(self._kept)
        self._looked = True
        return self._latest

    def _keep(self, report: Report) -> None:
        """Save the report; adds a warning when it cannot be written."""
        if self._kept is None:
            return
        try:
            save_text(self._kept, REPORT.dump_json(report).decode() + "\n")
        except ConsoleError as error:
            self._monitor.note(EventLevel.WARNING, f"the preflight report was not saved: {error}")

    async def look(self, argv: tuple[str, ...], timeout_s: float = 30.0, *, outside: bool = False) -> Mapping[str, str]:
        """Run a read-only command where engines run, on every used node, or on all nodes without an assignment.

        Gives the cleaned answers, or errors. `outside` runs it on the node itself when engines run in containers.
        """

        async def one(name: str) -> str:
            try:
                inside = () if outside else self._inside(name)
                sample = await self._links[name].run_command((*inside, *argv), timeout_s)
            except ConsoleError as error:
                return f"no answer: {error}"
            text = "\n".join(decode(line) for line in sample.stdout.split(b"\n"))
            return text if sample.exit_code == 0 else f"{text}\n{decode(sample.stderr)}"

        nodes = used_nodes(self._monitor.deployment) or tuple(self._links)
        return dict(zip(nodes, await asyncio.gather(*(one(node) for node in nodes)), strict=True))

    def _inside(self, name: str) -> tuple[str, ...]:
        deployment = self._monitor.deployment
        runtime = deployment.node(name).runtime
        if runtime.words and runtime.per == "engine":
            return temporary_container(deployment, deployment.node(name))
        return (*runtime.words, "exec", runtime.container) if runtime.words else ()

    def _chosen(self, nodes: Sequence[str]) -> tuple[str, ...]:
        every = used_nodes(self._monitor.deployment)
        for node in nodes:
            if node not in every:
                raise UsageError(
                    f"{node} is not assigned in this deployment", hint=f"assigned: {', '.join(every) or 'no node'}"
                )
        if not every:
            chosen = bool(self._monitor.deployment.layout.groups)
            hint = "assign nodes first, or give --assign GROUP=NODE,NODE"
            raise UsageError("no node is assigned", hint=hint if chosen else CHOOSE_LAYOUT)
        return tuple(nodes) or every

    def _wanted(self, node: str) -> NodeRequirements:
        record = self._monitor.nodes[node]
        pids = {pid for run in record.runs.values() for pid in (run.pid, *run.pids) if pid is not None}
        return requirements_of(
            self._monitor.deployment,
            node,
            self._monitor.snapshot,
            own_pids=frozenset(pids),
            clock_offset_s=record.clock_offset_s,
        )

    async def _ask(
        self, wanted: NodeRequirements, ask: PreflightRequest
    ) -> tuple[tuple[Result, ...], Mapping[int, DeviceNet]]:
        link = self._links[wanted.node]
        if link.link.state is not LinkState.UP:
            return (_unconnected(wanted.node, link.link.reason or str(link.link.state), link.link.hint),), {}
        node = self._monitor.deployment.node(wanted.node)
        batch = jobs(asked(wanted, network=ask.network, blocking=ask.blocking), wanted, self._inside(wanted.node))
        try:
            sample = await link.run_command(
                batch_argv(batch, node.python), batch_timeout_s(batch), max_bytes=ANSWER_BYTES
            )
        except ConsoleError as error:
            return (_unconnected(wanted.node, str(error), error.hint),), {}
        answers = parse_batch(sample.stdout)
        results = answered(wanted, answers, network=ask.network, blocking=ask.blocking)
        output = answers.get(f"hccn-{wanted.hardware}", Answer())
        return self._as_it_runs(wanted.node, results), parse_hccn(output.stdout)

    def _as_it_runs(self, node: str, results: tuple[Result, ...]) -> tuple[Result, ...]:
        """The results; device memory in use is not judged while own engines run on the node."""
        mine = running_on(node, self._monitor.snapshot)
        if not mine:
            return results
        seen = "not checked: engines of this console run here"
        return tuple(
            replace(each, verdict=Verdict.UNKNOWN, seen=seen, remedy="check again when they are stopped")
            if each.check == _IDLE and each.verdict is Verdict.FAIL
            else each
            for each in results
        )


class _Answers:
    """Reports how many nodes have answered, during a check of the NPU network."""

    def __init__(self, nodes: Sequence[str], ask: PreflightRequest, say: Callable[[str], None]) -> None:
        self._left = len(nodes)
        self._all = len(nodes)
        self._say = say if ask.network else lambda text: None
        self._say(f"asking {len(nodes)} nodes for every NPU's link, health, addresses and TLS, about a minute")

    async def counted(self, node: str, asking: Awaitable[T]) -> T:
        """Wait for an answer and count it."""
        found = await asking
        self._left -= 1
        self._say(f"{node} has answered, {self._left} of {self._all} nodes are still to answer")
        return found


def _unconnected(node: str, reason: str, hint: str) -> Result:
    why = "The state of this node is unknown, and nothing can be started on it."
    return Result(CONNECTION, "connection", node, Verdict.FAIL, reason, why, hint)
