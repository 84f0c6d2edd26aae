"""A session: one open cluster with its links, monitor, logs and operator, for a front end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from console.commands.launch_scripts import rank_command
from console.commands.masking import masked_data
from console.commands.script import cmd_sh
from console.evaluation.result_store import ResultStore
from console.journal import Journal, operator_name
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.errors import UsageError
from console.model.findings import Finding
from console.model.layout import Layout
from console.model.ongoing_work import OngoingPlan
from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, EventLevel
from console.private_files import private_directory
from console.probes.host import host_probe
from console.probes.npu_smi import info_probe
from console.remote.link import NodeLink
from console.remote.ssh import Dialer
from console.rules import check
from console.services.background_tasks import BackgroundTasks, Service
from console.services.evaluation.evaluator import Evaluator
from console.services.logs.copies import LogBook
from console.services.maintenance.node_maintenance import Maintenance
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.log_verification import LogVerification
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.startup_eta import StartWatch, history_path
from console.services.monitoring.unmanaged_watch import UnmanagedWatch
from console.services.operations.lease import abandoned_plan, lease_link, ongoing_plan, read_lease
from console.services.operations.operator import Operator
from console.services.operations.plan_maker import PlanMaker
from console.services.operations.restart_watch import RestartWatch
from console.services.operations.shared_notes import SharedNotes
from console.services.operations.step_text import command_text
from console.services.placement import edits as operations
from console.services.placement.layout_choice import require_layout
from console.services.placement.live_assignment import Change, LiveAssignment
from console.services.readiness.preflight import Preflight
from console.services.serving.alert_delivery import AlertWatch, lock_path
from console.services.serving.diagnosis import DiagnosisWatch
from console.services.serving.health import HealthWatch
from console.services.serving.metrics import MetricsWatch
from console.services.serving.proof_store import ProofStore, proofs_path
from console.services.serving.verification import Verifier
from console.services.serving.works_watch import WorksWatch
from console.services.shell_access import open_at_engine, open_on_node
from console.services.xdg_paths import assignment_path, file_name, journal_path, report_path, state_home

LEASE_EVERY_S = 2.0
"""Interval of reading the lease; short, because a stop may take only seconds."""
LEASE_ANSWER_S = 10.0
LEASE_FIRST_S = 0.5
"""Interval until the node of the lease has answered once."""


class Session:
    """One cluster with one deployment, live from `open` to `close`."""

    def __init__(
        self,
        cluster: Cluster,
        layout: Layout,
        assignment: Assignment,
        *,
        read_only: bool = False,
        state_dir: Path | None = None,
        intervals: Intervals | None = None,
        restarts: bool = False,
        alerts: bool = False,
    ) -> None:
        """`restarts`: run restart policies while open with write access. `alerts`: send the cluster's alerts."""
        self.cluster = cluster
        self.read_only = read_only
        self.state_dir = state_dir or state_home()
        self._unwritable = _made_private(self.state_dir)
        deployment = Deployment(cluster, layout, assignment)
        self._links: dict[str, NodeLink] = {}
        self.logs = LogBook(self.state_dir / "logs" / file_name(cluster.name), self._current)
        self._monitor = Monitor(deployment, self.logs, self._links, read_only=read_only)
        self._supervisor = BackgroundTasks(self._monitor.failed)
        self._roles = LiveAssignment(self._monitor, assignment_path(self.state_dir, cluster.name, layout.name))
        self._dialer = Dialer(cluster, known_hosts=self.state_dir / "known_hosts")
        for node in cluster.nodes.values():
            probes = [host_probe(node.base), *([info_probe()] if node.hardware.devices else [])]
            self._links[node.name] = NodeLink(node, dialer=self._dialer, watcher=self._monitor, probes=probes)
        self.journal = Journal(journal_path(self.state_dir, cluster.name), mask=masked_data)
        self.unmanaged_watch = UnmanagedWatch(self._monitor.nodes, self._links)
        self.preflight = Preflight(self._monitor, self._links, report_path(self.state_dir, cluster.name, layout.name))
        parts = (self._monitor, self._links, self.journal)
        self._notes = SharedNotes(self._monitor, self._links)
        self.operator = Operator(
            *parts, who=operator_name(), preflight=self.preflight, roles=self._roles, notes=self._notes
        )
        self._start_watch = StartWatch(self._monitor, history_path(self.state_dir, cluster.name, layout.name))
        self.restarts = RestartWatch(self._monitor, self.operator, enabled=restarts, notes=self._notes)
        results = ResultStore(self.state_dir / "results.sqlite")
        self.evaluator = Evaluator(self._monitor, self._links, self.logs, self.journal, results, who=operator_name())
        self._health = HealthWatch(self._monitor, self._links, intervals)
        self._metrics = MetricsWatch(self._monitor, self._links, intervals)
        self.works = WorksWatch(self._monitor, self._links, intervals)
        self._proofs = ProofStore(self._monitor, proofs_path(self.state_dir, cluster.name))
        self.maintenance = Maintenance(self._monitor, self._links, self.operator, self.state_dir, operator_name())
        self._comparison = LogVerification(self._monitor, self._links, self.logs, intervals)
        self.verifier = Verifier(self._monitor, self._links, self.works.comparison)
        own = self.state_dir / "signatures.yaml"
        self.diagnosis = DiagnosisWatch(self._monitor, self.logs, intervals, own=own)
        self.alerts = AlertWatch(self._monitor, self.journal, lock_path(self.state_dir, cluster.name), sends=alerts)
        self._findings: tuple[Deployment, tuple[Finding, ...]] | None = None

    async def open(self) -> None:
        """Start connecting and publishing; returns at once."""
        if self._unwritable:
            self._monitor.note(EventLevel.WARNING, f"nothing is kept on this machine: {self._unwritable}")
        for link in self._links.values():
            link.start()
        self._monitor.subscribe(self.evaluator.watch.on_snapshot)
        self._monitor.subscribe(self._start_watch.update)
        self._monitor.subscribe(self.unmanaged_watch.update)
        self._monitor.subscribe(self._proofs.update)
        services: dict[str, Service] = {
            "monitor": self._monitor.run,
            "following": self._monitor.following.run,
            "comparison": self._comparison.run,
            "health": self._health.run,
            "metrics": self._metrics.run,
            "works": self.works.run,
            "diagnosis": self.diagnosis.run,
            "alerts": self.alerts.run,
            "restarts": self.restarts.run,
            "lease": self._watch_lease,
        }
        for name, service in services.items():
            self._supervisor.start(name, service)

    async def close(self) -> None:
        """Close links, tasks and files; changes nothing on nodes."""
        await self._supervisor.close()
        await asyncio.gather(*(link.close() for link in self._links.values()))
        await self._dialer.close()
        self.logs.close()

    @property
    def deployment(self) -> Deployment:
        """The current cluster, layout and assignment."""
        return self._monitor.deployment

    @property
    def snapshot(self) -> ClusterSnapshot:
        """The newest snapshot."""
        return self._monitor.snapshot

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of the rules about the deployment."""
        if not self.deployment.layout.chosen:
            return ()
        if self._findings is None or self._findings[0] is not self.deployment:
            self._findings = (self.deployment, check(self.deployment))
        return self._findings[1]

    def subscribe(self, listener: Callable[[ClusterSnapshot], None]) -> Callable[[], None]:
        """Call `listener` with each new snapshot, at most four a second. Returns a function that unsubscribes it."""
        return self._monitor.subscribe(listener)

    def assign(self, group: str | None, nodes: Sequence[str]) -> None:
        """Append nodes to a group in this order; with None, unassign them. Saved at once.

        Raises UsageError for names that do not exist and Refused while engines of ours run on a node that would change.
        """
        if group is None:
            self.change(lambda now: operations.unassign(now, nodes))
        else:
            self.change(lambda now: operations.assign(now, group, nodes))

    def change(self, operation: Change) -> None:
        """Do one operation of `placement.edits` (move, swap, resize …) as one step that can be taken back.

        Raises Refused without a layout.
        """
        require_layout(self.deployment)
        self._roles.change(operation)

    def fill(self) -> None:
        """Assign free nodes to incomplete groups, nodes known to be free first."""
        free = self._roles.free_devices()
        self.change(lambda now: operations.auto_assign(now, free))

    def undo(self) -> bool:
        """Undo the last change of the assignment; False without one."""
        return self._roles.undo()

    def redo(self) -> bool:
        """Redo an undone change; False without one."""
        return self._roles.redo()

    def command_text(self, engine: str) -> str:
        """The script that starts this engine, secrets masked. Raises UsageError for an unknown engine."""
        ranks = PlanMaker(self.deployment, self.snapshot).ranks
        if engine not in ranks:
            raise UsageError(f"the plan has no engine {engine!r}")
        rank = ranks[engine]
        command = rank_command(self.deployment, rank)
        if "********" in command_text(command):
            return command_text(command)
        return cmd_sh(command, self.deployment.node(rank.node))

    def note(self, text: str) -> None:
        """Add an event about an action of this console."""
        self._monitor.note(EventLevel.INFO, text)

    def first_sample_complete(self, node: str) -> bool:
        """Whether the first sample of a node is complete, see `monitoring.completeness`."""
        return self._monitor.nodes[node].complete

    def retry(self, node: str) -> None:
        """Connect to a node again now."""
        self._links[node].retry_now()

    def shell(self, node: str, engine: str | None) -> tuple[str, ...]:
        """The argv of a shell on a node, or where its engine runs. Raises UsageError, Refused, ConsoleError."""
        if engine is None:
            return open_on_node(self.cluster, node, self.state_dir, self.journal, read_only=self.read_only)
        return open_at_engine(self.deployment, engine, self.state_dir, self.journal, read_only=self.read_only)

    async def accept_host_key(self, node: str) -> None:
        """Trust the host key of a node, save it in the console's known hosts, and connect again."""
        await self._dialer.accept_host_key(node)
        self.journal.record("accept-host-key", cluster=self.cluster.name, node=node)
        self._links[node].retry_now()

    def _current(self, engine: str) -> RunKey | None:
        return self._monitor.current(engine)

    async def _watch_lease(self) -> None:
        """Update the running plan of the deployment in the snapshots."""
        while True:
            await asyncio.sleep(LEASE_EVERY_S if self._notes.read else LEASE_FIRST_S)
            link = lease_link(tuple(rank.node for rank in self.deployment.ranks()), self._links)
            ours = self.operator.running is not None
            answer = await read_lease(link, self.deployment.name, LEASE_ANSWER_S)
            if answer is not None:
                self._notes.update(answer)
            work = None if answer is None else ongoing_plan(answer, time.time())
            abandoned = None if answer is None else abandoned_plan(answer, time.time())
            if _names(abandoned) != _names(self._monitor.abandoned):
                self._monitor.abandoned = abandoned
                self._monitor.touch()
            # a plan of ours that ended under the question may still be in the answer
            if not ours and self.operator.running is None and _names(work) != _names(self._monitor.work):
                self._monitor.work = work
                self._monitor.touch()


def _made_private(path: Path) -> str:
    """Create the state directory; gives the error, or an empty text. Stopping engines works without it."""
    try:
        private_directory(path)
    except OSError as error:
        return f"{error.filename or path}: {error.strerror}"
    return ""


def _names(work: OngoingPlan | None) -> object:
    """The parts of a running plan that need a new snapshot when they change; the measured time varies a little."""
    return work and (work.holder, work.verb, work.ends)
