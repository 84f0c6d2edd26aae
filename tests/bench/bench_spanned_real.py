"""One real vLLM over two sshd nodes (`--nnodes 2`) and a service beside it: begun, proven, killed part by part, stopped.

Run: `python -m tests.bench.bench_spanned_real PLACE` with a directory that holds `venv` (vLLM 0.21 on CPU) and `tiny`. Prints
what was done, what the console showed and after how many seconds; exits 1 when something was not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from console.services.session import Session
from tests.bench.bench_planted_real import OVERRIDES, watched
from tests.bench.real_lab import SPANNED_PORT, RealLab, Traffic, pids, real_lab

LIMIT_S = 420.0
FIRST, PART, SERVICE = "whole-0", "whole-0.1", "pages"


class Report:
    """What was wanted and what was seen; counts what was wrong."""

    def __init__(self) -> None:
        self.wrong = 0
        self._begun = time.monotonic()

    def say(self, text: str, right: bool = True) -> None:
        """A line with the time since the start."""
        self.wrong += not right
        print(f"{time.monotonic() - self._begun:6.1f} s  {'ok   ' if right else 'WRONG'} {text}", flush=True)


async def _within(condition: Callable[[], bool], limit_s: float = 120.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.2)
    return True


def _states(session: Session) -> dict[str, str]:
    return {name: str(each.state) for name, each in session.snapshot.engines.items()}


def _causes(session: Session) -> str:
    engines = session.snapshot.engines.values()
    causes = [f"{each.id} {each.state}: {each.cause[:140]}" for each in engines if each.cause]
    first = [f"FIRST {each.engine} {each.signature} {each.title}" for each in session.snapshot.diagnoses if each.first]
    return "; ".join([*causes, *first])


async def _ready(session: Session, report: Report, what: str) -> bool:
    begun = time.monotonic()
    names = (FIRST, PART, SERVICE)
    good = await _within(lambda: [_states(session).get(name) for name in names] == ["ready"] * 3, LIMIT_S)
    report.say(f"{what}: {_states(session)} after {time.monotonic() - begun:.0f} s; {_causes(session)}", good)
    return good


async def _killed(lab: RealLab, session: Session, report: Report, engine: str, word: str) -> None:
    """KILL the workers of one part, or with no word its main process; the other part must be laid to it."""
    other = FIRST if engine == PART else PART
    main = session.snapshot.engines[engine].pid or 0
    victims = pids(main, word) if word else [main]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    named = await _within(lambda: session.snapshot.engines[other].after == engine)
    what = f"{word or 'main process'} of {engine} killed ({len(victims)})"
    took = f"{time.monotonic() - begun:.0f} s"
    report.say(f"{what}: {other} laid to it after {took}; {_states(session)}; {_causes(session)}", named)
    service = session.snapshot.service
    report.say(f"service: {service.brief() if service else None}")
    for name in (FIRST, PART):
        tail = lab.log(name)[-1500:].decode("utf-8", "replace").splitlines()[-6:]
        print("\n".join(f"          {name} | {line[:170]}" for line in tail), flush=True)


def _stopped(lab: RealLab, report: Report) -> None:
    said = lab.run("stop", "--yes")
    left = [each.split(b"\0", 1)[0] for each in _commands(lab)]
    report.say(f"stop: {'ok' if not said.startswith('[exit') else said[-600:]}; {len(left)} processes left", not left)
    told = lab.run("status", "-o", "json")
    found, _ = json.JSONDecoder().raw_decode(told[told.index("{") :])
    states = {each["id"]: each["state"] for each in found["engines"]}
    report.say(f"status after it: {states}")


def _commands(lab: RealLab) -> list[bytes]:
    """Command lines of processes of runs of this lab."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment = (entry / "environ").read_bytes()
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if f"DSV4_SCOPE={lab.nodes.root}/".encode() in environment and b"DSV4_RUN" in environment and words:
                found.append(words)
    return found


ROUNDS = ((PART, "Worker"), (PART, ""), (FIRST, "Worker"), (FIRST, ""))
"""What is killed after each start: the workers of a part, or its main process."""


async def _rounds(lab: RealLab, report: Report, chosen: Sequence[int], logs: Path | None) -> None:
    for number in chosen:
        engine, word = ROUNDS[number]
        begun = time.monotonic()
        said = lab.run("start", "--yes", *(f"--override={each}" for each in OVERRIDES))
        good = not said.startswith("[exit")
        report.say(f"start took {time.monotonic() - begun:.0f} s {'' if good else said[-1500:]}", good)
        if not good:
            for name in (FIRST, PART, SERVICE):
                print(lab.log(name)[-3000:].decode("utf-8", "replace"), flush=True)
            return
        async with watched(lab) as session:
            if not await _ready(session, report, "a console that is opened now"):
                return
            with Traffic([(lab.node("n0").host, SPANNED_PORT)], tokens=8) as traffic:
                served = await asyncio.to_thread(traffic.served, 3, 60.0)
            report.say(f"{traffic.answered} completions answered, {traffic.wrong} not", served)
            await asyncio.sleep(12.0)
            report.say(f"12 s later: {session.snapshot.service.brief() if session.snapshot.service else None}")
            if (engine, word) == (PART, "Worker"):
                os.kill(session.snapshot.engines[SERVICE].pid or 0, signal.SIGKILL)
                missed = await _within(lambda: any(each.signature == "S12" for each in session.snapshot.diagnoses))
                report.say(f"the service killed: {_causes(session)}", missed)
            await _killed(lab, session, report, engine, word)
        _stopped(lab, report)
        if logs is not None:
            for name in (FIRST, PART):
                (logs / f"{number}-{name}.log").write_bytes(lab.log(name))


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path)
    report = Report()
    numbers = range(len(ROUNDS))
    parser.add_argument("rounds", nargs="*", type=int, metavar=f"0-{numbers[-1]}", help="which kills; all without one")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="where the logs of each round are kept")
    args = parser.parse_args()
    chosen = args.rounds or numbers
    if not set(chosen) <= set(numbers):
        parser.error(f"rounds are numbers from 0 to {numbers[-1]}")
    with (
        tempfile.TemporaryDirectory(prefix="dsv4-spanned-") as folder,
        real_lab(Path(folder), args.place, "spanned") as lab,
    ):
        asyncio.run(_rounds(lab, report, chosen, args.logs))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
