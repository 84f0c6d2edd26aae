"""The golden comparison: the same greedy prompt answered by a prefill engine alone and through prefill and decode.

Both must say the same. They do not when block size, KV layout or weights differ, which no health check and no log shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.serving.answer_checks import complaint, completion_text
from console.services.serving.trial_request import send_trial

DIFFER = "pd-answers-differ"
"""The fact of the table of signatures."""


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """What came of it."""

    agree: bool | None
    """None when there was nothing to compare."""
    seen: str
    took_s: float = 0.0
    asked: bool = True
    """Whether both sides could be asked at all."""


def pair(snapshot: ClusterSnapshot) -> tuple[EngineSnapshot, EngineSnapshot] | None:
    """(a prefill engine, the proxy) that serve now, or None where there is nothing to compare."""
    found: dict[str, EngineSnapshot] = {}
    for each in snapshot.engines.values():
        if each.port is not None and "@" not in each.id and each.state in (EngineState.READY, EngineState.DEGRADED):
            found.setdefault(each.role, each)
    if not {"prefill", "decode", "proxy"} <= found.keys():
        return None
    return found["prefill"], found["proxy"]


class OutputComparison:
    """Compares, and keeps what it found where the diagnosis looks for it."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links

    async def compare(self, tokens: int, timeout_s: float) -> ComparisonResult:
        """Ask both sides for so many tokens. A difference counts when it is there twice: one answer may come too late."""
        sides = pair(self._monitor.snapshot)
        if sides is None:
            return ComparisonResult(None, "no prefill engine and proxy serve side by side", asked=False)
        alone, door = sides
        key = self._monitor.current(door.id)
        found = await self._once(alone, door, tokens, timeout_s)
        if found.agree is False:
            found = await self._once(alone, door, tokens, timeout_s)
        if found.agree is not None and key is not None:
            self._keep(key, found)
        return found

    def _keep(self, key: RunKey, found: ComparisonResult) -> None:
        facts = self._monitor.learnt(key).facts
        if found.agree:
            facts.pop(DIFFER, None)
        else:
            facts[DIFFER] = found.seen
        self._monitor.touch()

    async def _once(
        self, alone: EngineSnapshot, door: EngineSnapshot, tokens: int, timeout_s: float
    ) -> ComparisonResult:
        one = await self._post(alone, tokens, timeout_s)
        both = await self._post(door, tokens, timeout_s)
        took = one.took_s + both.took_s
        wrong = complaint(one) or complaint(both)
        if wrong:
            return ComparisonResult(None, wrong, took, one.asked and both.asked)
        first, second = completion_text(one), completion_text(both)
        if not first or not second:
            return ComparisonResult(None, f"an answer without text: {first!r} and {second!r}", took)
        if first == second:
            return ComparisonResult(True, f"both say {first[:60]!r}", took)
        words = f"{alone.id} alone says {first[:60]!r}, through {door.id} it is {second[:60]!r}"
        return ComparisonResult(False, words, took)

    async def _post(self, engine: EngineSnapshot, tokens: int, timeout_s: float) -> HttpAnswer:
        return await send_trial(self._monitor, self._links[engine.node], engine, timeout_s, tokens=tokens)
