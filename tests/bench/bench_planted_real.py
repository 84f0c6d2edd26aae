"""Failures planted in a real vLLM over real sshd: is the right rank named first, by the right failure, and how soon?

Run: `python -m tests.bench.bench_planted_real PLACE [MODE…] [--only TEXT]` with a directory that holds `venv` (vLLM 0.21 on
CPU), `tiny` and `tinymoe`; what is planted in which mode is in `real_plants`, all modes without one. Needs two idle cores: vLLM
itself gives up a start that takes it too long. Prints for each failure what was planted, who was named first by what and after
how many seconds, what the service was called, and whether that is right; exits 1 when one is not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from console.cli.options import add_cluster_options, deployment_of
from console.model.snapshot import Diagnosis, EngineState
from console.services.monitoring.intervals import Intervals
from console.services.session import Session
from tests.bench.real_lab import PORT, PROXY_PORT, SIZES, RealLab, Traffic, pids, real_lab
from tests.bench.real_plants import MODES, SLEEP, STARTS, Planted, Start

NAMED_S, READY_S, SETTLE_S, HELD_S = 120.0, 420.0, 25.0, 330.0
OVERRIDES = (13,)
"""Checks of the preflight that cannot pass where other labs run engines on the same machine."""
LISTEN = (
    "import socket, sys, time\n"
    "with socket.create_server((sys.argv[1], int(sys.argv[2]))):\n    print('listening', flush=True)\n    time.sleep(900)\n"
)


@contextlib.asynccontextmanager
async def watched(lab: RealLab, state: str = "watching") -> AsyncIterator[Session]:
    """A session as the screen has it, with the cadences that operators have and a state directory of that name."""
    parser = argparse.ArgumentParser()
    add_cluster_options(parser)
    words = ["--cluster", str(lab.file), "--layout", str(lab.layout)]
    deployment = deployment_of(parser.parse_args(words))
    session = Session(
        deployment.cluster,
        deployment.layout,
        deployment.assignment,
        state_dir=lab.state / state,
        intervals=Intervals(),
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


@dataclass
class Seen:
    """What a session showed since a moment: states, first causes, services, each with the seconds after it."""

    session: Session
    begun: float = field(default_factory=time.monotonic)
    named: list[tuple[float, str, str]] = field(default_factory=list)
    states: dict[str, list[str]] = field(default_factory=dict)
    service: list[str] = field(default_factory=list)

    @property
    def first(self) -> Diagnosis | None:
        """The first cause now."""
        return next((each for each in self.session.snapshot.diagnoses if each.first), None)

    def look(self) -> bool:
        """Take the picture of now; False, so that it can stand in a condition."""
        now, snapshot = time.monotonic() - self.begun, self.session.snapshot
        for each in snapshot.engines.values():
            seen = self.states.setdefault(each.id, [])
            if not seen or not seen[-1].endswith(f" {each.state}"):
                seen.append(f"{now:.1f} {each.state}")
        words = snapshot.service.brief() if snapshot.service else "none"
        if not self.service or not self.service[-1].endswith(f" {words}"):
            self.service.append(f"{now:.1f} {words}")
        first = self.first
        if first is not None and (not self.named or self.named[-1][1:] != (first.engine, first.signature)):
            self.named.append((now, first.engine, first.signature))
        return False

    def is_named(self, wanted: Planted | Start) -> bool:
        """Whether the right failure of the right rank is the first cause."""
        self.look()
        right = self.first is not None and (wanted.anywhere or self.first.engine == wanted.engine)
        return right and self.first is not None and self.first.signature in wanted.first

    def tell(self, what: str, ok: bool) -> None:
        """Print it."""
        told = ", ".join(f"{signature} of {engine} after {at:.1f} s" for at, engine, signature in self.named)
        print(f"{'ok   ' if ok else 'WRONG'} {what}: {told or 'nothing named'}; service {'; '.join(self.service)}")
        if self.first is not None:
            print(f"        title {self.first.title}; text {self.first.text[:160]}")
            print(f"        remedy {self.first.remedy}" + (f"; where {self.first.where}" if self.first.where else ""))
        for each in self.session.snapshot.engines.values():
            print(f"        {each.id} {', '.join(self.states.get(each.id, []))}: {each.cause[:150]}")
        sys.stdout.flush()


def _ready(session: Session) -> bool:
    return all(each.state is EngineState.READY for each in session.snapshot.engines.values())


async def plant(session: Session, planted: Planted, traffic: Traffic) -> bool:
    """Hit, watch, print; whether the right rank was named and the service called what it was."""
    assert await asyncio.to_thread(traffic.served, 4, 120.0), "it serves before it is hit"
    main = session.snapshot.engines[planted.engine].pid
    assert main is not None
    victim = pids(main, planted.process)[0] if planted.process else main
    seen = Seen(session)
    os.kill(victim, planted.blow)
    await _within(lambda: seen.is_named(planted), NAMED_S)
    await _within(lambda: seen.look() or _over(session), SETTLE_S)
    service = session.snapshot.service
    ok = seen.is_named(planted) and (planted.anywhere or all(engine == planted.engine for _, engine, _ in seen.named))
    ok = ok and service is not None and service.state in planted.verdict
    seen.tell(str(planted), ok)
    if planted.blow is signal.SIGSTOP:
        os.kill(victim, signal.SIGCONT)
        await _within(lambda: _ready(session), 120.0)
    return ok


def _over(session: Session) -> bool:
    return all(not each.state.alive for each in session.snapshot.engines.values())


def _doors(lab: RealLab, mode: str) -> list[tuple[str, int]]:
    if mode == "proxied":
        return [(lab.node("n0").host, PROXY_PORT)]
    external = SIZES.get(mode, (1, 1, ""))[2] == "external"
    return [(lab.node(name).host, PORT) for name in (("n0", "n1") if external else ("n0",))]


def _start(lab: RealLab) -> str:
    overrides = [word for number in OVERRIDES for word in ("--override", str(number))]
    return lab.run("restart" if lab.state.exists() else "start", "--yes", *overrides)


async def blows(lab: RealLab, mode: str, only: str) -> bool:
    """Everything that is planted in what serves, with a start where the blow before ended it."""
    good, running = True, False
    for planted in MODES[mode]:
        if only not in str(planted):
            continue
        if not running:
            said = await asyncio.to_thread(_start, lab)
            if said.startswith("[exit"):
                print(said[-1500:])
                return False
        async with watched(lab) as session:
            assert await _within(lambda s=session: _ready(s), READY_S) is not None  # type: ignore[misc]
            with Traffic(_doors(lab, mode)) as traffic:
                good = await plant(session, planted, traffic) and good
        running = planted.blow is signal.SIGSTOP
    return good


@contextlib.contextmanager
def _stranger(lab: RealLab) -> Iterator[int]:
    """A process that is no vLLM and listens on the engine's port; its pid."""
    words = [sys.executable, "-c", LISTEN, lab.node("n0").host, str(PORT)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


async def hold(session: Session, lab: RealLab, start: Start, going: asyncio.Task[str], before: list[str]) -> bool:
    """Put the worker of an engine that starts to sleep, print when the alert of it held; whether it came and stayed.

    `before` are the runs of the engine before this start.
    """
    wanted = start.asleep_at.encode()
    await _within(lambda: lab.runs(start.engine) > before and wanted in lab.log(start.engine), READY_S)
    main = session.snapshot.engines[start.engine].pid
    assert main is not None
    os.kill(pids(main, "Worker")[0], SLEEP)
    started, told = time.monotonic(), list[str]()

    def look() -> bool:
        held = next((each for each in session.snapshot.alerts if each.key.startswith("silent/")), None)
        words = "none" if held is None else f"{held.title}{' (calm)' if held.calm else ''}"
        if not told or not told[-1].endswith(words):
            told.append(f"{time.monotonic() - started:.0f} {words}")
        return False

    await _within(look, HELD_S)
    waits = lab.log(start.engine).count(b"No available shared memory broadcast block")
    ok = len(told) == 2 and waits > 1
    print(
        f"{'ok   ' if ok else 'WRONG'} {start}: alert {'; '.join(told)}; {waits} lines said that it waits", flush=True
    )
    print(f"        {session.snapshot.engines[start.engine].held_up}")
    await asyncio.to_thread(lab.run, "kill", "--yes")
    print("        start said: " + "\n                    ".join((await going).strip().splitlines()[-3:]), flush=True)
    return ok


async def begin(lab: RealLab, start: Start) -> bool:
    """Start, watch, print; whether the failure was named, and said by `start`."""
    lab.write(start.args, start.env)
    with contextlib.ExitStack() as held:
        pid = held.enter_context(_stranger(lab)) if start.holder == "before" else 0
        async with watched(lab) as session:
            seen, before = Seen(session), lab.runs(start.engine)
            going = asyncio.create_task(asyncio.to_thread(_start, lab))
            if start.asleep_at:
                return await hold(session, lab, start, going, before)
            if start.first:
                await _within(lambda: lab.runs(start.engine) > before, 120.0)
                await _within(lambda: session.snapshot.engines[start.engine].run == lab.runs(start.engine)[-1], 20.0)
            if start.holder == "late":
                pid = held.enter_context(_stranger(lab))
            if start.load:
                assert await _within(lambda: _ready(session), READY_S) is not None
                held.enter_context(Traffic(_doors(lab, lab.mode) * start.load, tokens=400))
                seen.begun = time.monotonic()
            elif start.log:
                wanted = start.log.encode()
                await _within(lambda: wanted in lab.log(start.engine) or going.done(), READY_S)
                seen.begun = time.monotonic()
            if start.first:
                await _within(lambda: seen.is_named(start), NAMED_S)
                early = not going.done()
            said = await going
            ok = not start.first or seen.is_named(start)
            ok = ok and all(each.format(pid=pid) in said for each in start.says)
            seen.tell(f"{start} (pid {pid})" if pid else str(start), ok)
            if start.first:
                print(f"        named while `start` was {'waiting' if early else 'over'}")
            print("        start said: " + "\n                    ".join(said.strip().splitlines()[-6:]), flush=True)
    await asyncio.to_thread(lab.run, "kill", "--yes")
    return ok


async def _mode(mode: str, place: Path, only: str) -> bool:
    with tempfile.TemporaryDirectory() as folder, real_lab(Path(folder), place, mode) as lab:
        if mode in MODES:
            return await blows(lab, mode, only)
        results = [await begin(lab, start) for start in STARTS[mode] if only in str(start)]
        return all(results)


def main() -> int:
    """Every mode asked for, one after the other."""
    modes = [*MODES, *STARTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("modes", nargs="*", metavar="MODE", help=f"{', '.join(modes)} (default: all)")
    parser.add_argument("--only", default="", help="failures whose name holds this")
    given = parser.parse_args()
    if unknown := set(given.modes) - set(modes):
        parser.error(f"no such mode: {', '.join(sorted(unknown))}")
    results = [asyncio.run(_mode(mode, given.place, given.only)) for mode in given.modes or modes]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
