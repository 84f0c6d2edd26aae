"""Plans of maintenance and what does their steps: each step is one node task on one node. What the node tasks do is not here.

A long command (an image pull) is left to itself on the node and asked after, so that a lost link or a closed console neither ends
it nor starts it twice.
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

Errand = Callable[[Step, Report], Awaitable[str]]
"""Does one step by what it carries; gives a line on how it went, raises ConsoleError when it failed."""

ASK_EVERY_S = 1.0
BACK_S = 300.0
"""How long a node whose link is lost is waited for while a long command runs there."""
QUICK_S = 20.0
JOBS = ".jobs"
"""Below the base directory of a node: what long commands print, and how they ended."""

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
    """A plan of maintenance and what runs it."""

    plan: Plan
    runner: NodeTaskRunner


class NodeTaskRunner:
    """Does the steps of one plan of maintenance."""

    def __init__(self, errands: Mapping[str, Errand], links: Mapping[str, NodeLink], look: str) -> None:
        self._errands = errands
        self._links = links
        self._look = look

    async def run(self, step: Step, report: Report) -> str:
        """Do the step's node task."""
        return await self._errands[step.id](step, report)

    async def discard(self, stage: Stage) -> None:
        """Nothing is prepared ahead."""

    async def settle(self, step: Step, lost: LinkLost) -> tuple[Outcome, str]:
        """Nobody knows; the operator is told how to look."""
        await self._links[step.node].wait_up(QUICK_S)
        return Outcome.UNKNOWN, f"{lost}; check its state before you try again: {self._look}"


def argvs_of(step: Step) -> tuple[tuple[str, ...], ...]:
    """The commands that a step carries. Raises ConsoleError when it carries none."""
    if not isinstance(step.payload, NodeCommands):
        raise ConsoleError(f"the step {step.id} has no command")
    return step.payload.argvs


async def do(link: NodeLink, argv: Sequence[str], timeout_s: float = QUICK_S) -> str:
    """Run a command that must end well; gives what it printed. Raises ConsoleError with its last words."""
    sample = await link.run_command(argv, timeout_s)
    if sample.exit_code != 0:
        how = "gave no answer in time" if sample.exit_code is None else f"ended with {sample.exit_code}"
        raise NodeError(f"{join(argv[:3])} … {how}: {last_words(sample)}", kind="os", node=link.node.name)
    return "\n".join(decode(line) for line in sample.stdout.split(b"\n")).strip()


async def do_detached(link: NodeLink, name: str, argv: Sequence[str], told: Callable[[str], None]) -> str:
    """Run a long command that the node keeps; `told` gets the end of its output again and again. Gives that output.

    One that runs already under this name is waited for. Raises ConsoleError with its last words when it fails, Unreachable
    when the node stays away; the command goes on then.
    """
    place = f"{link.node.base}/{JOBS}/{name}"
    await do(link, ("sh", "-c", _BEGIN, "begin", place, *argv))
    while True:
        try:
            answer = await do(link, ("sh", "-c", _ASK, "ask", place))
        except Unreachable:
            if not await link.wait_up(BACK_S):
                raise
            continue
        state, _, log = answer.partition("\n== log")
        told(log)
        if state == "lost":
            raise ConsoleError(
                f"{join(argv[:2])} was killed on {link.node.name}", hint="run it again; what is done is kept"
            )
        if state != "running":
            if state != "0":
                lines = [line for line in log.strip().split("\n") if line.strip()]
                raise ConsoleError(f"{join(argv)} ended with {state}: {lines[-1] if lines else 'it said nothing'}")
            return log
        await asyncio.sleep(ASK_EVERY_S)


def last_words(sample: Sample) -> str:
    """The last line a command printed, from stderr where there is one."""
    for data in (sample.stderr, sample.stdout):
        lines = [decode(line).strip() for line in data.split(b"\n") if line.strip()]
        if lines:
            return lines[-1][:300]
    return "it said nothing"
