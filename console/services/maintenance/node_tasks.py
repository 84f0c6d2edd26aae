"""Runs maintenance plans: each step is one task on one node.

A long command (an image pull) continues on the node without the console, and the console polls it; so a lost link neither
ends nor repeats it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from console.commands.quoting import join
from console.model.errors import ConsoleError, LinkLost, NodeError, Unreachable
from console.model.payload import NodeCommands
from console.model.plan import Outcome, Plan, Stage, Step
from console.model.run import Sample
from console.probes.sanitize import decode
from console.remote.link import NodeLink
from console.services.operations.step_context import Report

NodeTask = Callable[[Step, Report], Awaitable[str]]
"""Runs one step; gives a line about the result, raises ConsoleError when it failed."""

ASK_EVERY_S = 1.0
BACK_S = 300.0
"""How long to wait for a lost link while a long command runs on the node."""
QUICK_S = 20.0
JOBS = ".jobs"
"""Directory below a node's base directory with the output and exit codes of long commands."""

_BEGIN = """d="$1"; shift; umask 077; mkdir -p "$d" || exit 1
if [ ! -e "$d/rc" ] && [ -s "$d/pid" ] && kill -0 "$(cat "$d/pid")" 2>/dev/null; then echo goes on; exit 0; fi
rm -f "$d/rc" "$d/pid"; : >"$d/log"
setsid sh -c 'd="$1"; shift; echo $$ >"$d/pid"; "$@" >"$d/log" 2>&1; echo $? >"$d/rc.new"; mv "$d/rc.new" "$d/rc"' \
job "$d" "$@" </dev/null >/dev/null 2>&1 &
i=0; while [ ! -s "$d/pid" ] && [ "$i" -lt 200 ]; do sleep 0.05; i=$((i + 1)); done; [ -s "$d/pid" ] && echo begun"""
_ASK = """cat "$1/rc" 2>/dev/null || { kill -0 "$(cat "$1/pid")" 2>/dev/null && echo running; } || \\
cat "$1/rc" 2>/dev/null || echo lost
echo "== log"; tail -c 65536 "$1/log\""""


@dataclass(frozen=True, slots=True)
class MaintenancePlan:
    """A maintenance plan with its runner."""

    plan: Plan
    runner: NodeTaskRunner


class NodeTaskRunner:
    """Runs the steps of one maintenance plan."""

    def __init__(self, tasks: Mapping[str, NodeTask], links: Mapping[str, NodeLink], look: str) -> None:
        self._tasks = tasks
        self._links = links
        self._status_command = look

    async def run(self, step: Step, report: Report) -> str:
        """Run the task of the step."""
        return await self._tasks[step.id](step, report)

    async def discard(self, stage: Stage) -> None:
        """Does nothing, because no step prepares anything."""

    async def settle(self, step: Step, lost: LinkLost) -> tuple[Outcome, str]:
        """The outcome after a lost link: unknown, with the command that shows the state."""
        await self._links[step.node].wait_up(QUICK_S)
        return Outcome.UNKNOWN, f"{lost}; check its state before you try again: {self._status_command}"


def argvs_of(step: Step) -> tuple[tuple[str, ...], ...]:
    """The commands of a step. Raises ConsoleError when it has none."""
    if not isinstance(step.payload, NodeCommands):
        raise ConsoleError(f"the step {step.id} has no command")
    return step.payload.argvs


async def run_command(link: NodeLink, argv: Sequence[str], timeout_s: float = QUICK_S) -> str:
    """Run a command and give its output. Raises ConsoleError with its last output line when it fails."""
    sample = await link.run_command(argv, timeout_s)
    if sample.exit_code != 0:
        how = "did not answer in time" if sample.exit_code is None else f"exited with {sample.exit_code}"
        raise NodeError(f"{join(argv[:3])} … {how}: {last_output_line(sample)}", kind="os", node=link.node.name)
    return "\n".join(decode(line) for line in sample.stdout.split(b"\n")).strip()


async def run_detached(link: NodeLink, name: str, argv: Sequence[str], on_output: Callable[[str], None]) -> str:
    """Run a long command that continues on the node; `on_output` receives the end of its output repeatedly. Gives that
    output.

    Waits for a command that runs already under this name. Raises ConsoleError with its last output line when it fails,
    Unreachable when the node stays unreachable; the command then continues.
    """
    place = f"{link.node.base}/{JOBS}/{name}"
    await run_command(link, ("sh", "-c", _BEGIN, "begin", place, *argv))
    while True:
        try:
            answer = await run_command(link, ("sh", "-c", _ASK, "ask", place))
        except Unreachable:
            if not await link.wait_up(BACK_S):
                raise
            continue
        state, _, log = answer.partition("\n== log")
        on_output(log)
        if state == "lost":
            raise ConsoleError(
                f"{join(argv[:2])} was killed on {link.node.name}", hint="run it again; it continues where it stopped"
            )
        if state != "running":
            if state != "0":
                lines = [line for line in log.strip().split("\n") if line.strip()]
                raise ConsoleError(f"{join(argv)} exited with {state}: {lines[-1] if lines else 'no output'}")
            return log
        await asyncio.sleep(ASK_EVERY_S)


def last_output_line(sample: Sample) -> str:
    """The last output line of a command, from stderr if it has one."""
    for data in (sample.stderr, sample.stdout):
        lines = [decode(line).strip() for line in data.split(b"\n") if line.strip()]
        if lines:
            return lines[-1][:300]
    return "no output"
