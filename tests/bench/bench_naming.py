"""How soon a failure that is planted in a serving lab is named: `python -m tests.bench.bench_naming [NAME…]`.

Each line says how long it took from the first moment at which somebody could notice, and how often the question that shows it
is asked. The bar is two of those, and what the failure itself must have lasted (a hang is one only after `hang_s`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from console.demo.processes import descendants
from console.services.monitoring.intervals import Intervals
from console.services.session import Session
from tests.e2e.cluster import Lab
from tests.services.serving.labs import LAYOUT, load_on, named, ready, small_lab, watched
from tests.services.serving.test_planted import WHOLE, below
from tests.waiting import until

ASKED = Intervals(golden_s=30.0, works_s=20.0, drift_s=20.0)
"""As in daily use, but for the two rare questions, which would make this run for an hour."""


@dataclass(frozen=True, slots=True)
class Case:
    """One failure, what names it, and by which question."""

    signature: str
    engine: str
    every_s: float
    """How often the question that shows it is asked."""
    fault: tuple[str, str, str] | None = None
    """Node, selector and kind of a file; None where `harm` does it."""
    harm: Callable[[Session], object] | None = None
    lasts_s: float = 0.0
    """How long it must last before it is one."""


def kill(pick: Callable[[Session], int | None]) -> Callable[[Session], object]:
    """Kill a process of the lab."""
    return lambda session: os.kill(pick(session) or 0, signal.SIGKILL)


CASES = {
    "hang with 200": Case("S1", "decode-1", ASKED.metrics_s, ("d0", "decode-1", "hang"), lasts_s=ASKED.hang_s),
    "worker stopped by a signal": Case(
        "S1",
        "decode-1",
        5.0,
        harm=lambda session: os.kill(max(descendants(session.snapshot.engines["decode-1"].pid or 0)), signal.SIGSTOP),
    ),
    "wrong model name": Case("S4", "decode-0", ASKED.metrics_s, ("d0", "decode-0", "model-name")),
    "wrong block size": Case("E9", "proxy", ASKED.golden_s, ("d0", "decode", "block-size")),
    "KV cache full": Case("S2", "", ASKED.metrics_s, ("d0", "decode", "small-kv 12")),
    "preemption storm": Case("S3", "decode-0", ASKED.metrics_s, ("d0", "decode-0", "preempt 20")),
    "headless peer dead": Case("F10", "whole-1", 5.0, ("m1", "mixed-1", "oom-kill")),
    "engine core killed, exit 0": Case(
        "F1", "decode-1", 5.0, harm=kill(lambda session: below(session.snapshot.engines["decode-1"].pid, "EngineCore"))
    ),
    "dead rank behind the proxy": Case(
        "E13",
        "proxy",
        ASKED.health_s,
        harm=kill(lambda session: below(session.snapshot.engines["decode-1"].pid, "EngineCore")),
    ),
    "proxy down": Case("S6", "proxy", 5.0, harm=kill(lambda session: session.snapshot.engines["proxy"].pid)),
}


@contextlib.asynccontextmanager
async def loaded(made: Lab) -> AsyncIterator[None]:
    """Chats through the proxy, whatever comes back."""
    async with load_on(made):
        yield


async def measure(made: Lab, name: str, case: Case) -> None:
    """Plant one failure and print how long its name took."""
    async with watched(made, ASKED) as session:
        await until(ready(session), 120.0, "all ready")
        await until(lambda: not session.snapshot.diagnoses, 60.0, "nothing named")
        await asyncio.sleep(2 * ASKED.works_first_s)
        async with loaded(made):
            begun = time.monotonic()
            if case.fault is not None:
                made.fail(*case.fault)
            if case.harm is not None:
                case.harm(session)
            await until(named(session, case.signature, case.engine), 300.0, name)
            took = time.monotonic() - begun
    bar = 2 * case.every_s + case.lasts_s
    more = f" + {case.lasts_s:.0f} s that it lasts" if case.lasts_s else ""
    share = max(0.0, took - case.lasts_s) / case.every_s
    print(
        f"{name:28} {case.signature:4} after {took:5.1f} s = {share:.1f} cadences{more}   bar: 2 ({bar:.0f} s)",
        flush=True,
    )


def main() -> None:
    """Each case in a lab of its own, because a failure leaves nothing as it was."""
    for name in sys.argv[1:] or CASES:
        layout = LAYOUT.replace("proxy:", WHOLE).replace("decode: [d0]}", "decode: [d0], whole: [m0, m1]}")
        with (
            tempfile.TemporaryDirectory() as root,
            small_lab(Path(root), layout=layout, names=("p0", "d0", "m0", "m1")) as lab,
        ):
            asyncio.run(measure(lab, name, CASES[name]))


if __name__ == "__main__":
    main()
