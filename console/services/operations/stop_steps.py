"""The steps of a stop: TERM all engines at once, KILL what remains, verify that ports and devices are free."""

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
from console.services.operations.step_context import Report, StepContext

VERIFY_S = 60.0
"""How long the release of HBM may take after the last process is gone."""
SNAPSHOT_S = 10.0
"""How long the snapshot may take to show the stop; later steps and the operator read the snapshot."""
POLL_S = 1.0
"""Time between two polls; each runs npu-smi, which can overload a faulty driver."""
ANSWER_S = 30.0
"""Limit of an npu-smi answer; a running call must end first and may take its whole time limit."""
IDLE_ROOM_MIB = 512
"""Allowed above the idle HBM use of the hardware kind; far below any loaded model."""


class StopSteps:
    """Runs the steps of one plan that stop engines or processes."""

    def __init__(self, context: StepContext) -> None:
        self._context = context

    async def stop(self, step: Step, report: Report) -> str:
        """Send TERM to all engines of the node at once, then KILL to the remaining processes of their runs."""
        work = _stops(step)
        return await self._end(
            step, lambda link, keys: link.stop(keys, work.grace_s, work.kill_s, by=self._context.who)
        )

    async def kill(self, step: Step, report: Report) -> str:
        """Send KILL at once."""
        kill_s = _stops(step).kill_s
        return await self._end(step, lambda link, keys: link.kill(keys, kill_s, by=self._context.who))

    async def end(self, step: Step, report: Report) -> str:
        """Send TERM to the unmanaged process of the plan, or KILL to it and its child processes."""
        work = step.payload
        if not isinstance(work, ProcessEnd):
            raise ConsoleError("the plan names no process")
        process, kill, limit_s = work.process, work.kill, work.limit_s
        result = await self._context.link(step).end(
            process.pid, process.start, process.boot_id, kill=kill, limit_s=limit_s
        )
        self._context.monitor.touch()
        if result.outcome == "absent":
            return f"{process} had exited already"
        if result.outcome == "stuck":
            left = ", ".join(str(each) for each in result.processes)
            hint = "a process in state D waits for the driver" if kill else "kill it: dsv4-console kill --unmanaged"
            raise ConsoleError(f"still there after {limit_s:.0f} s: {left}", hint=hint)
        return f"{process} is gone" + (f", {result.killed} killed" if result.killed else "")

    async def _end(
        self, step: Step, signal: Callable[[NodeLink, list[RunKey]], Awaitable[Mapping[RunKey, StopResult]]]
    ) -> str:
        link = self._context.link(step)
        keys = [stop.key for stop in step.stops]
        results = await signal(link, keys)
        remaining: list[str] = []
        for key, result in results.items():
            run_record = self._context.monitor.run_record(key)
            run_record.stuck = result.outcome == "stuck"
            if run_record.stuck:
                remaining.append(f"{key.engine}: " + ", ".join(str(process) for process in result.processes))
        self._context.monitor.touch()
        if remaining:
            raise ConsoleError(
                "processes remain: " + "; ".join(remaining),
                hint="KILL was sent: kill (X) sends it again; a process in state D exits when the driver returns",
            )
        await self._context.wait_until(lambda: not self._alive(step) or bool(self._newer_runs(step)), SNAPSHOT_S)
        if newer := self._newer_runs(step):
            hint = "make the plan again to stop that run"
            raise ConsoleError(
                f"launched again since the plan was made, and not stopped: {', '.join(newer)}", hint=hint
            )
        return f"{len(keys)} stopped, no process remains"

    def _alive(self, step: Step) -> bool:
        return any(self._context.runs_now(stop.engine) for stop in step.stops)

    def _newer_runs(self, step: Step) -> list[str]:
        """Engines of the step that now run as a newer run than the one in the plan."""
        seen = {stop.engine: (stop.key, self._context.monitor.current(stop.engine)) for stop in step.stops}
        return [name for name, (key, now) in seen.items() if self._context.runs_now(name) and now not in (None, key)]

    async def verify(self, step: Step, report: Report) -> str:
        """Wait until ports are closed and devices idle. Raises ConsoleError with the ports, devices and pids that are not."""
        link = self._context.link(step)
        started = time.monotonic()
        remaining = reported = ""
        while time.monotonic() - started < VERIFY_S:
            remaining = await self._still_held(step, link)
            if not remaining:
                return f"ports closed{self._idle(step)}"
            if (
                NOT_INSTALLED in remaining
            ):  # without npu-smi devices cannot be checked; failing here would forbid every restart on the node
                return remaining
            if remaining != reported:
                report(reported := remaining)
            if self._context.cancelled.is_set():
                break
            await self._context.pause(POLL_S)
        raise ConsoleError(
            f"{step.node}: {remaining}", hint="look with npu-smi info; a relaunch fails where HBM is still held"
        )

    async def _still_held(self, step: Step, link: NodeLink) -> str:
        probe = listeners_probe()
        found = parse_listeners((await link.run_command(probe.argv, probe.timeout_s)).stdout)
        open_ports = [str(each.port) for each in step.stops if each.port and listens(found, each.address, each.port)]
        if open_ports:
            return f"still a listener on port {', '.join(open_ports)}"
        wanted = self._devices(step)
        if not wanted:
            return ""
        asked = time.time()
        await link.probe_now(info_probe().name)
        record = self._context.monitor.nodes[step.node]
        if not await self._context.wait_until(lambda: (record.table_started_at or 0.0) >= asked, ANSWER_S):
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
        """The result for idle devices. A device without data, for example of a lost card, is named but does not fail the stop."""
        wanted = self._devices(step)
        table = self._context.monitor.nodes[step.node].table
        known = {each.id for each in table.devices if each.hbm_used_mib is not None} if table else set()
        unknown = ", ".join(map(str, sorted(wanted - known)))
        idle = ", devices idle" if wanted & known else ""
        return f"{idle}, npu-smi reports nothing for {unknown}" if unknown else idle

    def _devices(self, step: Step) -> set[int]:
        return {device for stop in step.stops for device in stop.devices}


def _stops(step: Step) -> EngineStops:
    return step.payload if isinstance(step.payload, EngineStops) else EngineStops(())
