"""Runs the preflight of a plan's launches, and refuses nodes with failed checks unless the operator overrode them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from console.model.counting import counted
from console.model.errors import ConsoleError, UsageError
from console.model.snapshot import EventLevel
from console.probes.check_types import Result, Verdict
from console.probes.preflight_checks import CHECKS
from console.services.monitoring.monitor import Monitor
from console.services.readiness.preflight import Preflight, PreflightRequest, Report


def overrides(ids: Sequence[str]) -> frozenset[str]:
    """The checks to override. Raises UsageError for a check that never stops a launch."""
    known = {check.id: check.title for check in CHECKS if check.blocks and not check.network}
    for each in ids:
        if each not in known:
            shown = ", ".join(f"{id} {title}" for id, title in known.items())
            raise UsageError(f"no check {each!r} stops a launch", hint=f"these do: {shown}")
    return frozenset(ids)


class PreflightGate:
    """The preflight of one plan. Nodes without NPUs have none."""

    def __init__(
        self,
        preflight: Preflight,
        monitor: Monitor,
        launches: Sequence[Sequence[str]],
        overridden: frozenset[str] = frozenset(),
    ) -> None:
        """`launches` are the nodes of each launch of the plan, in order; each launch has its own preflight."""
        self._preflight = preflight
        self._monitor = monitor
        self._turns = [
            [node for node in dict.fromkeys(nodes) if monitor.deployment.node(node).hardware.devices]
            for nodes in launches
        ]
        self._overridden = overridden
        self.stopped: set[str] = set()
        """Checks that have stopped a launch."""
        self._asked: dict[int, asyncio.Task[Report]] = {}
        self._had: set[tuple[int, str]] = set()

    async def ask(self, node: str) -> str:
        """Wait for the preflight. Gives one line about the node, empty when it has none.

        Raises ConsoleError with every failed check that is not overridden.
        """
        turns = (at for at, nodes in enumerate(self._turns) if node in nodes and (at, node) not in self._had)
        turn = next(turns, None)
        if turn is None:
            return ""
        self._had.add((turn, node))
        if turn not in self._asked:
            asking = self._preflight.run(self._turns[turn], PreflightRequest(blocking=True))
            self._asked[turn] = asyncio.create_task(asking, name="preflight")
        report = await asyncio.shield(self._asked[turn])
        failed = report.failures(node)
        stopping = [each for each in failed if each.check not in self._overridden]
        if stopping:
            self.stopped.update(each.check for each in stopping)
            raise ConsoleError(f"{node}: {_words(stopping)}", hint=_hint(stopping))
        for each in failed:
            self._monitor.note(EventLevel.WARNING, f"overridden: {_words([each])}", node=node)
        mine = [each for each in report.results if each.node == node]
        unknown = sum(each.verdict is Verdict.UNKNOWN for each in mine)
        told = [counted(len(mine), "check"), *([f"{len(failed)} overridden"] if failed else [])]
        return ", ".join([*told, *([f"{unknown} unknown"] if unknown else [])])

    def cancel(self) -> None:
        """Cancel the preflight; commands on nodes end by themselves."""
        for task in self._asked.values():
            task.cancel()


def _words(results: Sequence[Result]) -> str:
    return "; ".join(f"check {each.check}, {each.title}: {each.seen}" for each in results)


def _hint(results: Sequence[Result]) -> str:
    fix = "; ".join(dict.fromkeys(each.remedy for each in results if each.remedy))
    words = " ".join(f"--override {each}" for each in dict.fromkeys(result.check for result in results))
    return f"{fix}. To start anyway: {words}"
