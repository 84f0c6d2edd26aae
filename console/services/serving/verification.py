"""Proves a deployment by using it: streamed chats through its door until every engine has served, and a golden comparison.

The door is the proxy, else the first engine with a port. Nothing on a node changes but what requests do by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from console.model.errors import Refused, UsageError
from console.model.snapshot import EngineSnapshot, EngineState, Grade, Rung
from console.probes.metrics import parse_metrics
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.serving.access import client
from console.services.serving.answers import ChatStream
from console.services.serving.golden import Golden, pair
from console.services.serving.health import expected_model

AT_ONCE = 16
MOST = 64
GOLDEN_TOKENS = 16
SCRAPE_S = 5.0


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing that was tried."""

    name: str
    passed: bool | None
    """None when it could not be tried or proves nothing."""
    seen: str
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that was tried, in order."""

    proofs: tuple[Proof, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and at least one chat was answered."""
        return all(each.passed is not False for each in self.proofs) and any(each.passed for each in self.proofs)


@dataclass(frozen=True, slots=True)
class Ask:
    """What is tried, and how."""

    prompt: str = "Say hello."
    requests: int = 0
    """Chats; 0 means as often as there are pairs of prefill and decode engines, at most MOST."""
    timeout_s: float = 120.0
    """Limit of each request."""
    tokens: int = 16
    hear: Callable[[int, str], None] | None = None
    """Hears the text of each chat as it comes, with the chat's number."""


class Verifier:
    """Asks the engines of one session."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links
        self._golden = Golden(monitor, links)

    async def run(self, notice: Callable[[Proof], None], ask: Ask | None = None) -> Verification:
        """Chat as often as asked, then compare prefill alone with both; `notice` hears each proof as it comes.

        Raises UsageError for numbers that cannot be, Refused when no door serves.
        """
        ask = ask or Ask()
        if ask.requests < 0 or ask.timeout_s <= 0:
            raise UsageError("a number of requests and a time limit are above 0")
        door = self._door()
        proofs: list[Proof] = []

        def tell(proof: Proof) -> None:
            proofs.append(proof)
            notice(proof)

        count = ask.requests or min(MOST, max(1, len(self._with_port("prefill"))) * max(1, len(self._servers()[1])))
        before = await self._served()
        gate = asyncio.Semaphore(AT_ONCE)

        async def chat(number: int) -> None:
            async with gate:
                tell(await self._chat(door, number, ask))

        await asyncio.gather(*(chat(number) for number in range(1, count + 1)))
        tell(_coverage(before, await self._served(), self._labels()))
        if door.role == "proxy" and self._with_port("prefill") and self._with_port("decode"):
            tell(await self._compare(door, ask.timeout_s))
        made = Verification(tuple(proofs))
        key = self._monitor.current(door.id)
        if made.passed and key is not None:
            self._monitor.learnt(key).works = Rung("works", Grade.OK, f"{count} chats were answered", time.time())
            self._monitor.touch()
        return made

    def _with_port(self, role: str) -> list[EngineSnapshot]:
        engines = self._monitor.snapshot.engines.values()
        return [each for each in engines if each.role == role and each.port is not None and "@" not in each.id]

    def _servers(self) -> tuple[list[EngineSnapshot], list[EngineSnapshot]]:
        return self._with_port("prefill"), [*self._with_port("decode"), *self._with_port("mixed")]

    def _door(self) -> EngineSnapshot:
        found = [*self._with_port("proxy"), *self._with_port("mixed")]
        if not found:
            raise Refused(
                "the deployment has no proxy and no engine that could answer", hint="assign nodes, then start"
            )
        door = found[0]
        if door.state not in (EngineState.READY, EngineState.DEGRADED):
            raise Refused(f"{door.id} is {door.state}, so nothing can be verified", hint="start it first; see `status`")
        return door

    async def _chat(self, door: EngineSnapshot, number: int, ask: Ask) -> Proof:
        # With one prompt for all, prefix caches would spare most engines the work that is to be proven.
        messages = [{"role": "user", "content": f"{ask.prompt} (request {number})"}]
        body = {"messages": messages, "max_tokens": ask.tokens, "temperature": 0, "stream": True}
        stream = ChatStream()

        def hear(data: bytes) -> None:
            if (text := stream.feed(data)) and ask.hear is not None:
                ask.hear(number, clean(text))

        address = self._monitor.deployment.address(door.node) or "127.0.0.1"
        full = {"model": expected_model(self._monitor.deployment), **body}
        http = client(self._links[door.node], self._monitor.deployment.layout, door.group)
        answer = await http.post_json(address, door.port or 0, "/v1/chat/completions", full, ask.timeout_s, hear)
        passed, seen = stream.verdict(answer)
        return Proof(f"chat {number} through {door.id}", passed, seen, answer.took_s)

    async def _compare(self, door: EngineSnapshot, timeout_s: float) -> Proof:
        sides = pair(self._monitor.snapshot)
        found = await self._golden.compare(GOLDEN_TOKENS, timeout_s)
        name = f"golden: {sides[0].id if sides else 'prefill'} alone and through {door.id}"
        if found.agree is not False:
            return Proof(name, found.agree or False, found.seen, found.took_s)
        mend = "check block size, KV layout and quantization of both"
        return Proof(name, False, f"they differ (E9): {found.seen}; {mend}", found.took_s)

    async def _served(self) -> dict[str, float]:
        """Requests that each engine has finished; engines whose metrics cannot be read are missing."""
        engines = [each for part in self._servers() for each in part]

        async def read(engine: EngineSnapshot) -> dict[str, float]:
            address = self._monitor.deployment.address(engine.node) or "127.0.0.1"
            answer = await self._links[engine.node].http().get(address, engine.port or 0, "/metrics", SCRAPE_S)
            if answer.status != 200 or answer.error:
                return {}
            return {
                f"{engine.group}-{label}": sum(
                    value for name, value in each.counters.items() if name.startswith("finished:")
                )
                for label, each in parse_metrics(answer.body, 0.0).engines.items()
            }

        found: dict[str, float] = {}
        for part in await asyncio.gather(*(read(engine) for engine in engines)):
            found.update(part)
        return found

    def _labels(self) -> tuple[str, ...]:
        """Every data-parallel rank, as its metrics name it."""
        return tuple(
            f"{rank.group}-{rank.dp_rank + local}"
            for rank in self._monitor.deployment.ranks()
            for local in range(rank.local_size)
        )


def _coverage(before: Mapping[str, float], after: Mapping[str, float], labels: tuple[str, ...]) -> Proof:
    """Which ranks finished requests in between. One that got none is no failure: who gets what is the proxy's choice."""
    known = [name for name in labels if name in before and name in after]
    idle = [name for name in known if after[name] <= before[name]]
    unknown = len(labels) - len(known)
    words = f"{len(known) - len(idle)} of {len(labels)} ranks served requests"
    if idle:
        words += f"; none came to {', '.join(idle[:8])}" + (" …" if len(idle) > 8 else "")
    if unknown:
        words += f"; of {unknown} it is not known"
    return Proof("ranks", True if not idle and not unknown else None, words)
