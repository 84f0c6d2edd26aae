"""Builds plans: which engines an act takes in, in which stages, with which exact commands. Runs nothing.

Ranks of a data-parallel group start and fail as one, so an act on one of them takes in its whole group.
Start order: groups side by side, the proxy when they are ready. Stop order: proxy, decode, the rest. A proxy that goes on
serving is told first who leaves and last who came back.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence

from console.commands.bundle import rank_command
from console.commands.container import engine_container_text
from console.commands.masking import masked_argv, masked_env
from console.commands.quoting import quote
from console.model.deployment import Command, Deployment, Rank
from console.model.errors import UsageError
from console.model.findings import Finding, Severity
from console.model.pace import about
from console.model.plan import Act, Confirm, Plan, Stage, Step, Verb
from console.model.restart import Restart, span
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.probes.engine_log import Phase
from console.rules import check
from console.services.monitoring.cadences import GRACE_S
from console.services.operations import routing
from console.services.operations.beforehand import of_earlier, of_unreached

DRAIN_S = 120.0
"""How long requests may go on by default after their engine was taken out of the proxy."""
STOP_ORDER = ("proxy", "decode", "mixed", "prefill")


def new_run_id(clock: float | None = None) -> str:
    """A run id that sorts by time: UTC to the second, then four random characters."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock)) + "-" + secrets.token_hex(2)


def command_text(command: Command) -> str:
    """The command as a person would type it: variables, then words; secrets masked, one line."""
    env = " ".join(f"{name}={quote(value)}" for name, value in masked_env(command.env).items())
    words = " ".join(quote(word) for word in masked_argv(command.argv))
    return f"{env} {words}" if env else words


class PlanMaker:
    """Makes the plans of one deployment from one picture of it."""

    def __init__(self, deployment: Deployment, snapshot: ClusterSnapshot, *, drain_s: float = DRAIN_S) -> None:
        self.deployment = deployment
        self.snapshot = snapshot
        self.drain_s = drain_s
        proxy = deployment.proxy_rank()
        self.ranks: dict[str, Rank] = {rank.id: rank for rank in deployment.ranks()}
        if proxy:
            self.ranks[proxy.id] = proxy

    def make(self, verb: Verb, engines: Sequence[str]) -> Plan:
        """The plan of a verb on these engines, all when none is named. Raises UsageError for a name nobody has."""
        return self.plan(verb, self.chosen(verb, engines))

    def plan(self, verb: Verb, chosen: Sequence[str]) -> Plan:
        """The plan of a verb on exactly these engines."""
        starts = verb in ("start", "restart")
        stopping = [name for name in chosen if self.running(name)] if verb != "start" else []
        stages: list[Stage] = []
        if verb == "force":
            stages += self._stop_stages(stopping, "force")
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
                *of_unreached(self.snapshot, verb, chosen),
                *self._findings(verb, to_start if starts else []),
            ),
            losses=tuple(self._losses(verb, stopping)),
            basis={name: self._run(name) for name in touched},
            runs={name: new_run_id() for name in to_start} if starts else {},
            drain_s=self.drain_s,
        )

    def chosen(self, verb: Verb, engines: Sequence[str]) -> list[str]:
        """The engines a verb on these takes in, all when none is named. Raises UsageError for a name nobody has.

        Those of another deployment on these nodes only by their own name, never because none was named.
        """
        ours = [name for name in self.snapshot.engines if "/" not in name]
        every = ours if verb in ("stop", "force") else list(self.ranks)
        if not engines:
            return every
        groups = self.deployment.layout.groups
        engines = [
            each
            for name in engines
            for each in ([rank.id for rank in self.ranks.values() if rank.group == name] if name in groups else [name])
        ]
        for name in engines:
            if name not in self.ranks and name not in self.snapshot.engines:
                known = ", ".join(list(self.ranks)[:6])
                raise UsageError(f"no engine {name!r} in this deployment", hint=f"engines are named {known} …")
        if verb == "force":
            return list(engines)
        chosen = {self._group(name) for name in engines}
        return [name for name in dict.fromkeys([*every, *engines]) if self._group(name) in chosen]

    def _group(self, name: str) -> str:
        if name in self.ranks:
            return self.ranks[name].group
        seen = self.snapshot.engines.get(name)
        return f"{name}" if seen is None else seen.group or name

    def _seen(self, name: str) -> EngineSnapshot | None:
        return self.snapshot.engines.get(name)

    def _run(self, name: str) -> str | None:
        seen = self._seen(name)
        return seen.run if seen else None

    def running(self, name: str) -> bool:
        """Whether the engine runs, or may run as far as is known: unreachable counts when it ran before."""
        seen = self._seen(name)
        if seen is None:
            return False
        state = seen.stale_of if seen.state is EngineState.UNREACHABLE else seen.state
        return state is not None and state.alive and state is not EngineState.UNREACHABLE

    def _start_stages(self, names: Sequence[str]) -> list[Stage]:
        ranks = [self.ranks[name] for name in names if self.ranks[name].role != "proxy"]
        stages = self._launch_stages(ranks, "")
        for group in dict.fromkeys(rank.group for rank in ranks):
            members = tuple(rank.id for rank in ranks if rank.group == group)
            node = next(rank.node for rank in ranks if rank.group == group)
            took = f"; {group}: {self.snapshot.usual[group].words()}" if group in self.snapshot.usual else ""
            step = Step(f"ready:{group}", "wait-ready", f"wait until all of {group} is ready", node, members)
            if stages and stages[-1].steps[0].act == "wait-ready":
                stages[-1] = Stage(stages[-1].title + took, (*stages[-1].steps, step))
            else:
                stages.append(Stage("wait until ready" + took, (step,)))
        proxies = [self.ranks[name] for name in names if self.ranks[name].role == "proxy"]
        if proxies:
            stages += self._launch_stages(proxies, "proxy ")
            step = Step("ready:proxy", "wait-ready", "wait until the proxy answers", proxies[0].node, (proxies[0].id,))
            stages.append(Stage("wait until the proxy is ready", (step,), "proxy"))
        join = routing.joining(self.deployment, self.snapshot, names)
        return [*stages, join] if join else stages

    def _launch_stages(self, ranks: Sequence[Rank], label: str) -> list[Stage]:
        if not ranks:
            return []
        by_node = _by_node(ranks)
        checks, prepares, launches = [], [], []
        for node, mine in by_node.items():
            ids = tuple(rank.id for rank in mine)
            ports = tuple(str(rank.port) for rank in mine if rank.port is not None)
            look = ["cat /proc/net/tcp /proc/net/tcp6   # nothing may listen on " + ", ".join(ports)] if ports else []
            title = f"{node}: reachable, idle, ports free"
            if not label and self.deployment.node(node).hardware.devices:
                look.append(f"dsv4-console check {node}   # what can stop a launch: devices, HBM, versions, weights")
                title += ", preflight"
            checks.append(Step(f"check:{label}{node}", "check", title, node, ids, tuple(look)))
            commands = tuple(self._command(rank) for rank in mine)
            prepares.append(Step(f"prepare:{label}{node}", "prepare", f"{node}: write {_count(ids)}", node, ids))
            launches.append(
                Step(f"launch:{label}{node}", "launch", f"{node}: start {_names(ids)}", node, ids, commands)
            )
        return [
            Stage(f"{label}check", tuple(checks)),
            Stage(f"{label}prepare", tuple(prepares)),
            Stage(f"{label}launch", tuple(launches)),
        ]

    def _command(self, rank: Rank) -> str:
        """The engine's command, below that of its own container where it has one."""
        text = command_text(rank_command(self.deployment, rank))
        box = engine_container_text(self.deployment, rank)
        return f"{box} \\\n  {text}" if box else text

    def _stop_stages(self, names: Sequence[str], act: Act) -> list[Stage]:
        leave = routing.leaving(self.deployment, self.snapshot, names, self.drain_s) if act == "stop" else None
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
                title = f"force {role}" if act == "force" else f"stop {role}"
                stages.append(Stage(title, steps, role))
        by_node = {}
        for engine in seen:
            by_node.setdefault(engine.node, []).append(engine)
        if by_node:
            stages.append(Stage("verify", tuple(self._verify_step(node, mine) for node, mine in by_node.items())))
        return stages

    def _verify_step(self, node: str, engines: Sequence[EngineSnapshot]) -> Step:
        ids = tuple(engine.id for engine in engines)
        look = (
            "cat /proc/net/tcp /proc/net/tcp6",
            *(["npu-smi info"] if self.deployment.node(node).hardware.devices else []),
        )
        return Step(f"verify:{node}", "verify", f"{node}: ports closed, devices idle", node, ids, look)

    def _stop_step(self, act: Act, role: str, node: str, engines: Sequence[EngineSnapshot]) -> Step:
        ids = tuple(engine.id for engine in engines)
        how = (
            "kill -KILL every process that carries the run's cookie"
            if act == "force"
            else f"kill -TERM {{pid}}; after {GRACE_S:.0f} s kill -KILL what carries the run's cookie"
        )
        commands = tuple(
            f"{engine.id}: " + how.replace("{pid}", str(engine.pid or "its main process")) for engine in engines
        )
        return Step(f"{act}:{role}:{node}", act, f"{node}: {act} {_names(ids)}", node, ids, commands)

    def confirm(self, verb: Verb, touched: Sequence[str], stopping: Sequence[str]) -> Confirm:
        """What to type, by how much can break: the cluster's name for the worst, a count for several, a key for one."""
        production = "production" in self.deployment.cluster.tags
        running = [name for name, engine in self.snapshot.engines.items() if engine.state.alive and self.running(name)]
        everything = len(stopping) > 1 and len(stopping) >= len(running)
        if verb == "force" or production or everything:
            return Confirm("name", self.deployment.cluster.name)
        nodes = {self.ranks[name].node for name in touched if name in self.ranks}
        if len(nodes) > 1 or len(touched) > 1 or stopping:
            return Confirm("count", str(len(touched)))
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
            yield Finding("ASSIGN", Severity.ERROR, "; ".join(short), "assignment", fix="give every group its nodes")
        yield from of_earlier(self.snapshot, self.ranks, to_start)
        yield from self._left_out(verb, to_start)
        serving = [name for name in to_start if (seen := self._seen(name)) and seen.state in routing.SERVING]
        if verb == "restart" and serving and routing.joining(self.deployment, self.snapshot, to_start):
            yield routing.quiet()
        for group in dict.fromkeys(self.ranks[name].group for name in to_start if self.ranks[name].role != "proxy"):
            restart = self.deployment.layout.groups[group].restart
            if restart.policy != "never":
                times = f"at most {restart.budget} times in {span(restart.within)}"
                message = (
                    f"{group} is started again when a rank of it fails, {times}, while a console is open that may act"
                )
                fix = "R on the screen holds that; `dsv4-console guard` does it without a screen"
                yield Finding("RESTART", Severity.NOTE, message, group, fix=fix)
                yield from self._slow(group, restart)
        if verb == "start":
            running = [name for name in self.ranks if self.running(name)]
            groups = {self.ranks[name].group for name in to_start}
            for name in running:
                if self.ranks[name].group in groups:
                    message = f"{name} already runs; the new ranks of its group will not join it"
                    fix = "restart the group instead"
                    yield Finding("GROUP", Severity.ERROR, message, name, fix=fix)

    def _left_out(self, verb: Verb, to_start: Sequence[str]) -> Iterable[Finding]:
        """A part of a deployment answers nobody; who starts one should know that the rest stays down."""
        down = [name for name in self.ranks if name not in to_start and not self.running(name)]
        if verb == "start" and down:
            groups = ", ".join(dict.fromkeys(self.ranks[name].group for name in down))
            message = f"{len(down)} more of {self.deployment.name} stay down ({groups})"
            fix = "the whole deployment: * in the grid marks every row, then s; without the screen, start without names"
            yield Finding("PART", Severity.NOTE, message, self.deployment.name, fix=fix)

    def _slow(self, group: str, restart: Restart) -> Iterable[Finding]:
        """A budget that starts of this length cannot spend would never end restarts that fail late."""
        usual = self.snapshot.usual.get(group)
        if usual is not None and restart.budget * usual.seconds + restart.wait_s(restart.budget) >= restart.within:
            message = f"{restart.budget} starts of {about(usual.seconds)} do not fit in {span(restart.within)}"
            why = f"{group} would be restarted for ever if each start failed at its end"
            fix = "give restart.within more time, or restart.budget a smaller number"
            yield Finding("RESTART", Severity.WARNING, f"{message}: {why}", group, fix=fix)

    def _losses(self, verb: Verb, stopping: Sequence[str]) -> Iterable[str]:
        for role in routing.alone(self.deployment, self.snapshot, stopping):
            yield f"no {role} engine is left behind the proxy: every request fails until one is back"
        leave = routing.leaving(self.deployment, self.snapshot, stopping, self.drain_s) if verb != "force" else None
        drained = {name for step in (leave.steps if leave else ()) for name in step.engines}
        alike: dict[str, list[str]] = {}
        for name in stopping:
            seen = self._seen(name)
            if name in drained:
                after = f"{self.drain_s:.0f} s after leaving the proxy are cut"
                alike.setdefault(f"serving; requests that have not ended {after}", []).append(name)
            elif seen is not None and _loads(seen):
                phase = seen.phase or "phase unknown"
                alike.setdefault(f"starting ({phase}); what is loaded is lost", []).append(name)
            elif seen is not None and (seen.state in routing.SERVING or seen.phase == Phase.SERVING):
                alike.setdefault("serving; requests there are aborted", []).append(name)
        for words, names in alike.items():
            for group in _by_stem(names):
                yield f"{_names(group)}: {words}"
        if verb == "force":
            yield from self._left_behind(stopping)

    def _left_behind(self, stopping: Sequence[str]) -> Iterable[str]:
        """Force takes only what was named; the ranks it leaves cannot serve without the one that is gone."""
        for group in dict.fromkeys(self._group(name) for name in stopping):
            rest = [
                name
                for name, seen in self.snapshot.engines.items()
                if self._group(name) == group and name not in stopping and seen.state in routing.SERVING
            ]
            if rest and group in self.deployment.layout.groups:
                word = "rank serves" if len(rest) == 1 else "ranks serve"
                yield f"{group}: its other {len(rest)} {word} nothing without it; restart {group} after"


def _loads(engine: EngineSnapshot) -> bool:
    """Whether it has not served yet: it starts, or was condemned by a peer before its own start was over."""
    if engine.state is EngineState.STARTING:
        return engine.phase != Phase.SERVING
    before = bool(engine.phase) and Phase(engine.phase).order < Phase.SERVING.order
    return engine.state is EngineState.DEGRADED and before and not engine.headless


def _by_node(ranks: Sequence[Rank]) -> Mapping[str, list[Rank]]:
    found: dict[str, list[Rank]] = {}
    for rank in ranks:
        found.setdefault(rank.node, []).append(rank)
    return found


def _by_stem(names: Sequence[str]) -> list[list[str]]:
    """Engines of one kind together, so that a row of ranks has a short name."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.rpartition("-")[0] or name, []).append(name)
    return list(found.values())


def _count(ids: Sequence[str]) -> str:
    return f"{len(ids)} run {'directory' if len(ids) == 1 else 'directories'}"


def _names(ids: Sequence[str]) -> str:
    """`decode-0…7` for a row of ranks, else the names, the long rest counted."""
    if len(ids) > 2:
        stem, _, first = ids[0].rpartition("-")
        last_stem, _, last = ids[-1].rpartition("-")
        if stem == last_stem and first.isdigit() and last.isdigit() and int(last) - int(first) + 1 == len(ids):
            return f"{stem}-{first}..{last}"
    shown = ", ".join(ids[:4])
    return shown + (f" +{len(ids) - 4} more" if len(ids) > 4 else "")
