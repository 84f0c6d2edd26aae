"""Builds the plan of an operation: its engines, its stages and the exact commands. Runs nothing.

The ranks of a data-parallel group start and fail together, so an operation on one rank includes its whole group.
Start order: services, all groups in parallel, then the proxy. Stop order: proxy, decode, the rest, services.
A proxy that keeps serving drops engines before they stop and lists them again after they are ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from console.model.deployment import Deployment, Rank, engine_count, engine_words, whole_engine
from console.model.durations import about, exact
from console.model.findings import Finding, Severity
from console.model.name_ranges import name_ranges
from console.model.payload import EngineLaunch, EngineLaunches, RunsAwaited
from console.model.plan import Act, Confirm, Plan, Stage, Step, Verb
from console.model.restart import Restart
from console.model.role import BESIDE_ENGINES
from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.model.start_timing import UsualDuration
from console.rules import check
from console.services.operations import proxy_routing
from console.services.operations.payloads import engine_launch, engine_stops
from console.services.operations.plan_findings import PART, previous_run_findings, release_findings, unreached_findings
from console.services.operations.plan_losses import losses, still_loading
from console.services.operations.resume_start import PartialStart, partial_start

DRAIN_S = 120.0
"""Default time that requests may continue after their engine was removed from the proxy."""
STOP_ORDER = ("proxy", "decode", "mixed", "prefill", "service")


class PlanMaker:
    """Makes the plans of one deployment from one snapshot of it."""

    def __init__(
        self,
        deployment: Deployment,
        snapshot: ClusterSnapshot,
        *,
        drain_s: float = DRAIN_S,
        previous_run: Callable[[str, str], str | None] | None = None,
    ) -> None:
        """`previous_run` gives the newest run of an engine on a node, for engines that the snapshot does not contain yet."""
        self.deployment = deployment
        self.snapshot = snapshot
        self.drain_s = drain_s
        self._previous_run = previous_run
        self.ranks: dict[str, Rank] = {rank.id: rank for rank in deployment.processes()}

    def make(self, verb: Verb, engines: Sequence[str]) -> Plan:
        """The plan of a verb on these engines, or on all when none is named. Raises UsageError for an unknown name."""
        return self.plan(verb, self.chosen(verb, engines))

    def plan(self, verb: Verb, chosen: Sequence[str]) -> Plan:
        """The plan of a verb on exactly these engines."""
        starts = verb in ("start", "restart")
        stopping = [name for name in chosen if self.running(name)] if verb != "start" else []
        stages: list[Stage] = []
        if verb == "kill":
            stages += self._stop_stages(stopping, "kill")
        elif verb != "start":
            stages += self._stop_stages(stopping, "stop")
        to_start = [name for name in chosen if name in self.ranks and (verb == "restart" or not self.running(name))]
        if starts:
            stages += self._start_stages(to_start)
        touched = tuple(dict.fromkeys([*stopping, *(to_start if starts else [])]))
        return Plan(
            verb=verb,
            cluster=self.deployment.cluster.name,
            deployment=self.deployment.name,
            engines=touched,
            stages=tuple(stages),
            confirm=self.confirm(verb, touched, stopping),
            findings=(
                *unreached_findings(self.snapshot, verb, chosen),
                *self._findings(verb, to_start if starts else []),
            ),
            losses=tuple(losses(self.deployment, self.snapshot, verb, stopping, self.drain_s, self._group)),
            drain_s=self.drain_s,
            usual=self._usual(to_start if starts else []),
            made_from=self.deployment,
        )

    def _usual(self, to_start: Sequence[str]) -> dict[str, UsualDuration]:
        """How long earlier starts of the groups of these took; for a new copy, those of its original."""
        found = {}
        for group in dict.fromkeys(self.ranks[name].group for name in to_start):
            known = self.snapshot.usual.get(group) or self.snapshot.usual.get(self.deployment.like(group))
            if known is not None:
                found[group] = known
        return found

    def chosen(self, verb: Verb, engines: Sequence[str]) -> list[str]:
        """The engines that a verb on these includes, or all when none is named. Raises UsageError for an unknown name.

        Engines of another deployment on these nodes are included only when they are named.
        """
        ours = [name for name in self.snapshot.engines if "/" not in name]
        every = ours if verb in ("stop", "kill") else list(self.ranks)
        if not engines:
            return every
        engines = self.deployment.engines_named(engines, every, {*self.snapshot.engines, *self.ranks})
        if verb == "kill":
            return [
                name for name in dict.fromkeys([*every, *engines]) if name in engines or whole_engine(name) in engines
            ]
        chosen = {self._group(name) for name in engines}
        return [name for name in dict.fromkeys([*every, *engines]) if self._group(name) in chosen]

    def _group(self, name: str) -> str:
        if name in self.ranks:
            return self.ranks[name].group
        seen = self.snapshot.engines.get(name)
        return f"{name}" if seen is None else seen.group or name

    def _seen(self, name: str) -> EngineSnapshot | None:
        return self.snapshot.engines.get(name)

    def _newest_run(self, rank: Rank) -> str | None:
        seen = self._seen(rank.id)
        if seen is None and self._previous_run is not None:
            return self._previous_run(rank.id, rank.node)
        return seen.run if seen else None

    def running(self, name: str) -> bool:
        """Whether the engine runs or may run. An unreachable engine counts when it ran before."""
        seen = self._seen(name)
        if seen is None:
            return False
        if seen.connecting and not seen.out_of_reach:
            return True
        state = seen.stale_of if seen.state is EngineState.UNREACHABLE else seen.state
        return state is not None and state.alive and state is not EngineState.UNREACHABLE

    def _start_stages(self, names: Sequence[str]) -> list[Stage]:
        ranks = [self.ranks[name] for name in names if self.ranks[name].role not in BESIDE_ENGINES]
        before = self._service_stages([self.ranks[name] for name in names if self.ranks[name].role == "service"])
        launches = [engine_launch(self.deployment, rank, self._newest_run(rank)) for rank in ranks]
        joined = self._partial_starts(names)
        stages = [*before]
        stages += self._launch_stages([each for each in launches if each.rank.group in joined], "rest: ", joined)
        stages += self._launch_stages([each for each in launches if each.rank.group not in joined], "")
        for group in dict.fromkeys(rank.group for rank in ranks):
            mine = [launch for launch in launches if launch.rank.group == group]
            others = joined[group].keys if group in joined else ()
            step = _awaiting(group, f"wait until all of {group} is ready", mine, others)
            if len(stages) > len(before) and stages[-1].steps[0].act == "wait-ready":
                stages[-1] = Stage(stages[-1].title, (*stages[-1].steps, step))
            else:
                stages.append(Stage("wait until ready", (step,)))
        for proxy in (self.ranks[name] for name in names if self.ranks[name].role == "proxy"):
            last = [engine_launch(self.deployment, proxy, self._newest_run(proxy))]
            stages += self._launch_stages(last, "proxy ")
            step = _awaiting("proxy", "wait until the proxy answers", last)
            stages.append(Stage("wait until the proxy is ready", (step,), "proxy"))
        join = proxy_routing.join_stage(self.deployment, self.snapshot, names)
        return [*stages, join] if join else stages

    def _service_stages(self, services: Sequence[Rank]) -> list[Stage]:
        """The stages that start services, before the engines that connect to them."""
        launches = [engine_launch(self.deployment, rank, self._newest_run(rank)) for rank in services]
        steps = tuple(_awaiting(each.rank.id, f"wait until {each.rank.id} is ready", [each]) for each in launches)
        return (
            [*self._launch_stages(launches, "services "), Stage("wait until services are ready", steps)]
            if steps
            else []
        )

    def _partial_starts(self, to_start: Sequence[str]) -> dict[str, PartialStart]:
        alive = [name for name in self.ranks if self.running(name)]
        return partial_start(self.deployment, self.snapshot, self.ranks, to_start, alive)

    def _launch_stages(
        self, launches: Sequence[EngineLaunch], label: str, joined: Mapping[str, PartialStart] | None = None
    ) -> list[Stage]:
        """Check, prepare and launch. A labelled launch has no preflight: the proxy needs none, the rest of a group passed it."""
        if not launches:
            return []
        checks, prepares, starts = [], [], []
        for node in dict.fromkeys(launch.rank.node for launch in launches):
            mine = tuple(launch for launch in launches if launch.rank.node == node)
            ids = tuple(launch.rank.id for launch in mine)
            preflight = not label and self.deployment.node(node).hardware.devices > 0
            title = f"{node}: reachable, idle, ports free" + (", preflight" if preflight else "")
            limits = [half.until for each in mine if (half := (joined or {}).get(each.rank.group)) and half.until]
            work = EngineLaunches(mine, preflight, min(limits, default=None))
            checks.append(Step(f"check:{label}{node}", "check", title, node, ids, work))
            prepares.append(Step(f"prepare:{label}{node}", "prepare", f"{node}: write {_count(ids)}", node, ids, work))
            starts.append(Step(f"launch:{label}{node}", "launch", f"{node}: start {name_ranges(ids)}", node, ids, work))
        return [
            Stage(f"{label}check", tuple(checks)),
            Stage(f"{label}prepare", tuple(prepares)),
            Stage(f"{label}launch", tuple(starts)),
        ]

    def _stop_stages(self, names: Sequence[str], act: Act) -> list[Stage]:
        leave = (
            proxy_routing.drain_stage(self.deployment, self.snapshot, names, self.drain_s) if act == "stop" else None
        )
        stages: list[Stage] = [leave] if leave else []
        by_node: dict[str, list[EngineSnapshot]]
        seen = [engine for name in names if (engine := self._seen(name)) is not None]
        for role in STOP_ORDER:
            mine = [engine for engine in seen if engine.role == role]
            by_node = {}
            for engine in mine:
                by_node.setdefault(engine.node, []).append(engine)
            steps = tuple(self._stop_step(act, role, node, engines) for node, engines in by_node.items())
            if steps:
                title = f"kill {role}" if act == "kill" else f"stop {role}"
                stages.append(Stage(title, steps, role))
        by_node = {}
        for engine in seen:
            by_node.setdefault(engine.node, []).append(engine)
        if by_node:
            title = "{}: ports closed, devices idle"
            steps = tuple(
                self._engine_step("verify", f"verify:{node}", title.format(node), node, mine)
                for node, mine in by_node.items()
            )
            stages.append(Stage("verify", steps))
        return stages

    def _stop_step(self, act: Act, role: str, node: str, engines: Sequence[EngineSnapshot]) -> Step:
        title = f"{node}: {act} {name_ranges([engine.id for engine in engines])}"
        return self._engine_step(act, f"{act}:{role}:{node}", title, node, engines)

    def _engine_step(self, act: Act, name: str, title: str, node: str, engines: Sequence[EngineSnapshot]) -> Step:
        work = engine_stops(self.deployment, self.ranks, act, engines)
        return Step(name, act, title, node, tuple(engine.id for engine in engines), work)

    def confirm(self, verb: Verb, touched: Sequence[str], stopping: Sequence[str]) -> Confirm:
        """What the operator must do, by possible damage; a start of engines that do not run destroys nothing.

        The cluster's name for the worst, the number of engines where requests may be aborted or more than one node goes
        down, otherwise one key.
        """
        if not stopping:
            return Confirm("name", self.deployment.cluster.name) if verb == "kill" else Confirm("key", "y")
        production = "production" in self.deployment.cluster.tags
        running = [name for name, engine in self.snapshot.engines.items() if engine.state.alive and self.running(name)]
        everything = len(stopping) > 1 and len(stopping) >= len(running)
        if verb == "kill" or production or everything:
            return Confirm("name", self.deployment.cluster.name)
        seen = [engine for name in stopping if (engine := self._seen(name)) is not None]
        if any(not still_loading(each) for each in seen) or len({each.node for each in seen}) > 1:
            return Confirm("count", str(engine_count(touched)))
        return Confirm("key", "y")

    def _findings(self, verb: Verb, to_start: Sequence[str]) -> Iterable[Finding]:
        if not to_start:
            return
        yield from check(self.deployment)
        if not self.deployment.complete():
            short = [
                f"{name} has {len(self.deployment.assignment.of(name))} of {group.nodes} nodes"
                for name, group in self.deployment.layout.groups.items()
                if len(self.deployment.assignment.of(name)) != group.nodes
            ]
            yield Finding(
                "ASSIGN", Severity.ERROR, "; ".join(short), "assignment", fix="assign all nodes of every group"
            )
        yield from release_findings(self.deployment, self.snapshot, to_start)
        yield from previous_run_findings(self.snapshot, self.ranks, to_start)
        yield from self._part_findings(verb, to_start)
        serving = [name for name in to_start if (seen := self._seen(name)) and seen.state in proxy_routing.SERVING]
        if verb == "restart" and serving and proxy_routing.join_stage(self.deployment, self.snapshot, to_start):
            yield proxy_routing.idle_moment_finding()
        engines = [name for name in to_start if self.ranks[name].role not in BESIDE_ENGINES]
        missing = [rank.id for rank in self.ranks.values() if rank.role == "service" and not self.running(rank.id)]
        for name in missing if engines else ():
            if name not in to_start:
                message = f"{name} is not running; {engine_words(engines)} would start without it"
                yield Finding(
                    "SERVICE", Severity.WARNING, message, name, fix=f"start {name} first, or everything at once"
                )
        for group in dict.fromkeys(self.ranks[name].group for name in engines):
            restart = self.deployment.layout.groups[group].restart
            if restart.policy != "never":
                times = f"at most {restart.budget} times in {exact(restart.within)}"
                message = f"{group} is restarted when one of its ranks fails, {times}, while a console with write access is open"
                fix = "R on the screen pauses this; `dsv4-console auto-restart` restarts groups without a screen"
                yield Finding("RESTART", Severity.NOTE, message, group, fix=fix)
                yield from _slow_start_findings(self.snapshot, group, restart)
        for half in self._partial_starts(to_start).values() if verb == "start" else ():
            yield half.finding(self.snapshot.at)

    def _part_findings(self, verb: Verb, to_start: Sequence[str]) -> Iterable[Finding]:
        """A start of some engines leaves the others down; without them the deployment may answer no request."""
        down = [name for name in self.ranks if name not in to_start and not self.running(name)]
        if verb == "start" and down:
            groups = ", ".join(dict.fromkeys(self.ranks[name].group for name in down))
            message = f"{len(down)} more of {self.deployment.name} stay down ({groups})"
            fix = "to start the whole deployment: * in the grid marks every row, then s; on the command line: start without names"
            yield Finding(PART, Severity.NOTE, message, self.deployment.name, fix=fix)


def _slow_start_findings(snapshot: ClusterSnapshot, group: str, restart: Restart) -> Iterable[Finding]:
    """A warning when starts take so long that the restart budget never runs out within its time."""
    usual = snapshot.usual.get(group)
    if usual is not None and restart.budget * usual.seconds + restart.wait_s(restart.budget) >= restart.within:
        message = f"{restart.budget} starts of {about(usual.seconds)} do not fit in {exact(restart.within)}"
        why = f"{group} would be restarted without end if each start failed late"
        fix = "give restart.within more time, or restart.budget a smaller number"
        yield Finding("RESTART", Severity.WARNING, f"{message}: {why}", group, fix=fix)


def without_waiting(plan: Plan) -> Plan:
    """The plan without the first wait for readiness and all later stages; a finding lists what is left out."""
    at = next((at for at, stage in enumerate(plan.stages) if stage.steps[0].act == "wait-ready"), None)
    if at is None:
        return plan
    kept, left = plan.stages[:at], [step for stage in plan.stages[at:] for step in stage.steps]
    mine = {name for stage in kept for step in stage.steps for name in step.engines}
    later = tuple(name for name in plan.engines if name not in mine)
    engines = tuple(name for name in plan.engines if name in mine)
    message = "does not wait until the engines are ready" + (f"; does not start {', '.join(later)}" if later else "")
    joins = "; then sync-proxy, to add them to the proxy" if any(step.act == "join" for step in left) else ""
    fix = f"once they are ready: {plan.verb} {' '.join(later)}" if later else f"see their progress: status{joins}"
    confirm = (
        replace(plan.confirm, expected=str(engine_count(engines))) if plan.confirm.kind == "count" else plan.confirm
    )
    finding = Finding("NOWAIT", Severity.NOTE, message, plan.deployment, fix=fix)
    return replace(plan, stages=kept, engines=engines, confirm=confirm, findings=(*plan.findings, finding))


def _awaiting(group: str, title: str, launches: Sequence[EngineLaunch], others: Sequence[RunKey] = ()) -> Step:
    """The step that waits for these runs, and for the runs that they join (`others`)."""
    keys = (*others, *(launch.key for launch in launches))
    ids, awaited = tuple(key.engine for key in keys), RunsAwaited(group, keys)
    return Step(f"ready:{group}", "wait-ready", title, launches[0].rank.node, ids, awaited)


def _count(ids: Sequence[str]) -> str:
    return f"{len(ids)} run {'directory' if len(ids) == 1 else 'directories'}"
