"""Runs the long-lived tasks of a session; a failed task is reported and restarted after a growing delay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
WELL_S = 60.0
"""A task that ran this long has recovered: its fault is cleared and its delay reset."""
FAULTS = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""Exceptions that unforeseen data can raise in code that reads it."""

Service = Callable[[], Coroutine[None, None, None]]


def fault_text(error: BaseException) -> str:
    """An exception as one short line."""
    return f"{type(error).__name__}: {error!s:.200}"


class BackgroundTasks:
    """The tasks of one session."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        """`report(name, fault)` is called when a task failed, and with an empty fault when it has recovered."""
        self._report = report
        self._tasks: list[asyncio.Task[None]] = []
        self._faults: dict[str, str] = {}

    @property
    def faults(self) -> Mapping[str, str]:
        """Failed tasks -> their error, until they recover."""
        return self._faults

    def start(self, name: str, service: Service) -> None:
        """Run a service until `close`; `service` gives a new coroutine for each start."""
        self._tasks.append(asyncio.create_task(self._keep(name, service), name=name))

    async def close(self) -> None:
        """Cancel all tasks."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, name: str, service: Service) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            began = time.monotonic()
            running = asyncio.ensure_future(asyncio.gather(service(), return_exceptions=True))
            if name in self._faults:
                await asyncio.wait({running}, timeout=WELL_S)
                if not running.done():
                    del self._faults[name]
                    self._report(name, "")
            [outcome] = await running
            wait_s = FIRST_WAIT_S if time.monotonic() - began > WELL_S else wait_s
            self._faults[name] = fault_text(outcome) if isinstance(outcome, BaseException) else "it ended"
            self._report(name, self._faults[name])
            await asyncio.sleep(wait_s)
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)
