"""Proves a deployment by using it: streamed chats through its door until every engine has served, and a golden comparison.

The door is the proxy, else the first engine with a port. Nothing on a node changes but what requests do by themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from console.model.errors import Refused, UsageError
from console.model.snapshot import EngineSnapshot, EngineState
from console.probes.metrics import parse_metrics
from console.probes.sanitize import clean
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.health import expected_model
from console.services.monitor import Monitor
from console.services.works import complaint

AT_ONCE = 16
MOST = 64
GOLDEN_TOKENS = 16
GOLDEN_PROMPT = "The capital of France is"
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


class Verifier:
    """Asks the engines of one session."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links

    async def run(
        self,
        notice: Callable[[Proof], None],
        *,
        prompt: str = "Say hello.",
        requests: int = 0,
        timeout_s: float = 120.0,
    ) -> Verification:
        """Chat `requests` times (0: as often as there are pairs of prefill and decode engines, at most MOST), then compare.

        `notice` hears each proof as it comes; `timeout_s` limits each request. Raises Refused when no door serves.
        """
        if requests < 0 or timeout_s <= 0:
            raise UsageError("a number of requests and a time limit are above 0")
        door = self._door()
        proofs: list[Proof] = []

        def tell(proof: Proof) -> None:
            proofs.append(proof)
            notice(proof)

        count = requests or min(MOST, max(1, len(self._with_port("prefill"))) * max(1, len(self._servers()[1])))
        before = await self._served()
        gate = asyncio.Semaphore(AT_ONCE)

        async def chat(number: int) -> None:
            async with gate:
                tell(await self._chat(door, number, prompt, timeout_s))

        await asyncio.gather(*(chat(number) for number in range(1, count + 1)))
        tell(_coverage(before, await self._served(), self._labels()))
        if door.role == "proxy" and self._with_port("prefill") and self._with_port("decode"):
            tell(await self._golden(door, timeout_s))
        return Verification(tuple(proofs))

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

    async def _post(self, engine: EngineSnapshot, path: str, ask: Mapping[str, object], timeout_s: float) -> HttpAnswer:
        address = self._monitor.deployment.address(engine.node) or "127.0.0.1"
        body = {"model": expected_model(self._monitor.deployment), **ask}
        return await self._links[engine.node].http().post_json(address, engine.port or 0, path, body, timeout_s)

    async def _chat(self, door: EngineSnapshot, number: int, prompt: str, timeout_s: float) -> Proof:
        # With one prompt for all, prefix caches would spare most engines the work that is to be proven.
        messages = [{"role": "user", "content": f"{prompt} (request {number})"}]
        ask = {"messages": messages, "max_tokens": 16, "temperature": 0, "stream": True}
        answer = await self._post(door, "/v1/chat/completions", ask, timeout_s)
        passed, seen = streamed(answer)
        return Proof(f"chat {number} through {door.id}", passed, seen, answer.took_s)

    async def _golden(self, door: EngineSnapshot, timeout_s: float) -> Proof:
        ask = {"prompt": GOLDEN_PROMPT, "max_tokens": GOLDEN_TOKENS, "temperature": 0, "seed": 0}
        alone = self._with_port("prefill")[0]
        one = await self._post(alone, "/v1/completions", ask, timeout_s)
        both = await self._post(door, "/v1/completions", ask, timeout_s)
        name = f"golden: {alone.id} alone and through {door.id}"
        wrong = complaint(one) or complaint(both)
        if wrong:
            return Proof(name, False, wrong, one.took_s + both.took_s)
        first, second = completion_text(one), completion_text(both)
        if not first or not second:
            return Proof(name, False, f"an answer without text: {first!r} and {second!r}", one.took_s + both.took_s)
        if first == second:
            return Proof(name, True, f"both say {first[:60]!r}", one.took_s + both.took_s)
        return Proof(
            name,
            False,
            f"they differ (E9): {first[:60]!r} and {second[:60]!r}; check block size, KV layout and quantization of both",
            one.took_s + both.took_s,
        )

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


def streamed(answer: HttpAnswer) -> tuple[bool, str]:
    """(whether it is a whole streamed chat with text in it, the text or what is wrong)."""
    if answer.status != 200 or answer.error or not answer.body.strip():
        return False, complaint(answer).replace("completion", "chat", 1)
    text, pieces, done = "", 0, False
    for line in answer.body.decode("utf-8", "replace").splitlines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if data == "[DONE]":
            done = True
        elif data:
            said, error = _piece(data)
            if error:
                return False, f"chat 200, then {clean(error)[:160]}"
            text, pieces = text + said, pieces + 1
    if not pieces:
        return False, f"chat 200, but no stream: {clean(answer.body[:120].decode('utf-8', 'replace'))}"
    if not text.strip():
        return False, "chat 200 with no text in it"
    return done, clean(text)[:120] if done else f"the stream broke off after {clean(text)[:80]!r}"


def _piece(data: str) -> tuple[str, str]:
    """(text, error) of one event of the stream; reasoning counts as text."""
    try:
        found = json.loads(data)
    except ValueError:
        return "", f"an event that is no JSON: {data[:80]}"
    if not isinstance(found, dict):
        return "", f"an event that is no chat: {data[:80]}"
    if "error" in found:
        return "", f"the error {found['error']}"
    words = ""
    choices = found.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") if isinstance(choice, dict) else None
        for key in ("reasoning_content", "reasoning", "content"):
            part = delta.get(key) if isinstance(delta, dict) else None
            words += part if isinstance(part, str) else ""
    return words, ""


def completion_text(answer: HttpAnswer) -> str:
    """The text of a completion that `complaint` has nothing to say against; empty without one."""
    try:
        text = json.loads(answer.body)["choices"][0]["text"]
    except (ValueError, KeyError, TypeError, IndexError):
        return ""
    return text if isinstance(text, str) else ""
