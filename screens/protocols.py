"""The protocols of the services that the screen uses; the session and the fake session of tests implement them.

No code enters here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from console.evaluation.progress import Progress
    from console.evaluation.records import Record
    from console.evaluation.result_store import ResultStore
    from console.journal import Journal
    from console.model.cluster import Cluster
    from console.model.deployment import Deployment
    from console.model.findings import Finding
    from console.model.plan import Plan, PlanResult, StepEvent, Verb
    from console.model.run import RunKey, RunState, StopResult
    from console.model.snapshot import ClusterSnapshot
    from console.services.evaluation.evaluator import LocalRun
    from console.services.evaluation.plans import EvaluationPlan, EvaluationRequest
    from console.services.logs.copies import Gap, LogNote
    from console.services.maintenance.node_tasks import MaintenancePlan
    from console.services.operations.restart_watch import PlanObserver
    from console.services.placement.live_assignment import Change
    from console.services.readiness.preflight import PreflightRequest as CheckAsk
    from console.services.readiness.preflight import Report
    from console.services.serving.verification import Proof, Verification
    from console.services.serving.verification import VerificationRequest as ProofAsk


class LogSource(Protocol):
    """A local copy of one run's log that only grows, unless its revision says otherwise."""

    @property
    def revision(self) -> int:
        """Grows when bytes that were there before are others now."""

    @property
    def path(self) -> Path:
        """Where the bytes are; may not exist yet."""

    @property
    def size(self) -> int:
        """Bytes in the copy."""

    @property
    def notes(self) -> tuple[LogNote, ...]:
        """Gaps and truncations, in order."""

    @property
    def gap(self) -> Gap | None:
        """What is not here any more."""


class Logs(Protocol):
    """All log copies."""

    def copy(self, engine: str, run: str | None = None) -> LogSource | None:
        """The copy of the current run, or of an earlier one."""

    def runs(self, engine: str) -> tuple[str, ...]:
        """Run ids with a copy, newest first."""


class EngineOperator(Protocol):
    """What changes engines."""

    @property
    def running(self) -> Plan | None:
        """The plan that runs now."""

    async def prepare(self, verb: Verb, engines: Sequence[str], *, in_turn: bool = False) -> Plan:
        """Build a plan; raises ConsoleError."""

    async def prepare_end(self, verb: Literal["stop", "kill"], node: str, pid: int) -> Plan:
        """Build the plan that ends an unmanaged process; raises ConsoleError."""

    async def prepare_scale(self, group: str, count: int, nodes: Sequence[str] = ()) -> Plan:
        """Build the plan for so many groups; raises ConsoleError."""

    async def prepare_proxy_sync(self) -> Plan:
        """Build the plan that sets the proxy's lists right; raises ConsoleError."""

    async def run(
        self,
        plan: Plan,
        notice: Callable[[StepEvent], None],
        *,
        confirmed: str,
        takeover: bool = False,
        override: frozenset[str] = frozenset(),
    ) -> PlanResult:
        """Run it; raises ConsoleError when it is refused, Busy when `takeover` would help."""

    def cancel(self) -> None:
        """Start no further step."""


class DeploymentVerifier(Protocol):
    """What proves by use that a deployment answers."""

    async def run(self, notice: Callable[[Proof], None], ask: ProofAsk | None = None) -> Verification:
        """Chat and compare; each proof goes to `notice`. Raises ConsoleError when nothing serves."""


class PreflightRunner(Protocol):
    """What must hold before a launch, asked on demand."""

    @property
    def latest(self) -> Report | None:
        """The last report; None before the first."""

    @property
    def running(self) -> bool:
        """Whether a preflight is running."""

    @property
    def progress(self) -> str:
        """The progress, as text."""

    async def run(self, nodes: Sequence[str] = (), ask: CheckAsk | None = None) -> Report:
        """Ask nodes, all that carry something when none is named; raises ConsoleError when none does."""

    def cancel(self) -> bool:
        """Stop waiting; False when nobody waits."""


class NodeMaintenance(Protocol):
    """Plans that maintain nodes."""

    async def containers(self, nodes: Sequence[str]) -> MaintenancePlan:
        """Pull, create and start what is missing; raises ConsoleError."""

    async def weights(self, source: str, nodes: Sequence[str]) -> MaintenancePlan:
        """Copy the model to nodes that lack it; raises ConsoleError."""

    async def tuning(self, nodes: Sequence[str]) -> MaintenancePlan:
        """Set what drifts; raises ConsoleError."""

    async def run(self, chore: MaintenancePlan, notice: Callable[[StepEvent], None], confirmed: str) -> PlanResult:
        """Run one of these plans; raises ConsoleError when it is refused."""


class EvaluationRuns(Protocol):
    """Evaluations that run on nodes, by what is known here."""

    def running(self) -> tuple[tuple[str, RunState], ...]:
        """(node, run) of every one that lives."""

    def progress(self, key: RunKey) -> Progress | None:
        """How far one is; None before its first bar."""

    async def wait(self, key: RunKey, told: Callable[[Progress | None], None]) -> Record:
        """Until one has ended and its record is kept."""


class Evaluations(Protocol):
    """Accuracy and performance runs."""

    @property
    def store(self) -> ResultStore:
        """What was measured."""

    @property
    def watch(self) -> EvaluationRuns:
        """What runs on nodes."""

    @property
    def local(self) -> Mapping[RunKey, LocalRun]:
        """What the built-in generator measures now, here."""

    async def prepare(self, ask: EvaluationRequest) -> EvaluationPlan:
        """Check and build a run; changes nothing; raises ConsoleError."""

    async def start(self, plan: EvaluationPlan, *, confirmed: bool) -> RunKey:
        """Launch it on its node; raises ConsoleError."""

    async def measure(self, plan: EvaluationPlan, told: Callable[[Progress], None], *, confirmed: bool) -> Record:
        """Measure from here; raises ConsoleError."""

    async def cancel(self, key: RunKey, node: str) -> StopResult:
        """End a run on a node; raises ConsoleError."""


class RestartPolicyRunner(Protocol):
    """Runs the restart policies of the layout."""

    paused: bool
    """Whether restarts by this console are paused."""
    observer: PlanObserver | None
    """Shows the plans of restart policies while they run."""


class AssignmentBoard(Protocol):
    """Which node runs which group, and how it is changed; nothing here touches a node."""

    def assign(self, group: str | None, nodes: Sequence[str]) -> None:
        """Give nodes to a group, or take them away; raises ConsoleError."""

    def change(self, operation: Change) -> None:
        """Do one operation of `console.services.placement.edits` as one step that can be taken back; raises ConsoleError."""

    def fill(self) -> None:
        """Give every group the nodes it lacks; raises ConsoleError."""

    def undo(self) -> bool:
        """Take the last assignment back; False when there is none."""

    def redo(self) -> bool:
        """Do it again; False when there is none."""


class NodeLinks(Protocol):
    """How nodes are reached."""

    def retry(self, node: str) -> None:
        """Connect to a node now."""

    async def accept_host_key(self, node: str) -> None:
        """Trust the host key that a node has just shown. Raises ConsoleError."""

    def shell(self, node: str, engine: str | None) -> Sequence[str]:
        """argv of a shell on a node, or where its engine runs; raises ConsoleError."""


class Session(AssignmentBoard, NodeLinks, Protocol):
    """One opened cluster."""

    @property
    def cluster(self) -> Cluster:
        """The nodes as written."""

    @property
    def deployment(self) -> Deployment:
        """Cluster, layout and assignment as they are now."""

    @property
    def read_only(self) -> bool:
        """Whether operations are refused."""

    @property
    def state_dir(self) -> Path:
        """Where this cluster's own files lie on the jump host."""

    @property
    def snapshot(self) -> ClusterSnapshot:
        """The newest snapshot."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Rules that do not hold now."""

    @property
    def logs(self) -> Logs:
        """The log copies."""

    @property
    def journal(self) -> Journal:
        """Who did what on this cluster from this machine."""

    @property
    def operator(self) -> EngineOperator:
        """Plans that change engines."""

    @property
    def restarts(self) -> RestartPolicyRunner:
        """The automatic restart of failed groups."""

    @property
    def preflight(self) -> PreflightRunner:
        """The preflight."""

    @property
    def verifier(self) -> DeploymentVerifier:
        """What proves by use that the deployment answers."""

    @property
    def maintenance(self) -> NodeMaintenance:
        """Plans that maintain nodes."""

    @property
    def evaluator(self) -> Evaluations:
        """Accuracy and performance runs."""

    async def open(self) -> None:
        """Start to connect; returns at once."""

    async def close(self) -> None:
        """Disconnect from all nodes; engines keep running."""

    def subscribe(self, listener: Callable[[ClusterSnapshot], None]) -> Callable[[], None]:
        """Call a listener with each new snapshot on the event loop; gives a function that ends it."""

    def command_text(self, engine: str) -> str:
        """Environment and command of an engine as a person would run it, secrets masked."""
