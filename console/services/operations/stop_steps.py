"""The steps of a stop: ask all to end at once, kill what is left, and look whether ports and devices are free again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from console.model.errors import ConsoleError
from console.model.hardware import kind_of
from console.model.payload import EngineStops, ProcessEnd
from console.model.plan import Step
from console.model.run import RunKey, StopResult
from console.probes.listeners import listeners_probe, listens, parse_listeners
from console.probes.npu_smi import NOT_INSTALLED, info_probe
from console.remote.link import NodeLink
from console.services.operations.step_context import Say, StepContext

VERIFY_S = 60.0
"""How long HBM may take to be given back after the last process is gone."""
HEARD_S = 10.0
"""How long the snapshot may take to show what the node has just answered; later steps and the operator read the snapshot."""
LOOK_EVERY_S = 1.0
"""Between two looks: each asks npu-smi, which a sick driver bears badly."""
ANSWER_S = 30.0
"""One that runs already when npu-smi is asked for ends first, and may take its whole time."""
IDLE_ROOM_MIB = 512
"""On top of what an idle device of its kind holds at most; far below anything that is loaded."""


class StopSteps:
    """Does the steps of one plan that take engines down."""

    def __init__(self, scope: StepContext) -> None:
        self._scope = scope

    async def stop(self, step: Step, say: Say) -> str:
        """TERM for all of the node at once, then KILL for what carries the cookie."""
        work = _stops(step)
        return await self._end(step, lambda link, keys: link.stop(keys, work.grace_s, work.kill_s, by=self._scope.who))

    async def kill(self, step: Step, say: Say) -> str:
        """KILL at once."""
        kill_s = _stops(step).kill_s
        return await self._end(step, lambda link, keys: link.kill(keys, kill_s, by=self._scope.who))

    async def end(self, step: Step, say: Say) -> str:
        """TERM for an unmanaged process, or KILL for it and what is below it: exactly the one that was shown."""
        work = step.payload
        if not isinstance(work, ProcessEnd):
            raise ConsoleError("the plan names no process")
        process, kill, limit_s = work.process, work.kill, work.limit_s
        result = await self._scope.link(step).end(
            process.pid, process.start, process.boot_id, kill=kill, limit_s=limit_s
        )
        self._scope.monitor.touch()
        if result.outcome == "absent":
            return f"{process} had ended by itself"
        if result.outcome == "stuck":
            left = ", ".join(str(each) for each in result.processes)
            hint = "a process in state D waits for the driver" if kill else "kill it: dsv4-console kill --unmanaged"
            raise ConsoleError(f"still there after {limit_s:.0f} s: {left}", hint=hint)
        return f"{process} is gone" + (f", {result.killed} killed" if result.killed else "")

    async def _end(
        self, step: Step, how: Callable[[NodeLink, list[RunKey]], Awaitable[Mapping[RunKey, StopResult]]]
    ) -> str:
        link = self._scope.link(step)
        keys = [stop.key for stop in step.stops]
        results = await how(link, keys)
        left: list[str] = []
        for key, result in results.items():
            learnt = self._scope.monitor.learnt(key)
            learnt.stuck = result.outcome == "stuck"
            if learnt.stuck:
                left.append(f"{key.engine}: " + ", ".join(str(process) for process in result.processes))
        self._scope.monitor.touch()
        if left:
            raise ConsoleError(
                "processes are left: " + "; ".join(left),
                hint="KILL was sent: kill (X) sends it again; a process in state D ends when its driver lets go",
            )
        await self._scope.until(lambda: not self._alive(step) or bool(self._others(step)), HEARD_S)
        if other := self._others(step):
            hint = "make the plan again to stop that run"
            raise ConsoleError(f"launched anew since the plan was made, and left alone: {', '.join(other)}", hint=hint)
        return f"{len(keys)} stopped, no process left"

    def _alive(self, step: Step) -> bool:
        return any(self._scope.runs_now(stop.engine) for stop in step.stops)

    def _others(self, step: Step) -> list[str]:
        """Engines of the step that live as another run than the plan was shown for."""
        seen = {stop.engine: (stop.key, self._scope.monitor.current(stop.engine)) for stop in step.stops}
        return [name for name, (key, now) in seen.items() if self._scope.runs_now(name) and now not in (None, key)]

    async def verify(self, step: Step, say: Say) -> str:
        """After a stop: the ports are closed and the devices hold nothing of it any more, else the pids that do."""
        link = self._scope.link(step)
        began = time.monotonic()
        left = told = ""
        while time.monotonic() - began < VERIFY_S:
            left = await self._left_on(step, link)
            if not left:
                return f"ports closed{self._idle(step)}"
            if NOT_INSTALLED in left:  # what cannot be asked fails no stop: else nothing could be restarted there, ever
                return left
            if left != told:
                say(told := left)
            if self._scope.cancelled.is_set():
                break
            await self._scope.pause(LOOK_EVERY_S)
        raise ConsoleError(
            f"{step.node}: {left}", hint="look with npu-smi info; a relaunch fails where HBM is still held"
        )

    async def _left_on(self, step: Step, link: NodeLink) -> str:
        probe = listeners_probe()
        found = parse_listeners((await link.run_command(probe.argv, probe.timeout_s)).stdout)
        open_ports = [str(each.port) for each in step.stops if each.port and listens(found, each.address, each.port)]
        if open_ports:
            return f"port {', '.join(open_ports)} still has a listener"
        wanted = self._devices(step)
        if not wanted:
            return ""
        asked = time.time()
        await link.probe_now(info_probe().name)
        record = self._scope.monitor.nodes[step.node]
        if not await self._scope.until(lambda: (record.table_asked_at or 0.0) >= asked, ANSWER_S):
            return f"ports closed, devices unknown: npu-smi has not answered in {ANSWER_S:.0f} s"
        if record.table is None or record.table_error:
            return f"ports closed, devices unknown: {record.table_error or 'no table'}"
        idle = kind_of(record.node.hardware.name).idle_mib + IDLE_ROOM_MIB
        busy = [
            f"device {device.id} ({device.hbm_used_mib} MiB, "
            + (
                "pid " + ", ".join(str(process.pid) for process in device.processes)
                if device.processes
                else "no process"
            )
            + ")"
            for device in record.table.devices
            if device.id in wanted and (device.processes or (device.hbm_used_mib or 0) > idle)
        ]
        return f"still held: {'; '.join(busy[:4])}" if busy else ""

    def _idle(self, step: Step) -> str:
        """Words on devices that hold nothing. One of a lost card is not called idle, and fails no stop of what ran on it."""
        wanted = self._devices(step)
        table = self._scope.monitor.nodes[step.node].table
        told = {each.id for each in table.devices if each.hbm_used_mib is not None} if table else set()
        silent = ", ".join(map(str, sorted(wanted - told)))
        idle = ", devices idle" if wanted & told else ""
        return f"{idle}, of {silent} npu-smi reports nothing" if silent else idle

    def _devices(self, step: Step) -> set[int]:
        return {device for stop in step.stops for device in stop.devices}


def _stops(step: Step) -> EngineStops:
    return step.payload if isinstance(step.payload, EngineStops) else EngineStops(())
