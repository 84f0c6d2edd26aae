"""Compares the answer of a prefill engine alone with the answer through prefill and decode, to the same greedy prompt.

Both must be equal. A difference shows a wrong block size, KV layout or weights, which no health check and no log shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.serving.answer_checks import answer_fault, completion_text
from console.services.serving.trial_request import send_trial

DIFFER = "pd-answers-differ"
"""The fact for failure signatures."""


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """The result of a comparison."""

    agree: bool | None
    """None when nothing could be compared."""
    seen: str
    took_s: float = 0.0
    asked: bool = True
    """Whether both engines could be asked."""


def comparison_pair(snapshot: ClusterSnapshot) -> tuple[EngineSnapshot, EngineSnapshot] | None:
    """(a prefill engine, the proxy) that serve now, or None."""
    found: dict[str, EngineSnapshot] = {}
    for each in snapshot.engines.values():
        if each.port is not None and "@" not in each.id and each.state in (EngineState.READY, EngineState.DEGRADED):
            found.setdefault(each.role, each)
    if not {"prefill", "decode", "proxy"} <= found.keys():
        return None
    return found["prefill"], found["proxy"]


class OutputComparison:
    """Compares outputs and keeps a difference as a fact for the diagnosis."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links

    async def compare(self, tokens: int, timeout_s: float) -> ComparisonResult:
        """Request that many tokens from both. A difference counts only when it appears twice, because one answer may come too
        late.
        """
        sides = comparison_pair(self._monitor.snapshot)
        if sides is None:
            return ComparisonResult(None, "there is no serving prefill engine with a serving proxy", asked=False)
        alone, proxy = sides
        key = self._monitor.current(proxy.id)
        found = await self._once(alone, proxy, tokens, timeout_s)
        if found.agree is False:
            found = await self._once(alone, proxy, tokens, timeout_s)
        if found.agree is not None and key is not None:
            self._keep(key, found)
        return found

    def _keep(self, key: RunKey, found: ComparisonResult) -> None:
        facts = self._monitor.run_record(key).facts
        if found.agree:
            facts.pop(DIFFER, None)
        else:
            facts[DIFFER] = found.seen
        self._monitor.touch()

    async def _once(
        self, alone: EngineSnapshot, proxy: EngineSnapshot, tokens: int, timeout_s: float
    ) -> ComparisonResult:
        one = await self._post(alone, tokens, timeout_s)
        both = await self._post(proxy, tokens, timeout_s)
        took = one.took_s + both.took_s
        wrong = answer_fault(one) or answer_fault(both)
        if wrong:
            return ComparisonResult(None, wrong, took, one.asked and both.asked)
        first, second = completion_text(one), completion_text(both)
        if not first or not second:
            return ComparisonResult(None, f"an answer without text: {first!r} and {second!r}", took)
        if first == second:
            return ComparisonResult(True, f"both answer {first[:60]!r}", took)
        words = f"{alone.id} alone answers {first[:60]!r}, through {proxy.id} {second[:60]!r}"
        return ComparisonResult(False, words, took)

    async def _post(self, engine: EngineSnapshot, tokens: int, timeout_s: float) -> HttpAnswer:
        return await send_trial(self._monitor, self._links[engine.node], engine, timeout_s, tokens=tokens)
