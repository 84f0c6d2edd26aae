"""Sends streaming requests to an OpenAI endpoint and measures them; what the simulated benchmark programs share.
Prints nothing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from console.demo.http import fetch


@dataclass(frozen=True, slots=True)
class Target:
    """The endpoint of the requests, and their form."""

    host: str
    port: int
    path: str
    model: str

    @property
    def chat(self) -> bool:
        """Whether the endpoint takes messages."""
        return self.path.endswith("/chat/completions")


@dataclass(slots=True)
class Outcome:
    """One request; times in seconds."""

    prompt_tokens: int
    sent: float
    output_tokens: int = 0
    first: float | None = None
    gaps: list[float] = field(default_factory=list)
    ended: float = 0.0
    text: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether any piece arrived; like the real tools, it does not check whether a piece has text."""
        return not self.error and self.first is not None

    @property
    def per_token(self) -> float:
        """Seconds per output token after the first."""
        return (self.ended - self.sent - (self.first or 0.0)) / max(1, self.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class Load:
    """The number of requests, and their rate."""

    prompts: int
    input_tokens: int
    output_tokens: int
    concurrency: int | None = None
    """At most this many at once; None for no limit."""
    rate: float = float("inf")
    """Requests a second, exponentially spaced."""


async def send(target: Target, prompt: str, prompt_tokens: int, output_tokens: int) -> Outcome:
    """Run one streaming request to its end; a failure is part of the outcome."""
    put = {"messages": [{"role": "user", "content": prompt}]} if target.chat else {"prompt": prompt}
    body = {"model": target.model, **put, "max_tokens": output_tokens, "stream": True}
    body["stream_options"] = {"include_usage": True}
    started = time.monotonic()
    outcome = Outcome(prompt_tokens, started)
    try:
        headers = {"content-type": "application/json"}
        answer = await fetch(target.host, target.port, "POST", target.path, json.dumps(body).encode(), headers)
        if answer.status != 200:
            outcome.error = f"HTTP {answer.status}"
        last = started
        async for data in _events(answer.pieces):
            last = _take(outcome, data, last)
    except (OSError, EOFError, ValueError) as error:
        outcome.error = f"{type(error).__name__}: {error}"
    outcome.ended = time.monotonic()
    if not outcome.error and outcome.first is None:
        outcome.error = "Never received a valid chunk to calculate TTFT. This response will be marked as failed!"
    return outcome


def _take(outcome: Outcome, data: str, last: float) -> float:
    """Count one event; when it came."""
    event = json.loads(data)
    now = time.monotonic()
    for choice in event.get("choices", ()):
        outcome.text += choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        if outcome.first is None:
            outcome.first = now - outcome.sent
        else:
            outcome.gaps.append(now - last)
        outcome.output_tokens += 1
        last = now
    usage = event.get("usage")
    if usage:
        outcome.output_tokens = usage["completion_tokens"]
    return last


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    pending = b""
    async for piece in pieces:
        pending += piece
        *events, pending = pending.split(b"\n\n")
        for event in events:
            data = event.removeprefix(b"data: ").decode()
            if data and data != "[DONE]":
                yield data


async def run(target: Target, load: Load, seed: int, done: Callable[[int], None]) -> list[Outcome]:
    """Run all requests of a load; `done` receives the count after each."""
    rng = random.Random(seed)
    gate = asyncio.Semaphore(load.concurrency or load.prompts or 1)
    finished = 0

    async def one(index: int) -> Outcome:
        nonlocal finished
        async with gate:
            words = rng.choices(("alpha", "beta", "gamma", "delta"), k=1)[0]
            prompt = (f"{index} {words} " * load.input_tokens)[: load.input_tokens * 4]
            outcome = await send(target, prompt, load.input_tokens, load.output_tokens)
        finished += 1
        done(finished)
        return outcome

    tasks = []
    for index in range(load.prompts):
        tasks.append(asyncio.create_task(one(index)))
        if load.rate != float("inf"):
            await asyncio.sleep(rng.expovariate(load.rate))
    return await asyncio.gather(*tasks)


def percentile(values: list[float], share: float) -> float:
    """Linear interpolation between closest ranks (numpy's default); 0.0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = (len(ordered) - 1) * share / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
