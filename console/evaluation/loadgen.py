"""The built-in load generator: a quick look where neither `vllm bench serve` nor AISBench is installed.

It sends on time whatever the server does (open loop) or keeps so many requests going (closed loop). How one request is sent
is given to it; what the times mean is in `statistics`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

from console.evaluation.arrival_schedule import ClosedLoop, Load, OpenLoop
from console.evaluation.statistics import Timed

Send = Callable[[str, float], Awaitable[Timed]]
"""(prompt, when it was due on the monotonic clock) → how it went; never raises for what the server does."""
Told = Callable[[int, int], None]
"""(requests that ended, of those failed)."""


ASLEEP_S = 0.02


class Lateness:
    """How late this machine wakes who sleeps, over a run: every time that is measured here may be off by as much."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Lateness:
        """Begin to sleep and to look at the clock."""
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Enough."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + ASLEEP_S
            await asyncio.sleep(ASLEEP_S)
            self.seconds.append(max(0.0, time.monotonic() - due))


async def generate(load: Load, prompts: Sequence[str], send: Send, told: Told | None = None) -> tuple[Timed, ...]:
    """Send every prompt once and give how each went, in the order they were due. Cancelling it cancels all requests."""
    run = _Run(send, told)
    if isinstance(load, OpenLoop):
        return await run.open_loop(load, prompts)
    return await run.closed_loop(load, prompts)


class _Run:
    """One run."""

    def __init__(self, send: Send, told: Told | None) -> None:
        self._send = send
        self._told = told
        self._ended = 0
        self._failed = 0

    async def open_loop(self, load: OpenLoop, prompts: Sequence[str]) -> tuple[Timed, ...]:
        """Each at its own time."""
        gate = asyncio.Semaphore(load.max_in_flight) if load.max_in_flight else None
        began = time.monotonic()
        tasks = []
        async with asyncio.TaskGroup() as group:
            for prompt, after in zip(prompts, load.due(), strict=True):
                await asyncio.sleep(max(0.0, began + after - time.monotonic()))
                tasks.append(group.create_task(self._one(prompt, began + after, gate)))
        return tuple(task.result() for task in tasks)

    async def closed_loop(self, load: ClosedLoop, prompts: Sequence[str]) -> tuple[Timed, ...]:
        """So many users, each with its next prompt as soon as it has an answer."""
        waiting = iter(enumerate(prompts))
        done: dict[int, Timed] = {}

        async def user() -> None:
            for index, prompt in waiting:
                done[index] = await self._one(prompt, time.monotonic(), None)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(load.concurrency, len(prompts))):
                group.create_task(user())
        return tuple(done[index] for index in sorted(done))

    async def _one(self, prompt: str, due: float, gate: asyncio.Semaphore | None) -> Timed:
        if gate is None:
            timed = await self._send(prompt, due)
        else:
            async with gate:
                timed = await self._send(prompt, due)
        self._ended += 1
        self._failed += bool(timed.error)
        if self._told is not None:
            self._told(self._ended, self._failed)
        return timed
