"""`status` again and again beside an open screen's session: no contradiction with its snapshot, none with the processes.

`python -m tests.bench.status_loop [--times 50] [--layout a3-pd] [--speed 20]` on a demo, and with `--real PLACE` on two ranks of
a real vLLM behind one server (see `real_lab`), whose headless process is killed half-way; exit code 1 when there is a
contradiction.
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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from console.cli.demo import spread
from console.cli.session_context import until
from console.demo.cluster import DemoCluster
from console.files import load_cluster, load_layout
from console.model.service import ServiceState
from console.model.snapshot import ClusterSnapshot
from console.services.session import Session
from tests.bench.bench_planted_real import watched
from tests.bench.real_lab import real_lab

READY_S = 420.0
_UP = ("ready", "starting", "degraded")
_OVER = ("idle", "exited", "failed", "lost")


def contradictions(told: Mapping[str, Any], before: ClusterSnapshot, after: ClusterSnapshot) -> list[str]:
    """What `status -o json` says differently from the session beside it, which was the same before and after it ran."""
    found = []
    if before.service is not None and after.service is not None and before.service.state is after.service.state:
        said = None if told["service"] is None else told["service"]["state"]
        if said != before.service.state:
            found.append(f"service {said} ({told['service']}), on the screen {before.service.brief()}")
    for each in told["engines"]:
        seen = [picture.engines.get(each["id"]) for picture in (before, after)]
        states = {engine.state for engine in seen if engine is not None}
        if len(states) == 1 and each["state"] not in states:
            found.append(f"{each['id']} {each['state']} ({each['cause']}), on the screen {states.pop()}")
    return found


def untrue(told: Mapping[str, Any]) -> list[str]:
    """Engines that are told to be up without their process, or over with it: the nodes are on this machine."""
    up = [each for each in told["engines"] if each["state"] in _UP and not _lives(each["pid"])]
    over = [each for each in told["engines"] if each["state"] in _OVER and each["pid"] and _lives(each["pid"])]
    return [f"{each['id']} {each['state']}, no pid {each['pid']}" for each in up] + [
        f"{each['id']} {each['state']}, pid {each['pid']} lives" for each in over
    ]


def _lives(pid: int | None) -> bool:
    """Whether a process is there and has not ended: one that nobody waited for has."""
    try:
        return pid is not None and Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (
            b"Z",
            b"X",
        )
    except OSError:
        return False


async def _status(words: Sequence[str], state: Path) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console", "status", "-o", "json", *words,
        env={**os.environ, "XDG_STATE_HOME": str(state)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    if not out:
        raise RuntimeError(err.decode("utf-8", "replace"))
    found: dict[str, Any] = json.loads(out)
    return found, time.monotonic() - began


async def serving(session: Session) -> None:
    """Start everything and wait until the session has seen it serve."""
    assert await until(session, lambda: session.snapshot.complete, READY_S)
    plan = await session.operator.prepare("start", [])
    await session.operator.run(plan, lambda _: None, confirmed=plan.confirm.expected)
    assert await until(session, lambda: _serves(session.snapshot), READY_S), session.snapshot.service


def _serves(snapshot: ClusterSnapshot) -> bool:
    return snapshot.service is not None and snapshot.service.state in (ServiceState.UP, ServiceState.PART)


async def beside(session: Session, words: Sequence[str], numbers: Iterable[int], state: Path) -> list[str]:
    """Ask `status` once for each number, print what it said; gives every contradiction."""
    found: list[str] = []
    for number in numbers:
        before = session.snapshot
        told, took = await _status(words, state)
        wrong = [*contradictions(told, before, session.snapshot), *untrue(told)]
        service = told["service"] or {"state": "none", "reason": ""}
        states = ", ".join(f"{each['id']} {each['state']}" for each in told["engines"])
        states = states if len(told["engines"]) < 4 else f"{states.count(' ready')} ready"
        print(
            f"{number:3} {took:5.1f} s  {service['state']:8} {service['reason'] or '':24} {states}  {'; '.join(wrong)}",
            flush=True,
        )
        found += [f"{number}: {each}" for each in wrong]
    return found


async def loop_real(times: int, place: Path, state: Path) -> list[str]:
    """The same beside two ranks of a real vLLM that serve; half-way the parent of the headless one is killed."""
    with real_lab(state / "lab", place, "internal") as lab:
        said = await asyncio.to_thread(lab.run, "start", "--yes", "--override", "13")
        assert not said.startswith("[exit"), said
        async with watched(lab, "dsv4-console") as session:
            assert await until(session, lambda: _serves(session.snapshot), READY_S), session.snapshot.service
            words = ["-c", str(lab.file), "--layout", str(lab.layout)]
            found = await beside(session, words, range(1, times // 2 + 1), lab.state)
            victim = session.snapshot.engines["whole-1"].pid
            assert victim is not None
            print(f"kill {victim}, the parent of whole-1", flush=True)
            os.kill(victim, signal.SIGKILL)
            return found + await beside(session, words, range(times // 2 + 1, times + 1), lab.state)


async def loop(times: int, layout: str, speed: float, state: Path) -> list[str]:
    """Run `status` so many times beside a session on a demo that serves; gives every contradiction."""
    demo = DemoCluster(layout=layout, speed=speed)
    found: list[str] = []
    try:
        file = await demo.start()
        cluster, meant = load_cluster(file), load_layout(layout)
        given = spread(cluster, meant)
        session = Session(cluster, meant, given, state_dir=state / "dsv4-console")
        await session.open()
        try:
            await serving(session)
            words = ["-c", str(file), "--layout", layout]
            words += [
                word for group, names in given.nodes.items() for word in ("--assign", f"{group}={','.join(names)}")
            ]
            found += await beside(session, words, range(1, times + 1), state)
        finally:
            await session.close()
    finally:
        await demo.close()
    return found


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--layout", default="a3-pd")
    parser.add_argument("--speed", type=float, default=20.0)
    parser.add_argument("--real", type=Path, metavar="PLACE", help="on a real vLLM, see `real_lab`")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsv4-status-") as state:
        going = (
            loop_real(args.times, args.real, Path(state))
            if args.real
            else loop(args.times, args.layout, args.speed, Path(state))
        )
        found = asyncio.run(going)
    print(f"{args.times} times, {len(found)} contradictions")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
