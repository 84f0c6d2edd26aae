"""Waits for what must come true; the only place in the tests where time passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

STEP_S = 0.02


async def until(condition: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> None:
    """Return once the condition holds; fail when it does not within the time (seconds)."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what or condition}"
        await asyncio.sleep(STEP_S)


def until_blocking(condition: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> None:
    """The same where no event loop runs."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what or condition}"
        time.sleep(STEP_S)
