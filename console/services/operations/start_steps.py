"""The steps of a start: look that the ground is free, write all runs, launch all at once, wait until ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from console.model.errors import ConsoleError, LinkLost, NodeError, Unreachable
from console.model.payload import EngineLaunch, EngineLaunches, RunsAwaited
from console.model.plan import Step
from console.model.run import RunState
from console.model.snapshot import Diagnosis, EngineSnapshot, EngineState, EventLevel, LinkState
from console.model.start_timing import StartProgress, lasting, skew_of
from console.probes.checks_weights import SHARED_TYPES
from console.services.monitoring.stall_detection import slowest
from console.services.operations.port_holders import held
from console.services.operations.step_context import Say, StepContext
from console.services.operations.step_text import run_data

READY_LIMIT_S = 3600.0
"""How long a start may take before the console stops waiting; the engines are left alone (vllm-ascend's CI waits as long)."""
EXPLAIN_S = 5.0
"""How long the end of an engine waits for the rest of its log, which usually says why."""
DIAGNOSE_S = 2.0
"""How long after that a known failure is waited for; the matcher reads once a second."""
LAME_S = 60.0
"""How long those that answer, but not as they should, may hold up a start: what they lack does not come by waiting."""
PORT_TAKEN = "A11"
"""The signature of Errno 98."""
_BROKEN = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)


class StartSteps:
    """Does the steps of one plan that bring engines up."""

    def __init__(self, scope: StepContext) -> None:
        self._scope = scope
        self._launched: dict[str, float] = {}

    async def check(self, step: Step, say: Say) -> str:
        """The node answers, nothing of it runs yet, nobody listens on its ports, and its preflight stops nothing."""
        link = self._scope.link(step)
        if link.link.state is not LinkState.UP:
            raise Unreachable(
                f"{step.node} is not connected: {link.link.reason or link.link.state}", hint=link.link.hint
            )
        busy = [engine for engine in step.engines if self._scope.runs_now(engine) and self._scope.plan.verb == "start"]
        if busy:
            raise ConsoleError(f"{', '.join(busy)} already runs", hint="stop it first")
        ranks = [launch.rank for launch in step.launches]
        ports = {rank.port: rank for rank in ranks if rank.port is not None}
        if not ports:
            return await self._preflight(step, say, "idle")
        monitor = self._scope.monitor
        words, hint = await held(link, monitor.nodes[step.node], monitor.deployment.name, ports)
        if words:
            raise ConsoleError(f"{step.node}: {words}", hint=hint)
        return await self._preflight(step, say, f"idle, {len(ports)} port{'' if len(ports) == 1 else 's'} free")

    async def _preflight(self, step: Step, say: Say, seen: str) -> str:
        """Where the step asks for it: the proxy starts when engines run already."""
        if self._scope.gate is None or not isinstance(step.payload, EngineLaunches) or not step.payload.preflight:
            return seen
        say(f"{seen}; preflight, up to a few minutes")
        asking = asyncio.ensure_future(self._scope.gate.ask(step.node))
        stopping = asyncio.ensure_future(self._scope.cancelled.wait())
        try:
            await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and (asking.cancelled() or not asking.done()):
                self._scope.gate.drop()
                return "not waited for any longer; nothing was started"
            found = asking.result()
        finally:
            asking.cancel()
            stopping.cancel()
        return f"{seen}; {found}" if found else seen

    async def prepare(self, step: Step, say: Say) -> str:
        """Write every run directory of the node; nothing is started."""
        link = self._scope.link(step)
        answers = await asyncio.gather(
            *(
                link.prepare(
                    launch.key,
                    self._spec(launch),
                    launch.script,
                    launch.expected,
                    container=launch.container.spec() if launch.container else None,
                )
                for launch in step.launches
            ),
            return_exceptions=True,
        )
        kinds = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            kinds.append(answer)
        return f"{len(step.launches)} written{self._shared(step, kinds)}"

    def _shared(self, step: Step, kinds: Sequence[str]) -> str:
        """Words on a base directory that several nodes may see: each would list and judge the runs of the others."""
        kind = next((each for each in kinds if each in SHARED_TYPES), "")
        if not kind:
            return ""
        base = self._scope.monitor.deployment.node(step.node).base
        text = f"{base} is on a network file system ({kind}): give every node a `base` of its own, on a local disk if it can be"
        self._scope.monitor.note(EventLevel.WARNING, text, node=step.node)
        return f"; {text}"

    def _spec(self, launch: EngineLaunch) -> dict[str, object]:
        return {
            "cluster": self._scope.plan.cluster,
            **run_data(launch),
            "by": self._scope.who,
            **({"restarts": list(self._scope.plan.restarts)} if self._scope.plan.restarts else {}),
        }

    async def launch(self, step: Step, say: Say) -> str:
        """Start what was written, all of the node at once."""
        link = self._scope.link(step)
        join_by = step.payload.join_by if isinstance(step.payload, EngineLaunches) else None
        if join_by is not None and time.time() >= join_by:
            hint = "restart the group; what waited for them ends by itself"
            raise ConsoleError("the ranks that were started first no longer wait for these", hint=hint)
        done = await asyncio.gather(*(link.commit(launch.key) for launch in step.launches), return_exceptions=True)
        offset = self._scope.monitor.nodes[step.node].clock_offset_s or 0.0
        failed: list[str] = []
        lost: LinkLost | None = None
        for launch, answer in zip(step.launches, done, strict=True):
            engine = launch.rank.id
            if isinstance(answer, RunState):
                self._launched[engine] = (answer.started_at or time.time()) - offset
            elif isinstance(answer, LinkLost):
                lost = answer
            elif isinstance(answer, ConsoleError):
                failed.append(f"{engine}: {answer}")
            else:
                raise answer
        if failed:
            hint = "ranks that did start wait for the others: stop their group, fix the cause, start it again"
            raise NodeError("; ".join(failed), kind="refused", node=step.node, hint=hint)
        if lost is not None:
            raise lost
        return f"{len(step.launches)} started{self._skew(step)}"

    def _skew(self, step: Step) -> str:
        """How far apart the ranks of each group of this step were started so far, clocks of the nodes compared."""
        told = ""
        of = {launch.rank.id: launch for launch in self._scope.plan.launches}
        for group in dict.fromkeys(launch.rank.group for launch in step.launches):
            times = {engine: at for engine, at in self._launched.items() if of[engine].rank.group == group}
            env = next(launch.command.env for launch in step.launches if launch.rank.group == group)
            skew = skew_of(group, times, env)
            if skew is not None:
                told += f"; start skew of {group} {skew.seconds:.1f} s" + (f", {skew.words()}" if skew.late else "")
                told += "" if skew.late else f" of the {skew.limit_s:.0f} s it may be"
        return told

    async def wait_ready(self, step: Step, say: Say) -> str:
        """Until every engine of the step is ready, one has failed, or the operator stops waiting."""
        awaited = step.payload
        if not isinstance(awaited, RunsAwaited):
            raise ConsoleError("the plan names no run to wait for")
        began = lame_since = time.monotonic()
        told: object = None
        while time.monotonic() - began < READY_LIMIT_S:
            if self._scope.cancelled.is_set():
                return "not waited for any longer; this plan leaves the engines as they are"
            mine = self._mine(awaited)
            if (end := _ended(mine, ())) is not None:
                await self._scope.until(lambda: _explained(self._mine(awaited)), EXPLAIN_S)
                await self._scope.until(lambda: _why(self._mine(awaited), self._diagnoses) is not None, DIAGNOSE_S)
                raise await self._with_holder(_ended(self._mine(awaited), self._diagnoses) or end, awaited)
            ready = sum(each.state is EngineState.READY for each in mine)
            if ready == len(step.engines):
                return f"{ready} ready after {time.monotonic() - began:.0f} s"
            lame = _lame(mine, self._diagnoses) if len(mine) == len(step.engines) else None
            lame_since = lame_since if lame else time.monotonic()
            if lame and time.monotonic() - lame_since >= LAME_S:
                raise lame
            pace = self._scope.monitor.paces.get(awaited.group)
            news, text = waiting_words(step, mine, pace, time.monotonic() - began)
            if known := start_trouble(mine, self._diagnoses):
                news, text = (news, known), f"{text}; {known}"
            if news != told:
                say(text)
                told = news
            await self._scope.next_picture()
        raise ConsoleError(
            f"not ready after {READY_LIMIT_S:.0f} s; the engines are left running", hint="read their logs"
        )

    async def _with_holder(self, end: ConsoleError, awaited: RunsAwaited) -> ConsoleError:
        """The same with who holds the port that was taken from an engine after it was seen to be free."""
        why = _why(self._mine(awaited), self._diagnoses)
        of = {launch.rank.id: launch.rank for launch in self._scope.plan.launches}
        rank = of.get(why.engine) if why is not None and why.signature == PORT_TAKEN else None
        if rank is None or rank.port is None:
            return end
        monitor = self._scope.monitor
        try:
            link = self._scope.link_to(rank.node)
            words, hint = await held(link, monitor.nodes[rank.node], monitor.deployment.name, {rank.port: rank})
        except ConsoleError:  # it is said without: what took the port may be gone, the failure is not
            return end
        return ConsoleError(f"{end}; {words}", hint=hint) if words else end

    @property
    def _diagnoses(self) -> Sequence[Diagnosis]:
        return self._scope.monitor.snapshot.diagnoses

    def _mine(self, awaited: RunsAwaited) -> list[EngineSnapshot]:
        """The engines of these runs as far as the snapshot shows the runs, or what took their place."""
        runs = {key.engine: key.run for key in awaited.keys}
        seen = [self._scope.monitor.snapshot.engines.get(name) for name in runs]
        return [engine for engine in seen if engine is not None and (engine.run or "") >= runs[engine.id]]


def waiting_words(
    step: Step, engines: Sequence[EngineSnapshot], pace: StartProgress | None, since_s: float
) -> tuple[object, str]:
    """How far a start is, for people, and what must differ from the last time for it to be told again: not each percent."""
    ready = sum(each.state is EngineState.READY for each in engines)
    parts = [f"{ready}/{len(step.engines)} ready" + (f" after {lasting(since_s, 10)}" if since_s >= 10.0 else "")]
    starting = [each for each in engines if each.state is EngineState.STARTING]
    last = slowest(starting) if starting else None
    if last is not None and last.phase:
        share = "" if last.progress is None else f" {last.progress:.0%}"
        parts.append(f"slowest {last.id}{share}" + (f" ({last.held_up})" if last.held_up else ""))
    known = pace is not None and pace.of > 0
    if pace is not None and known:
        parts.append(pace.words())
    return (parts[0], last.held_up if last else "", known), ", ".join(parts)


def start_trouble(engines: Sequence[EngineSnapshot], diagnoses: Sequence[Diagnosis]) -> str:
    """The known failure of an engine that is not ready yet, with its remedy: it may take minutes to end, or never end.

    Of one that still starts only what prevents a start counts; without a known failure what is wrong with one that serves.
    """
    starting = {each.id for each in engines if each.state is EngineState.STARTING}
    lame = {each.id: each for each in engines if each.state is EngineState.DEGRADED}
    found = [
        each
        for each in diagnoses
        if (each.engine in starting and each.severity == "fatal") or (each.engine in lame and each.severity != "advice")
    ]
    first = min(found, key=lambda each: (not each.first, each.at), default=None)
    if first is None:
        return next((f"{each.id} {each.state}: {each.cause}" for each in lame.values()), "")
    where = f" ({first.where})" if first.where else ""
    return f"{first.engine} {first.signature} {first.title}: {first.text}; {first.remedy}{where}"


def _lame(engines: Sequence[EngineSnapshot], diagnoses: Sequence[Diagnosis]) -> ConsoleError | None:
    """Why all that are not ready will not be: they answer, but not as they should; None while one may still come."""
    late = [each for each in engines if each.state is not EngineState.READY]
    if not late or any(each.state is not EngineState.DEGRADED for each in late):
        return None
    why = next((each for each in diagnoses if each.engine == late[0].id and each.severity != "advice"), None)
    known = f"{why.signature} {why.title}: {why.remedy} " if why else ""
    text = f"{late[0].id} on {late[0].node} degraded: {late[0].cause}"
    return ConsoleError(text, hint=f"{known}The engines are left running; see logs {late[0].id}")


def _explained(engines: Sequence[EngineSnapshot]) -> bool:
    """Whether the logs of those that ended have been read to their end."""
    return all(engine.log_read for engine in engines if engine.state in _BROKEN)


def _why(engines: Sequence[EngineSnapshot], diagnoses: Sequence[Diagnosis]) -> Diagnosis | None:
    """The known failure of those of these that ended: the first cause, else the earliest."""
    ended = {engine.id for engine in engines if engine.state in _BROKEN}
    mine = [each for each in diagnoses if each.engine in ended and each.severity == "fatal"]
    return min(mine, key=lambda each: (not each.first, each.at), default=None)


def _ended(engines: Sequence[EngineSnapshot], diagnoses: Sequence[Diagnosis]) -> ConsoleError | None:
    """Why waiting for these is of no use any more, by the one that broke first, else the first that ended; None while it is."""
    why = _why(engines, diagnoses)
    for engine in sorted(engines, key=lambda each: why is None or each.id != why.engine):
        if engine.state in _BROKEN:
            text = f"{engine.id} on {engine.node} {engine.state}: {engine.cause}"
            known = f"{why.signature} {why.title}: {why.remedy} " if why and why.engine == engine.id else ""
            where = f"{why.where}; " if why and known and why.where else ""
            return ConsoleError(text, hint=f"{known}{'See' if known else 'see'} {where}logs {engine.id}")
        if engine.state is EngineState.EXITED:
            who = f" {engine.asked.who()}" if engine.asked else ""
            text = f"{engine.id} on {engine.node} was stopped meanwhile{who}"
            return ConsoleError(text, hint="somebody else is at work")
    return None
