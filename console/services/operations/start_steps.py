"""The steps of a start: check nodes and ports, write all runs, launch all runs, wait until the engines are ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from console.model.counting import counted
from console.model.durations import stepped
from console.model.errors import ConsoleError, LinkLost, NodeError, Unreachable
from console.model.payload import EngineLaunch, EngineLaunches, RunsAwaited
from console.model.plan import Step
from console.model.run import RunState
from console.model.snapshot import Diagnosis, EngineSnapshot, EngineState, EventLevel, LinkState
from console.model.start_timing import StartProgress, skew_of
from console.probes.checks_weights import SHARED_TYPES
from console.services.monitoring.stall_detection import slowest
from console.services.operations.port_holders import taken_ports_text
from console.services.operations.step_context import Report, StepContext
from console.services.operations.step_text import run_data

READY_LIMIT_S = 3600.0
"""How long a start may take before the console stops waiting; the engines are left alone (vllm-ascend's CI waits as long)."""
EXPLAIN_S = 5.0
"""How long to wait for the rest of the log of an engine that ended; its end usually has the cause."""
DIAGNOSE_S = 2.0
"""How long to wait for a diagnosis after that; the matcher runs once a second."""
DEGRADED_LIMIT_S = 60.0
"""How long a start waits when all engines that are not ready are degraded; such engines do not recover by waiting."""
PORT_TAKEN = "A11"
"""The signature of Errno 98."""
_BROKEN = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)


class StartSteps:
    """Runs the steps of one plan that start engines."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._launched: dict[str, float] = {}

    async def check(self, step: Step, report: Report) -> str:
        """Check that the node is connected, its engines do not run, its ports are free, and its preflight passes."""
        link = self._context.link(step)
        if link.link.state is not LinkState.UP:
            raise Unreachable(
                f"{step.node} is not connected: {link.link.reason or link.link.state}", hint=link.link.hint
            )
        busy = [
            engine for engine in step.engines if self._context.runs_now(engine) and self._context.plan.verb == "start"
        ]
        if busy:
            raise ConsoleError(f"{', '.join(busy)} already runs", hint="stop it first")
        ranks = [launch.rank for launch in step.launches]
        ports = {rank.port: rank for rank in ranks if rank.port is not None}
        if not ports:
            return await self._preflight(step, report, "idle")
        monitor = self._context.monitor
        words, hint = await taken_ports_text(link, monitor.nodes[step.node], monitor.deployment.name, ports)
        if words:
            raise ConsoleError(f"{step.node}: {words}", hint=hint)
        return await self._preflight(step, report, f"idle, {counted(len(ports), 'port')} free")

    async def _preflight(self, step: Step, report: Report, seen: str) -> str:
        """Run the preflight if the step has one. `seen` is the result so far."""
        if self._context.gate is None or not isinstance(step.payload, EngineLaunches) or not step.payload.preflight:
            return seen
        report(f"{seen}; preflight runs, up to a few minutes")
        asking = asyncio.ensure_future(self._context.gate.ask(step.node))
        stopping = asyncio.ensure_future(self._context.cancelled.wait())
        try:
            await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and (asking.cancelled() or not asking.done()):
                self._context.gate.cancel()
                return "stopped waiting; nothing was started"
            found = asking.result()
        finally:
            asking.cancel()
            stopping.cancel()
        return f"{seen}; {found}" if found else seen

    async def prepare(self, step: Step, report: Report) -> str:
        """Write all run directories of the node; starts nothing."""
        link = self._context.link(step)
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
        return f"{len(step.launches)} written{self._shared_base_text(step, kinds)}"

    def _shared_base_text(self, step: Step, kinds: Sequence[str]) -> str:
        """A warning about a base directory on a network file system: each node would list the runs of other nodes as its own."""
        kind = next((each for each in kinds if each in SHARED_TYPES), "")
        if not kind:
            return ""
        base = self._context.monitor.deployment.node(step.node).base
        text = (
            f"{base} is on a network file system ({kind}): give each node its own `base`, on a local disk if possible"
        )
        self._context.monitor.note(EventLevel.WARNING, text, node=step.node)
        return f"; {text}"

    def _spec(self, launch: EngineLaunch) -> dict[str, object]:
        return {
            "cluster": self._context.plan.cluster,
            **run_data(launch),
            "by": self._context.who,
            **({"restarts": list(self._context.plan.restarts)} if self._context.plan.restarts else {}),
        }

    async def launch(self, step: Step, report: Report) -> str:
        """Launch all written runs of the node at once."""
        link = self._context.link(step)
        join_by = step.payload.join_by if isinstance(step.payload, EngineLaunches) else None
        if join_by is not None and time.time() >= join_by:
            hint = "restart the group; the ranks that waited exit by themselves"
            raise ConsoleError("the ranks that were started first no longer wait for these", hint=hint)
        done = await asyncio.gather(*(link.commit(launch.key) for launch in step.launches), return_exceptions=True)
        offset = self._context.monitor.nodes[step.node].clock_offset_s or 0.0
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
            hint = "the ranks that started wait for the others: stop their group, fix the cause, start it again"
            raise NodeError("; ".join(failed), kind="refused", node=step.node, hint=hint)
        if lost is not None:
            raise lost
        return f"{len(step.launches)} started{self._skew(step)}"

    def _skew(self, step: Step) -> str:
        """The start skew between the launched ranks of each group of this step, corrected by node clocks."""
        text = ""
        launch_of = {launch.rank.id: launch for launch in self._context.plan.launches}
        for group in dict.fromkeys(launch.rank.group for launch in step.launches):
            times = {engine: at for engine, at in self._launched.items() if launch_of[engine].rank.group == group}
            env = next(launch.command.env for launch in step.launches if launch.rank.group == group)
            skew = skew_of(group, times, env)
            if skew is not None:
                text += f"; start skew of {group} {skew.seconds:.1f} s" + (f", {skew.words()}" if skew.late else "")
                text += "" if skew.late else f" of at most {skew.limit_s:.0f} s"
        return text

    async def wait_ready(self, step: Step, report: Report) -> str:
        """Wait until every engine of the step is ready, one has failed, or the operator cancels."""
        awaited = step.payload
        if not isinstance(awaited, RunsAwaited):
            raise ConsoleError("the plan names no run to wait for")
        started = degraded_since = time.monotonic()
        reported: object = None
        while time.monotonic() - started < READY_LIMIT_S:
            if self._context.cancelled.is_set():
                return "stopped waiting; the engines keep running"
            engines = self._engines(awaited)
            if (error := _end_error(engines, ())) is not None:
                await self._context.wait_until(lambda: _logs_read(self._engines(awaited)), EXPLAIN_S)
                await self._context.wait_until(
                    lambda: _cause(self._engines(awaited), self._diagnoses) is not None, DIAGNOSE_S
                )
                raise await self._with_holder(_end_error(self._engines(awaited), self._diagnoses) or error, awaited)
            ready = sum(each.state is EngineState.READY for each in engines)
            if ready == len(step.engines):
                return f"{ready} ready after {time.monotonic() - started:.0f} s"
            degraded = _degraded_error(engines, self._diagnoses) if len(engines) == len(step.engines) else None
            degraded_since = degraded_since if degraded else time.monotonic()
            if degraded and time.monotonic() - degraded_since >= DEGRADED_LIMIT_S:
                raise degraded
            progress = self._context.monitor.start_progress.get(awaited.group)
            news, text = progress_text(step, engines, progress, time.monotonic() - started)
            if known := start_trouble(engines, self._diagnoses):
                news, text = (news, known), f"{text}; {known}"
            if news != reported:
                report(text)
                reported = news
            await self._context.next_snapshot()
        raise ConsoleError(f"not ready after {READY_LIMIT_S:.0f} s; the engines keep running", hint="read their logs")

    async def _with_holder(self, end: ConsoleError, awaited: RunsAwaited) -> ConsoleError:
        """The error, with the process that took an engine's port after the check if the engine failed by that."""
        why = _cause(self._engines(awaited), self._diagnoses)
        of = {launch.rank.id: launch.rank for launch in self._context.plan.launches}
        rank = of.get(why.engine) if why is not None and why.signature == PORT_TAKEN else None
        if rank is None or rank.port is None:
            return end
        monitor = self._context.monitor
        try:
            link = self._context.link_to(rank.node)
            words, hint = await taken_ports_text(
                link, monitor.nodes[rank.node], monitor.deployment.name, {rank.port: rank}
            )
        except ConsoleError:  # the holder may be gone already; report the failure without it
            return end
        return ConsoleError(f"{end}; {words}", hint=hint) if words else end

    @property
    def _diagnoses(self) -> Sequence[Diagnosis]:
        return self._context.monitor.snapshot.diagnoses

    def _engines(self, awaited: RunsAwaited) -> list[EngineSnapshot]:
        """The engines whose newest run in the snapshot is one of these runs, or a later one."""
        runs = {key.engine: key.run for key in awaited.keys}
        seen = [self._context.monitor.snapshot.engines.get(name) for name in runs]
        return [engine for engine in seen if engine is not None and (engine.run or "") >= runs[engine.id]]


def progress_text(
    step: Step, engines: Sequence[EngineSnapshot], progress: StartProgress | None, since_s: float
) -> tuple[object, str]:
    """(a key, the progress of a start as text). The text is reported again only when the key changes, not for each percent."""
    ready = sum(each.state is EngineState.READY for each in engines)
    parts = [f"{ready}/{len(step.engines)} ready" + (f" after {stepped(since_s, 10)}" if since_s >= 10.0 else "")]
    starting = [each for each in engines if each.state is EngineState.STARTING]
    slowest_engine = slowest(starting) if starting else None
    if slowest_engine is not None and slowest_engine.phase:
        share = "" if slowest_engine.progress is None else f" {slowest_engine.progress:.0%}"
        parts.append(
            f"slowest {slowest_engine.id}{share}" + (f" ({slowest_engine.held_up})" if slowest_engine.held_up else "")
        )
    known = progress is not None and progress.of > 0
    if progress is not None and known:
        parts.append(progress.words())
    return (parts[0], slowest_engine.held_up if slowest_engine else "", known), ", ".join(parts)


def start_trouble(engines: Sequence[EngineSnapshot], diagnoses: Sequence[Diagnosis]) -> str:
    """The known failure of an engine that is not ready, with its remedy; such an engine may take minutes to exit, or never exit.

    For a starting engine only fatal failures count. Without a known failure: the cause of a degraded engine.
    """
    starting = {each.id for each in engines if each.state is EngineState.STARTING}
    degraded = {each.id: each for each in engines if each.state is EngineState.DEGRADED}
    found = [
        each
        for each in diagnoses
        if (each.engine in starting and each.severity == "fatal")
        or (each.engine in degraded and each.severity != "advice")
    ]
    first = min(found, key=lambda each: (not each.first, each.at), default=None)
    if first is None:
        return next((f"{each.id} {each.state}: {each.cause}" for each in degraded.values()), "")
    where = f" ({first.where})" if first.where else ""
    return f"{first.engine} {first.signature} {first.title}: {first.text}; {first.remedy}{where}"


def _degraded_error(engines: Sequence[EngineSnapshot], diagnoses: Sequence[Diagnosis]) -> ConsoleError | None:
    """The error when all engines that are not ready are degraded; None while one of them may still become ready."""
    late = [each for each in engines if each.state is not EngineState.READY]
    if not late or any(each.state is not EngineState.DEGRADED for each in late):
        return None
    why = next((each for each in diagnoses if each.engine == late[0].id and each.severity != "advice"), None)
    known = f"{why.signature} {why.title}: {why.remedy} " if why else ""
    text = f"{late[0].id} on {late[0].node} degraded: {late[0].cause}"
    return ConsoleError(text, hint=f"{known}The engines keep running; read the log: dsv4-console logs {late[0].id}")


def _logs_read(engines: Sequence[EngineSnapshot]) -> bool:
    """Whether the logs of the engines that ended have been read to their end."""
    return all(engine.log_read for engine in engines if engine.state in _BROKEN)


def _cause(engines: Sequence[EngineSnapshot], diagnoses: Sequence[Diagnosis]) -> Diagnosis | None:
    """The known failure of the engines that ended: the first cause, else the earliest."""
    ended = {engine.id for engine in engines if engine.state in _BROKEN}
    mine = [each for each in diagnoses if each.engine in ended and each.severity == "fatal"]
    return min(mine, key=lambda each: (not each.first, each.at), default=None)


def _end_error(engines: Sequence[EngineSnapshot], diagnoses: Sequence[Diagnosis]) -> ConsoleError | None:
    """The error when an engine ended, for the one that failed first; None while all may become ready."""
    why = _cause(engines, diagnoses)
    for engine in sorted(engines, key=lambda each: why is None or each.id != why.engine):
        if engine.state in _BROKEN:
            text = f"{engine.id} on {engine.node} {engine.state}: {engine.cause}"
            known = f"{why.signature} {why.title}: {why.remedy} " if why and why.engine == engine.id else ""
            read = "Read" if known else "read"
            if why is not None and known and why.where:
                read = f"See {why.where}; read"
            return ConsoleError(text, hint=f"{known}{read} the log: dsv4-console logs {engine.id}")
        if engine.state is EngineState.EXITED:
            who = f" {engine.asked.who()}" if engine.asked else ""
            text = f"{engine.id} on {engine.node} was stopped meanwhile{who}"
            return ConsoleError(text, hint="another operator may be at work")
    return None
