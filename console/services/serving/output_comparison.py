"""Compares the answer of a prefill engine alone with answers through prefill and decode, to the same greedy prompt.

All must start equally. A difference shows a wrong block size, KV layout or weights, which no health check and no log shows.
When only some answers differ, counters of the decode ranks show which rank gave them: each request asks for another number
of tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from console.model.name_ranges import in_order, name_ranges
from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.probes.sanitize import clean
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.serving.answer_checks import answer_fault, completion_text
from console.services.serving.coverage import finished, rank_counters
from console.services.serving.rank_targets import rank_targets
from console.services.serving.trial_request import TOKENS, send_trial

ROUNDS = 5
"""How often at most to ask all decode ranks at once when no number of requests is given."""
DIFFER = "pd-answers-differ"
"""The fact for failure signatures."""

_SERVES = (EngineState.READY, EngineState.DEGRADED)


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """The result of a comparison."""

    agree: bool | None
    """None when nothing could be compared."""
    seen: str
    took_s: float = 0.0
    asked: bool = True
    """Whether both engines could be asked."""
    ranks: tuple[str, ...] = ()
    """The decode ranks whose answers differ; empty when unknown, or when the answers of all differ."""


def comparison_pair(snapshot: ClusterSnapshot) -> tuple[EngineSnapshot, EngineSnapshot] | None:
    """(a prefill engine, the proxy) that serve now, or None."""
    found: dict[str, EngineSnapshot] = {}
    for each in snapshot.engines.values():
        if each.port is not None and "@" not in each.id and each.state in _SERVES:
            found.setdefault(each.role, each)
    if not {"prefill", "decode", "proxy"} <= found.keys():
        return None
    return found["prefill"], found["proxy"]


def agree(alone: str, through: str) -> bool:
    """Whether an answer through the proxy starts with the answer of prefill alone.

    Only these tokens count: later ones may differ between kernels of other sizes without a fault.
    """
    return through.startswith(alone)


def who_answered(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]], tokens: Sequence[int]
) -> dict[int, str]:
    """Tokens of a request -> the rank that answered it: the only one that finished one request with just as many tokens."""
    found: dict[int, list[str]] = {}
    for name in before.keys() & after.keys():
        if finished(after[name]) - finished(before[name]) == 1 and "generation" in after[name]:
            made = after[name]["generation"] - before[name].get("generation", 0.0)
            found.setdefault(int(made), []).append(name)
    return {number: found[number][0] for number in tokens if len(found.get(number, ())) == 1}


@dataclass(slots=True)
class Tally:
    """Counts answers through the proxy that differ from prefill alone. Pure."""

    ranks: frozenset[str]
    """The serving decode ranks."""
    prefills: int = 1
    """The number of serving prefill engines."""
    answers: int = 0
    odd: list[tuple[str, str]] = field(default_factory=list)
    """(prefill alone, through the proxy) of each that differs."""
    odd_rounds: int = 0
    text: str = ""
    """The last answer of prefill alone."""
    right: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)

    def add(self, alone: str, through: Mapping[int, str], who: Mapping[int, str]) -> None:
        """Count the answers of one round, by their tokens, and the ranks that gave them, where known."""
        odd = {number: text for number, text in through.items() if not agree(alone, text)}
        self.text = alone
        self.answers += len(through)
        self.odd += [(alone, text) for text in odd.values()]
        self.odd_rounds += bool(odd)
        for number, rank in who.items():
            (self.wrong if number in odd else self.right).add(rank)

    @property
    def differ(self) -> bool:
        """Whether answers differ. A difference counts only when two rounds show it, because one answer may come too late."""
        return self.odd_rounds > 1

    @property
    def named(self) -> tuple[str, ...]:
        """The ranks whose every answer differs, while those of other ranks do not."""
        return tuple(in_order(self.wrong - self.right)) if self.differ and self.right else ()

    def missed(self) -> list[str]:
        """The ranks that no answer came from, as far as counters show; none when they show nothing."""
        return in_order(self.ranks - self.right - self.wrong) if self.right | self.wrong else []

    def settled(self, wanted: int | None) -> bool:
        """Whether to ask no more: at least `wanted` were answered and came from every rank; None: any number is enough."""
        if self.odd:
            return self.differ and (len(self.odd) == self.answers or bool(self.named))
        return wanted is None or (self.answers >= wanted and not self.missed())

    def words(self, alone: str, proxy: str) -> str:
        """What was seen, in one line."""
        if not self.differ:
            some = f"; {len(self.odd)} of {self.answers} answers differed, but not again" if self.odd else ""
            times = "once" if self.answers == 1 else f"{self.answers} times"
            return f"both answer {clean(self.text)[:60]!r}, {times} through {proxy}{some}{self._gap()}"
        first, second = (clean(each)[:60] for each in self.odd[0])
        words = f"{alone} alone answers {first!r}, through {proxy} {second!r}"
        if len(self.odd) == self.answers:
            return words
        count = f"{len(self.odd)} of {self.answers} answers differ"
        if not self.named:
            hint = "verify again with more --requests while no other requests run"
            return f"{count}: {words}; the decode rank is not known: {hint}"
        fed = " or a prefill engine that feeds it" if self.prefills > 1 else ""
        return f"{count}, by counters those of {name_ranges(self.named)}{fed}: {words}"

    def _gap(self) -> str:
        if self.missed():
            return f"; by counters none came from {name_ranges(self.missed())}: verify again with more --requests"
        return "" if self.right else "; which decode ranks answered is not known"


class OutputComparison:
    """Compares outputs and keeps a difference as a fact for the diagnosis."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links
        self._alone = asyncio.Lock()
        """One comparison at a time, so that counters do not show requests of another one."""

    async def compare(self, timeout_s: float, requests: int | None = None) -> ComparisonResult:
        """Request a few tokens from prefill alone, and through the proxy as often at once as there are decode ranks.

        With `requests`, ask again until that many were answered and every rank was reached, or for ROUNDS. A difference is
        asked again in any case, until it appeared twice and its rank is known, or for ROUNDS.
        """
        async with self._alone:
            return await self._compare(timeout_s, requests)

    async def _compare(self, timeout_s: float, requests: int | None) -> ComparisonResult:
        sides = comparison_pair(self._monitor.snapshot)
        if sides is None:
            return ComparisonResult(None, "there is no serving prefill engine with a serving proxy", asked=False)
        alone, proxy = sides
        key = self._monitor.current(proxy.id)
        decode = self._serving("decode")
        known = {each.id for each in decode}
        ranks = frozenset(each.id for each in rank_targets(self._monitor.deployment) if each.server in known)
        tally, took = Tally(ranks, len(self._serving("prefill"))), 0.0
        for _ in range(max(ROUNDS, -(-(requests or 0) // max(1, len(ranks))))):
            failed = await self._round(sides, decode, tally, timeout_s)
            took += failed.took_s
            if failed.seen and not tally.differ:
                return failed
            if failed.seen or tally.settled(requests):
                break
        found = ComparisonResult(not tally.differ, tally.words(alone.id, proxy.id), took, ranks=tally.named)
        if key is not None:
            self._keep(key, found)
        return found

    def _serving(self, role: str) -> list[EngineSnapshot]:
        engines = self._monitor.snapshot.engines.values()
        found = [each for each in engines if each.role == role and each.port is not None]
        return [each for each in found if "@" not in each.id and each.state in _SERVES]

    def _keep(self, key: RunKey, found: ComparisonResult) -> None:
        facts = self._monitor.run_record(key).facts
        if found.agree:
            facts.pop(DIFFER, None)
        else:
            facts[DIFFER] = found.seen
        self._monitor.touch()

    async def _round(
        self,
        sides: tuple[EngineSnapshot, EngineSnapshot],
        decode: Sequence[EngineSnapshot],
        tally: Tally,
        timeout_s: float,
    ) -> ComparisonResult:
        """Ask once, all ranks at the same time, because a proxy gives the next request to an idle engine."""
        alone, proxy = sides
        # More tokens than test requests of the monitor, so that counters do not take one for the other.
        tokens = [TOKENS + 1 + at for at in range(max(1, len(tally.ranks)))]
        before = await rank_counters(self._monitor, self._links, decode)
        one = await self._post(alone, TOKENS, timeout_s)
        several = await asyncio.gather(*(self._post(proxy, each, timeout_s) for each in tokens))
        after = await rank_counters(self._monitor, self._links, decode)
        took = one.took_s + max(each.took_s for each in several)
        for each in (one, *several):
            if wrong := answer_fault(each):
                return ComparisonResult(None, wrong, took, all(answer.asked for answer in (one, *several)))
        first, texts = completion_text(one), [completion_text(each) for each in several]
        if not first or not all(texts):
            empty = next((each for each in texts if not each), texts[0])
            return ComparisonResult(None, f"an answer without text: {first!r} and {empty!r}", took)
        tally.add(first, dict(zip(tokens, texts, strict=True)), who_answered(before, after, tokens))
        return ComparisonResult(None, "", took)

    async def _post(self, engine: EngineSnapshot, tokens: int, timeout_s: float) -> HttpAnswer:
        return await send_trial(self._monitor, self._links[engine.node], engine, timeout_s, tokens=tokens)
