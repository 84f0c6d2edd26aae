"""Failures planted in a real vLLM over real sshd: is the right rank named first, by the right failure, and how soon?

Run: `python -m tests.bench.bench_planted_real PLACE [MODE…]` with a directory that holds `venv` (vLLM 0.21 on CPU), `tiny` and
`tinymoe`; modes are `single`, `internal` and `external`, all without one. Needs two idle cores: vLLM itself gives up a start that
takes it too long. Prints a line for each failure: what was planted, who was named first by what and after how many seconds, and
whether that is right; exits 1 when one is not.
"""

from __future__ import annotations

import argparse
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

from console.cli.options import add_cluster_options, deployment_of
from console.model.snapshot import EngineState
from console.services.monitoring.cadences import Cadences
from console.services.session import Session
from tests.bench.real_lab import PORT, RealLab, Traffic, pids, real_lab

NAMED_S, READY_S, SETTLE_S = 90.0, 420.0, 25.0
OVERRIDES = (13,)
"""Checks of the preflight that cannot pass where other labs run engines on the same machine."""


@dataclass(frozen=True)
class Planted:
    """A failure: the process that is hit, how, and what must be named first."""

    engine: str
    process: str
    """A word of its title; empty for the main process."""
    blow: signal.Signals
    first: tuple[str, ...]
    """Signatures of which one must be the first cause."""

    def __str__(self) -> str:
        return f"{self.blow.name[3:]} {self.process or 'main'} of {self.engine}"


MODES = {
    "single": (
        Planted("whole-0", "Worker", signal.SIGSTOP, ("S1",)),
        Planted("whole-0", "EngineCore", signal.SIGSTOP, ("S1",)),
        Planted("whole-0", "Worker", signal.SIGKILL, ("F2",)),
        Planted("whole-0", "EngineCore", signal.SIGKILL, ("F1",)),
    ),
    "internal": (
        Planted("whole-1", "EngineCore", signal.SIGSTOP, ("S1",)),
        Planted("whole-1", "EngineCore", signal.SIGKILL, ("F10",)),
        Planted("whole-0", "EngineCore", signal.SIGKILL, ("F1",)),
        Planted("whole-1", "Worker", signal.SIGKILL, ("F2",)),
        Planted("whole-1", "", signal.SIGKILL, ("F10",)),
    ),
    "external": (
        Planted("whole-1", "Worker", signal.SIGSTOP, ("S1",)),
        Planted("whole-1", "EngineCore", signal.SIGKILL, ("F1",)),
        Planted("whole-0", "", signal.SIGKILL, ("F10",)),
    ),
}


@contextlib.asynccontextmanager
async def watched(lab: RealLab) -> AsyncIterator[Session]:
    """A session as the screen has it, with the cadences that operators have."""
    parser = argparse.ArgumentParser()
    add_cluster_options(parser)
    words = ["--cluster", str(lab.file), "--layout", str(lab.layout)]
    deployment = deployment_of(parser.parse_args(words))
    session = Session(
        deployment.cluster,
        deployment.layout,
        deployment.assignment,
        state_dir=lab.state / "watching",
        cadences=Cadences(),
    )
    await session.open()
    try:
        yield session
    finally:
        await session.close()


async def _within(condition: Callable[[], bool], limit_s: float) -> float | None:
    """Seconds until it held; None when it did not in time."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > limit_s:
            return None
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


def _first(session: Session) -> tuple[str, str]:
    return next(((each.engine, each.signature) for each in session.snapshot.diagnoses if each.first), ("", ""))


def _ready(session: Session) -> bool:
    return all(each.state is EngineState.READY for each in session.snapshot.engines.values())


async def plant(session: Session, planted: Planted, traffic: Traffic) -> bool:
    """Hit, watch, print; whether the right rank was named."""
    assert await asyncio.to_thread(traffic.served, 4, 120.0), "it serves before it is hit"
    main = session.snapshot.engines[planted.engine].pid
    assert main is not None
    victim = pids(main, planted.process)[0] if planted.process else main
    os.kill(victim, planted.blow)
    named: list[tuple[str, str]] = []
    begun = time.monotonic()
    shown: dict[str, list[str]] = {}

    def first_named() -> bool:
        for each in session.snapshot.engines.values():
            seen = shown.setdefault(each.id, [])
            if not seen or not seen[-1].endswith(f" {each.state}"):
                seen.append(f"{time.monotonic() - begun:.1f} {each.state}")
        if (first := _first(session))[0] and first not in named:
            named.append(first)
        return bool(named)

    took = await _within(first_named, NAMED_S)
    wanted = [(planted.engine, each) for each in planted.first]
    right = await _within(lambda: first_named() and _first(session) in wanted, SETTLE_S)
    await _within(
        lambda: first_named() and all(not each.state.alive for each in session.snapshot.engines.values()), SETTLE_S
    )
    last = _first(session)
    ok = last in wanted and all(engine == planted.engine for engine, _ in named)
    told = ", ".join(f"{signature} of {engine}" for engine, signature in named) or "nothing"
    late = "never" if took is None or right is None else f"{took + right:.1f} s"
    print(
        f"{'ok   ' if ok else 'WRONG'} {planted}: {told}; right after {late}; service {session.snapshot.service}",
        flush=True,
    )
    for each in session.snapshot.engines.values():
        print(f"        {each.id} {', '.join(shown[each.id])}: {each.cause[:150]}", flush=True)
    if planted.blow is signal.SIGSTOP:
        os.kill(victim, signal.SIGCONT)
        await _within(lambda: _ready(session), 120.0)
    return ok


async def _mode(mode: str, place: Path, only: str) -> bool:
    with tempfile.TemporaryDirectory() as folder, real_lab(Path(folder), place, mode) as lab:
        overrides = [word for number in OVERRIDES for word in ("--override", str(number))]
        ports = [(lab.node("n0").host, PORT), *([(lab.node("n1").host, PORT)] if mode == "external" else [])]
        good, running = True, False
        for planted in MODES[mode]:
            if only not in str(planted):
                continue
            if not running:
                said = await asyncio.to_thread(
                    lab.run, "restart" if lab.state.exists() else "start", "--yes", *overrides
                )
                if said.startswith("[exit"):
                    print(said[-1500:])
                    return False
            async with watched(lab) as session:
                assert await _within(lambda s=session: _ready(s), READY_S) is not None  # type: ignore[misc]
                with Traffic(ports) as traffic:
                    good = await plant(session, planted, traffic) and good
            running = planted.blow is signal.SIGSTOP
        return good


def main() -> int:
    """Every mode asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("modes", nargs="*", default=list(MODES), choices=list(MODES))
    parser.add_argument("--only", default="", help="failures whose name holds this")
    given = parser.parse_args()
    return int(not all(asyncio.run(_mode(mode, given.place, given.only)) for mode in given.modes))


if __name__ == "__main__":
    sys.exit(main())
