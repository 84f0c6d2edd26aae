"""Launches, follows and stops supervised maintenance runs on nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from console.commands.container import own_container
from console.model.errors import Unreachable
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import LinkState
from console.probes.sanitize import decode
from console.remote.link import NodeLink
from console.services.maintenance.node_tasks import BACK_S
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.snapshot_builder import current_run
from console.services.operations.payloads import new_run_id
from console.services.operations.step_context import Report

ASK_EVERY_S = 1.0
TAIL_BYTES = 4096
GRACE_S, KILL_S = 5.0, 10.0
_ALIVE = (RunVerdict.RUNNING, RunVerdict.ORPHANS, RunVerdict.FOREIGN)


class TaskRuns:
    """The runs of one role in one session."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], who: str, role: str) -> None:
        self._monitor = monitor
        self._links = links
        self._who = who
        self._role = role

    async def launch(self, name: str, engine: str, script: str, argv: Sequence[str]) -> RunKey:
        """Write and start a run on a node. Raises NodeError (`busy` while such a run lives) and Unreachable."""
        deployment = self._monitor.deployment
        link = self.up(name)
        found = current_run(self._monitor.nodes[name], deployment.name, engine)
        key = RunKey(deployment.name, engine, new_run_id())
        spec = {
            "cluster": deployment.cluster.name,
            "role": self._role,
            "headless": True,
            "argv": list(argv),
            "by": self._who,
        }
        box = own_container(deployment, deployment.node(name), engine)
        await link.prepare(key, spec, script, found.key.run if found else None, container=box.spec() if box else None)
        await link.commit(key)
        return key

    async def follow(self, name: str, key: RunKey, report: Report) -> str:
        """Report the last log line of a run until the run ends; gives the final line. Waits for a lost link, while the run
        continues.
        """
        told = ""
        while True:
            over = self.ended(name, key)
            try:
                last = last_line(await self.tail(name, key))
            except Unreachable:
                if not await self._links[name].wait_up(BACK_S):
                    raise
                continue
            if over:
                return last
            if last and last != told:
                told = last
                report(last)
            await asyncio.sleep(ASK_EVERY_S)

    def ended(self, name: str, key: RunKey) -> bool:
        """Whether the node reports that the run has ended."""
        state = self._monitor.run_state(key, name)
        return state is not None and state.verdict in (RunVerdict.EXITED, RunVerdict.LOST)

    async def tail(self, name: str, key: RunKey, begin: int | None = None) -> str:
        """The end of a run's log, or the text from `begin`."""
        state = self._monitor.run_state(key, name)
        size = state.log_size if state else 0
        offset = max(0, size - TAIL_BYTES) if begin is None else begin
        data = await self.up(name).read(key, offset, 2 * TAIL_BYTES)
        return "\n".join(decode(line) for line in data.split(b"\n")).strip()

    def live(self, name: str, engine: str) -> RunState | None:
        """The live run of that name on a node, from any console."""
        record = self._monitor.nodes.get(name)
        found = current_run(record, self._monitor.deployment.name, engine) if record else None
        return found if found is not None and found.verdict in _ALIVE else None

    def up(self, name: str) -> NodeLink:
        """The link of a node. Raises Unreachable while it is down."""
        link = self._links[name]
        if link.link.state is not LinkState.UP:
            raise Unreachable(f"{name} is not connected: {link.link.reason or link.link.state}", hint=link.link.hint)
        return link

    async def end(self, name: str, run: RunState) -> str:
        """Stop the run with TERM, then KILL; gives a line about the result."""
        results = await self.up(name).stop([run.key], GRACE_S, KILL_S, by=self._who)
        return f"{name}: {run.key.engine} {results[run.key].outcome}"


def last_line(log: str) -> str:
    """The last line that is not blank."""
    lines = [line for line in log.split("\n") if line.strip()]
    return lines[-1][:300] if lines else ""
