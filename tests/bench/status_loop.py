"""`status` again and again beside an open screen's session: no contradiction with its snapshot, none with the processes.

`python -m tests.bench.status_loop [--times 50] [--layout a3-pd] [--speed 20]`; exit code 1 when there is a contradiction.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from console.cli.demo import spread
from console.cli.live import until
from console.demo.cluster import DemoCluster
from console.files import load_cluster, load_layout
from console.model.service import ServiceState
from console.model.snapshot import ClusterSnapshot, EngineState
from console.services.session import Session

READY_S = 240.0


def contradictions(told: Mapping[str, Any], before: ClusterSnapshot, after: ClusterSnapshot) -> list[str]:
    """What `status -o json` says otherwise than the session beside it, which was the same before and after it ran."""
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


def dead(told: Mapping[str, Any]) -> list[str]:
    """Engines that are told to be up and whose process is not there: nodes of the demo are directories of this machine."""
    up = [each for each in told["engines"] if each["state"] in ("ready", "starting")]
    return [f"{each['id']} {each['state']}, no pid {each['pid']}" for each in up if not _lives(each["pid"])]


def _lives(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}").exists()


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
            for number in range(1, times + 1):
                before = session.snapshot
                told, took = await _status(words, state)
                wrong = [*contradictions(told, before, session.snapshot), *dead(told)]
                ready = sum(each["state"] == EngineState.READY for each in told["engines"])
                print(
                    f"{number:3} {took:5.1f} s  {told['service']['state']:8} {ready} ready  {'; '.join(wrong)}",
                    flush=True,
                )
                found += [f"{number}: {each}" for each in wrong]
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
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsv4-status-") as state:
        found = asyncio.run(loop(args.times, args.layout, args.speed, Path(state)))
    print(f"{args.times} times, {len(found)} contradictions")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
