"""A session without a network: the same methods as the real one, states that a test moves by hand, logs that are real files."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from console.journal import Journal
from console.model.cluster import Cluster, Node
from console.model.deployment import Assignment, Deployment, Rank
from console.model.errors import Busy, ConsoleError, NothingToDo, Refused
from console.model.findings import Finding
from console.model.hardware import HARDWARE
from console.model.key_positions import Source
from console.model.layout import DataParallel, Group, Layout, Model, Proxy
from console.model.payload import KernelSetting, KernelSettings, NodeCommands, Payload, ProcessEnd
from console.model.plan import Confirm, Outcome, Plan, PlanResult, ProcessId, Stage, Step, StepEvent, Verb
from console.model.snapshot import (
    ClusterSnapshot,
    Device,
    Diagnosis,
    EngineSnapshot,
    EngineState,
    Event,
    EventLevel,
    Grade,
    HealthCheck,
    Host,
    Link,
    LinkState,
    NodeSnapshot,
    Process,
)
from console.services.logs.copies import Gap, LogNote
from console.services.maintenance.node_tasks import MaintenancePlan, NodeTaskRunner
from console.services.operations.restart_watch import PlanObserver
from console.services.placement.edits import auto_assign
from console.services.readiness.preflight import PreflightRequest as CheckAsk
from console.services.readiness.preflight import Report
from console.services.serving.coverage import RankProof
from console.services.serving.verification import Proof, Verification
from console.services.serving.verification import VerificationRequest as ProofAsk
from tests.screens.evaluation.evaluations import FakeEvaluator

NOW = 1_764_000_000.0
FULL = {"prefill": ("p0", "p1"), "decode": ("d0", "d1")}


def layout() -> Layout:
    """Two prefill ranks of 16 devices, sixteen decode ranks of two: the shape of the tutorial's A3 deployment."""
    prefill = Group(
        role="prefill",
        nodes=2,
        tensor_parallel=16,
        data_parallel=DataParallel(size=2, per_node=1, balance="external"),
        port=7100,
    )
    decode = Group(
        role="decode",
        nodes=2,
        tensor_parallel=2,
        data_parallel=DataParallel(size=16, per_node=8, balance="external"),
        port=7100,
    )
    return Layout(
        name="a3-pd",
        hardware=HARDWARE["a3"],
        model=Model(path="/models/dsv4", served_name="dsv4"),
        groups={"prefill": prefill, "decode": decode},
        proxy=Proxy(node="prefill/0"),
    )


def cluster(names: Sequence[str] = ("p0", "p1", "d0", "d1"), tags: tuple[str, ...] = (), name: str = "lab") -> Cluster:
    """Machines that exist nowhere."""
    return Cluster(
        name=name,
        nodes={name: Node(name=name, host=f"10.0.0.{index}") for index, name in enumerate(names, start=1)},
        tags=tags,
    )


@dataclass(slots=True)
class FakeCopy:
    """A log copy: a file a test appends to."""

    path: Path
    size: int = 0
    notes: tuple[LogNote, ...] = ()
    revision: int = 0
    gap: Gap | None = None

    def append(self, data: bytes) -> None:
        """Bytes arrive."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(data)
        self.size += len(data)


@dataclass(slots=True)
class FakeLogs:
    """Copies by engine and run."""

    copies: dict[tuple[str, str | None], FakeCopy] = field(default_factory=dict)
    known_runs: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def copy(self, engine: str, run: str | None = None) -> FakeCopy | None:
        """The copy, or None."""
        return self.copies.get((engine, run))

    def runs(self, engine: str) -> tuple[str, ...]:
        """Newest first."""
        return self.known_runs.get(engine, ())


@dataclass(slots=True)
class FakeOperator:
    """Plans that only move states; `gate` holds a run until a test lets it go."""

    session: FakeSession
    running: Plan | None = None
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    ran: list[tuple[Plan, str]] = field(default_factory=list)
    confirm: Confirm | None = None
    findings: tuple[Finding, ...] = ()
    losses: tuple[str, ...] = ()
    takes_in: tuple[str, ...] = ()
    """Engines a plan takes in beside those it was asked for."""
    gate: asyncio.Event | None = None
    cancelled: bool = False
    refusal: ConsoleError | None = None
    busy: Busy | None = None
    """Another operator, until taken over."""
    checks: frozenset[str] = frozenset()
    """What fails in the preflight, until passed over."""
    insisted: list[tuple[bool, frozenset[str]]] = field(default_factory=list)

    def _fail(self, plan: Plan, notice: Callable[[StepEvent], None]) -> None:
        for step in plan.steps:
            notice(StepEvent(step.id, Outcome.FAILED, "a check fails"))

    async def prepare_scale(self, group: str, count: int, nodes: Sequence[str] = ()) -> Plan:
        """A start of what that group has."""
        self.asked.append(("scale", (group, str(count), *nodes)))
        return replace(await self.prepare("start", ("decode-0",)), verb="scale")

    async def prepare_proxy_sync(self) -> Plan:
        """Nothing to do."""
        raise NothingToDo("nothing to do: the proxy uses exactly the engines that are ready")

    async def prepare(self, verb: Verb, engines: Sequence[str], *, in_turn: bool = False) -> Plan:
        """One stage for each node."""
        if self.session.read_only:
            raise Refused("the cluster is read-only", hint="start the console with --write")
        self.asked.append((verb, tuple(engines)))
        engines = tuple(dict.fromkeys([*engines, *self.takes_in]))
        snapshot = self.session.snapshot
        steps = tuple(
            Step(
                f"{verb}/{name}",
                "launch" if verb == "start" else "stop",
                f"{verb} {name}",
                snapshot.engines[name].node,
                (name,),
                NodeCommands((tuple(shlex.split(self.session.command_text(name))),)),
            )
            for name in engines
        )
        confirm = self.confirm or (Confirm("key", "y") if len(engines) == 1 else Confirm("count", str(len(engines))))
        return Plan(
            verb,
            self.session.cluster.name,
            "a3-pd",
            tuple(engines),
            (Stage(f"{verb} all at once", steps),),
            confirm,
            self.findings,
            self.losses,
        )

    async def prepare_end(self, verb: Verb, node: str, pid: int) -> Plan:
        """One step, to be confirmed by the pid."""
        work = ProcessEnd(ProcessId(node, pid, 1, "boot"), kill=verb == "kill", limit_s=20.0)
        step = Step("end", "end", f"TERM for pid {pid}", node, (), work)
        confirm = Confirm("pid", str(pid))
        stages = (Stage("end it", (step,)),)
        return Plan(verb, self.session.cluster.name, "a3-pd", (), stages, confirm)

    async def run(
        self,
        plan: Plan,
        notice: Callable[[StepEvent], None],
        *,
        confirmed: str,
        takeover: bool = False,
        override: frozenset[str] = frozenset(),
    ) -> PlanResult:
        """Every step is done at once, or when the gate opens."""
        if confirmed != plan.confirm.expected:
            raise Refused("not confirmed")
        self.insisted.append((takeover, override))
        if self.busy is not None and not takeover:
            raise self.busy
        if missing := self.checks - override:
            self._fail(plan, notice)
            failed = {step.id: Outcome.FAILED for step in plan.steps}
            words = {step.id: f"check {', '.join(sorted(missing))} fails" for step in plan.steps}
            return PlanResult(failed, words, checks=tuple(sorted(missing)))
        if self.refusal is not None:
            raise self.refusal
        self.running = plan
        self.ran.append((plan, confirmed))
        for step in plan.steps:
            notice(StepEvent(step.id, Outcome.RUNNING))
        if self.gate is not None:
            await self.gate.wait()
        state = EngineState.EXITED if plan.verb in ("stop", "kill") else EngineState.STARTING
        for step in plan.steps:
            notice(StepEvent(step.id, Outcome.DONE))
            self.session.set_state(step.engines[0], state)
        self.running = None
        return PlanResult({step.id: Outcome.DONE for step in plan.steps}, {}, self.cancelled)

    def cancel(self) -> None:
        """Remember that it was asked for."""
        self.cancelled = True


@dataclass(slots=True)
class FakePolicies:
    """Restart policies that never act."""

    paused: bool = False
    observer: PlanObserver | None = None


class FakePreflight:
    """Gives the report a test has put there."""

    def __init__(self) -> None:
        self.latest: Report | None = None
        self.next = Report(NOW, 0.1, (), ())
        self.running = False
        self.progress = ""
        self.asked: list[CheckAsk | None] = []
        self.gate: asyncio.Event | None = None
        self._asking: asyncio.Task[object] | None = None

    async def run(self, nodes: Sequence[str] = (), ask: CheckAsk | None = None) -> Report:
        """Without asking anybody; `gate` holds it until a test lets it go."""
        self.asked.append(ask)
        self.running, self._asking = True, asyncio.current_task()
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.running = False
        self.latest = self.next
        return self.next

    def cancel(self) -> bool:
        """As the real one."""
        if self._asking is None or not self.running:
            return False
        self._asking.cancel()
        return True


class FakeUpkeep:
    """Plans of one step for each node, and a record of what was asked and run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.ran: list[tuple[MaintenancePlan, str]] = []
        self.refusal: ConsoleError | None = None

    async def containers(self, nodes: Sequence[str]) -> MaintenancePlan:
        """One container a node."""
        return self._chore(
            "containers",
            nodes or ("p0", "p1"),
            NodeCommands((("docker", "run", "-d", "--name", "box", "[red]IMAGE[/]", "sleep", "infinity"),)),
        )

    async def weights(self, source: str, nodes: Sequence[str]) -> MaintenancePlan:
        """From one to the others."""
        self.asked.append(("source", source))
        return self._chore("weights", nodes or ("p1",), NodeCommands((("python3", "-", "fetch", "/models/dsv4"),)))

    async def tuning(self, nodes: Sequence[str]) -> MaintenancePlan:
        """One setting a node."""
        return self._chore(
            "tune",
            nodes or ("p0",),
            KernelSettings((KernelSetting("swappiness", "/proc/sys/vm/swappiness", "0", "60"),)),
        )

    async def run(self, chore: MaintenancePlan, notice: Callable[[StepEvent], None], confirmed: str) -> PlanResult:
        """Every step is done at once."""
        self.ran.append((chore, confirmed))
        for step in chore.plan.steps:
            notice(StepEvent(step.id, Outcome.DONE, "it runs"))
        return PlanResult({step.id: Outcome.DONE for step in chore.plan.steps}, {})

    def _chore(self, verb: Verb, nodes: Sequence[str], work: Payload) -> MaintenancePlan:
        self.asked.append((verb, *nodes))
        if self.refusal is not None:
            raise self.refusal
        steps = tuple(Step(f"{verb}:{name}", "maintenance", f"{name}: {verb}", name, (), work) for name in nodes)
        confirm = Confirm("name", "lab") if verb == "tune" else Confirm("key", "y")
        plan = Plan(verb, "lab", "a3-pd", (), (Stage("create", steps),), confirm, by_node=True)
        return MaintenancePlan(plan, NodeTaskRunner({}, {}, "look"))


class FakeVerifier:
    """Says what it is given, in two pieces, when it is let."""

    def __init__(self) -> None:
        self.proofs: tuple[Proof, ...] = ()
        self.ranks: tuple[RankProof, ...] = ()
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None

    async def run(self, notice: Callable[[Proof], None], ask: ProofAsk | None = None) -> Verification:
        """One chat."""
        assert ask is not None
        assert ask.hear is not None
        self.asked.append(ask.prompt)
        ask.hear(1, "Hel[b]lo ")
        if self.gate is not None:
            await self.gate.wait()
        ask.hear(1, "world")
        for proof in self.proofs:
            notice(proof)
        return Verification(self.proofs, self.ranks)


class FakeSession:
    """A cluster in memory."""

    def __init__(
        self,
        directory: Path,
        *,
        names: Sequence[str] = ("p0", "p1", "d0", "d1"),
        assigned: bool = True,
        state: EngineState = EngineState.READY,
        read_only: bool = False,
        name: str = "lab",
    ) -> None:
        self.cluster = cluster(names, name=name)
        self.read_only = read_only
        self.state_dir = directory
        self.findings: tuple[Finding, ...] = ()
        self.logs = FakeLogs()
        self.journal = Journal(directory / "journal.jsonl", clock=lambda: NOW)
        self.operator = FakeOperator(self)
        self.preflight = FakePreflight()
        self.maintenance = FakeUpkeep()
        self.verifier = FakeVerifier()
        self.evaluator = FakeEvaluator(directory, lambda: self.deployment, read_only=read_only)
        self.restarts = FakePolicies()
        self.refusal: ConsoleError | None = None
        self.retried: list[str] = []
        self.trusted: list[str] = []
        self.opened = self.closed = False
        self._listeners: list[Callable[[ClusterSnapshot], None]] = []
        self._undo: list[Assignment] = []
        self._redo: list[Assignment] = []
        self._state = state
        self._changes: dict[str, EngineSnapshot] = {}
        self._node_changes: dict[str, NodeSnapshot] = {}
        self._events: tuple[Event, ...] = ()
        self._diagnoses: tuple[Diagnosis, ...] = ()
        self.more: dict[str, object] = {}
        """What else is in each picture, by the name of its field."""
        self._deployment = Deployment(self.cluster, layout(), Assignment(dict(FULL) if assigned else {}))
        self.snapshot = self._picture()

    @property
    def deployment(self) -> Deployment:
        """What is assigned now."""
        return self._deployment

    def read_from(self, layout: Source | None, cluster: Path) -> None:
        """As if layout and cluster had been read from these files."""
        held = self._deployment.layout.model_copy(update={"source": layout})
        self._deployment = replace(self._deployment, layout=held)
        self.cluster = self.cluster.model_copy(update={"source": Source(str(cluster))})

    async def open(self) -> None:
        """Nothing to dial."""
        self.opened = True

    async def close(self) -> None:
        """Nothing to let go."""
        self.closed = True

    def subscribe(self, listener: Callable[[ClusterSnapshot], None]) -> Callable[[], None]:
        """Told whenever a test moves something."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def assign(self, group: str | None, nodes: Sequence[str]) -> None:
        """At the end of the group, from wherever they were."""
        held = [each for each in self._deployment.assignment.of(group or "") if each not in nodes]
        if group is not None and len(held) + len(nodes) > self._deployment.layout.groups[group].nodes:
            raise ConsoleError(f"{group} has all its nodes", hint="take one away first")
        members = {
            name: tuple(each for each in held if each not in nodes)
            for name, held in self._deployment.assignment.nodes.items()
        }
        if group is not None:
            members[group] = (*members.get(group, ()), *nodes)
        self.change(lambda now: replace(now, assignment=replace(now.assignment, nodes=members)))

    def change(self, operation: Callable[[Deployment], Deployment]) -> None:
        """One step that can be taken back; `refusal` stands for an engine that runs on the place."""
        if self.refusal is not None:
            raise self.refusal
        made = operation(self._deployment)
        if made.assignment == self._deployment.assignment:
            return
        self._undo.append(self._deployment.assignment)
        self._redo.clear()
        self._set_assignment(made.assignment)

    def fill(self) -> None:
        """As the real one, with nothing known of free devices."""
        self.change(auto_assign)

    def undo(self) -> bool:
        """Back one step."""
        return self._turn(self._undo, self._redo)

    def redo(self) -> bool:
        """Forth one step."""
        return self._turn(self._redo, self._undo)

    def _turn(self, source: list[Assignment], target: list[Assignment]) -> bool:
        if not source:
            return False
        target.append(self._deployment.assignment)
        self._set_assignment(source.pop())
        return True

    def _set_assignment(self, assignment: Assignment) -> None:
        now = self._deployment
        self._deployment = Deployment(now.cluster, now.layout.written or now.layout, assignment)
        self.publish()

    def command_text(self, engine: str) -> str:
        """Shaped like the real one."""
        return f"export HCCL_BUFFSIZE=256\nexec vllm serve /models/dsv4 --served-name dsv4 --rank-of {engine}"

    def retry(self, node: str) -> None:
        """Remember it."""
        self.retried.append(node)

    async def accept_host_key(self, node: str) -> None:
        """Remember it."""
        self.trusted.append(node)

    def shell(self, node: str, engine: str | None) -> Sequence[str]:
        """A program that says where it would be."""
        if self.read_only:
            raise Refused("read-only: no shell is opened")
        return ("sh", "-c", 'echo "SHELL $0 $1"; read -r answer; exit "$answer"', node, engine or "-")

    def set_state(self, engine: str, state: EngineState, **more: object) -> None:
        """Move one engine and tell everybody."""
        known = self.snapshot.engines[engine]
        self._changes[engine] = replace(known, state=state, **more)  # type: ignore[arg-type]
        self.publish()

    def set_node(self, name: str, **more: object) -> None:
        """Change what is known of a node and tell everybody."""
        self._node_changes[name] = replace(self.snapshot.nodes[name], **more)  # type: ignore[arg-type]
        self.publish()

    def diagnosed(self, engine: str, text: str = "NPU out of memory", remedy: str = "") -> None:
        """One engine is the first cause of what is wrong."""
        first = Diagnosis("C1", "fatal", "out of memory", "", remedy, "", engine, "d0", text, NOW, True, first=True)
        self.diagnose((first,))

    def diagnose(self, found: Sequence[Diagnosis]) -> None:
        """These are the failures that are known."""
        self._diagnoses = tuple(found)
        self.publish()

    def event(self, text: str, level: EventLevel = EventLevel.INFO, engine: str = "") -> None:
        """Something happened."""
        self._events = (
            *self._events,
            Event(len(self._events) + 1, NOW + len(self._events), level, text, engine=engine),
        )
        self.publish()

    def note(self, text: str) -> None:
        """Among the events."""
        self.event(text)

    def publish(self) -> None:
        """A new picture for all."""
        self.snapshot = self._picture()
        for listener in tuple(self._listeners):
            listener(self.snapshot)

    def _picture(self) -> ClusterSnapshot:
        ranks = list(self._deployment.ranks())
        proxy = self._deployment.proxy_rank()
        engines = {
            rank.id: self._changes.get(rank.id, self._engine(rank)) for rank in [*ranks, *([proxy] if proxy else [])]
        }
        nodes = {}
        for name, node in self.cluster.nodes.items():
            made = self._node_changes.get(name) or NodeSnapshot(
                name=name,
                host=node.host,
                hardware=node.hardware.name,
                expected_devices=node.hardware.devices,
                link=Link(LinkState.UP),
                reached=True,
                sampled_at=NOW,
                devices=devices(node.hardware.devices, busy=any(each.node == name for each in engines.values())),
                system=Host(hostname=name),
            )
            group = self._deployment.assignment.group_of(name)
            nodes[name] = replace(
                made,
                group=group,
                role=self._deployment.layout.groups[group].role if group else None,
                ranks=tuple(rank.id for rank in ranks if rank.node == name),
            )
        made_of = ClusterSnapshot(
            at=NOW,
            cluster=self.cluster.name,
            deployment="a3-pd",
            read_only=self.read_only,
            nodes=nodes,
            engines=engines,
            events=self._events,
            diagnoses=self._diagnoses,
        )
        return replace(made_of, **self.more)  # type: ignore[arg-type]

    def _engine(self, rank: Rank) -> EngineSnapshot:
        grade = Grade.OK if self._state is EngineState.READY else Grade.UNKNOWN
        return EngineSnapshot(
            id=rank.id,
            node=rank.node,
            group=rank.group,
            role=rank.role,
            state=self._state,
            dp_rank=rank.dp_rank,
            devices=rank.devices,
            port=rank.port,
            headless=rank.headless,
            health=tuple(
                HealthCheck(name, grade, "200 in 12 ms" if name == "http" else "seen")
                for name in ("link", "process", "log", "http", "model")
            ),
            run="20261124-101500",
            pid=4242,
        )


def devices(count: int, *, busy: bool) -> tuple[Device, ...]:
    """Dies in pairs, as an A3 node has them."""
    return tuple(
        Device(
            id=index,
            card=index // 2,
            die=index % 2,
            health="OK",
            aicore_percent=31 if busy else 0,
            hbm_used_mib=58_000 if busy else 2_900,
            hbm_total_mib=65_536,
            temperature_c=46,
            power_w=420.0 if index % 2 == 0 else None,
            processes=(Process(9000 + index, "VLLM::Worker_TP", 55_000),) if busy else (),
        )
        for index in range(count)
    )
