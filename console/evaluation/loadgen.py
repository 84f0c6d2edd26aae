"""The built-in load generator, for a quick estimate without `vllm bench serve` and AISBench.

It sends requests at fixed times (open loop) or keeps a fixed number of requests running (closed loop). The caller provides the
function that sends one request; `statistics` evaluates the times.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

from console.evaluation.arrival_schedule import ClosedLoop, Load, OpenLoop
from console.evaluation.statistics import Timed

Send = Callable[[str, float], Awaitable[Timed]]
"""(prompt, planned send time on the monotonic clock) → result; never raises for errors of the server."""
Counted = Callable[[int, int], None]
"""(number of ended requests, number of failed ones)."""


ASLEEP_S = 0.02


class Lateness:
    """Measures how late this machine wakes a sleeping task during a run, which is the error of all measured times."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Lateness:
        """Start to measure."""
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop to measure."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + ASLEEP_S
            await asyncio.sleep(ASLEEP_S)
            self.seconds.append(max(0.0, time.monotonic() - due))


async def generate(load: Load, prompts: Sequence[str], send: Send, counted: Counted | None = None) -> tuple[Timed, ...]:
    """Send every prompt once; returns the results in the order of the planned send times. A cancel cancels all requests."""
    run = _Run(send, counted)
    if isinstance(load, OpenLoop):
        return await run.open_loop(load, prompts)
    return await run.closed_loop(load, prompts)


class _Run:
    """One run."""

    def __init__(self, send: Send, counted: Counted | None) -> None:
        self._send = send
        self._counted = counted
        self._ended = 0
        self._failed = 0

    async def open_loop(self, load: OpenLoop, prompts: Sequence[str]) -> tuple[Timed, ...]:
        """Send each prompt at its own time."""
        gate = asyncio.Semaphore(load.max_in_flight) if load.max_in_flight else None
        began = time.monotonic()
        tasks = []
        async with asyncio.TaskGroup() as group:
            for prompt, after in zip(prompts, load.due(), strict=True):
                await asyncio.sleep(max(0.0, began + after - time.monotonic()))
                tasks.append(group.create_task(self._one(prompt, began + after, gate)))
        return tuple(task.result() for task in tasks)

    async def closed_loop(self, load: ClosedLoop, prompts: Sequence[str]) -> tuple[Timed, ...]:
        """Run a number of users; each sends its next prompt after its last answer."""
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
        if self._counted is not None:
            self._counted(self._ended, self._failed)
        return timed
