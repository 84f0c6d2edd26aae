"""What a session costs while nothing happens: `python -m tests.bench.bench_rest [--seconds 30] [--layout a3-pd]` on a demo.

Prints CPU time of the session without a screen, as a share of a core and as a multiple of bare SSH connections that carry one
short line every two seconds from each node; the same of the helpers; bytes of the link; and snapshots per second.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh

from console.cli.demo import spread
from console.demo.cluster import DemoCluster
from console.files import load_cluster, load_layout
from console.remote.ssh import Dialer, end_connection
from console.services.session import Session
from tests.bench.bench_link import cpu_s, process_cpu_s
from tests.bench.status_loop import serving

LINES = "import sys, time\nwhile True:\n    sys.stdout.write('x' * 300 + '\\n'); sys.stdout.flush(); time.sleep(2)"
SETTLE_S = 15.0


class Received:
    """Bytes of all SSH connections of this process."""

    def __init__(self) -> None:
        self.count = 0
        kind: Any = asyncssh.connection.SSHConnection
        take = kind.data_received

        def counted(connection: object, data: bytes, datatype: object = None) -> None:
            self.count += len(data)
            take(connection, data, datatype)

        kind.data_received = counted


def helpers(place: Path) -> list[int]:
    """Pids of the helpers on the nodes of a demo, which live below `place`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                here = f"HOME={place}/".encode() in (entry / "environ").read_bytes()
            except OSError:
                continue
            if here and words[-3:-1] == [b"dsv4-console", b"helper"]:
                found.append(int(entry.name))
    return found


async def measured(seconds: float, received: Received) -> tuple[float, float]:
    """(share of a core, bytes per second) of this process."""
    used, count, began = cpu_s(), received.count, time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    return (cpu_s() - used) / took, (received.count - count) / took


async def bare(cluster_file: Path, seconds: float, state: Path, received: Received) -> float:
    """The share of a core of connections that carry almost nothing."""
    cluster = load_cluster(cluster_file)
    dialer = Dialer(cluster, known_hosts=state / "known_hosts")
    connections = [await dialer.connect(node) for node in cluster.nodes.values()]
    processes = [await each.create_process(f"python3 -c {LINES!r}", encoding=None) for each in connections]
    await asyncio.sleep(3)
    share, _ = await measured(seconds, received)
    for process in processes:
        process.terminate()
    for each in connections:
        await end_connection(each)
    await dialer.close()
    return share


async def watched(
    session: Session, place: Path, seconds: float, received: Received
) -> tuple[float, float, float, list[float]]:
    """(share of a core, bytes per second, snapshots per second, shares of the helpers) of a session at rest."""
    seen: list[float] = []
    leave = session.subscribe(lambda _: seen.append(time.monotonic()))
    await asyncio.sleep(SETTLE_S)
    seen.clear()
    before, began = {pid: process_cpu_s(pid) for pid in helpers(place)}, time.perf_counter()
    share, rate = await measured(seconds, received)
    took = time.perf_counter() - began
    leave()
    return share, rate, len(seen) / took, [(process_cpu_s(pid) - used) / took for pid, used in before.items()]


async def run(options: argparse.Namespace, state: Path) -> None:
    """Start the demo, then measure both."""
    received = Received()
    demo = DemoCluster(options.layout, speed=60.0)
    path = await demo.start()
    close: Callable[[], Awaitable[None]] = demo.close
    try:
        base = await bare(path, options.seconds, state, received)
        layout = load_layout(options.layout)
        cluster = load_cluster(path)
        session = Session(cluster, layout, spread(cluster, layout), state_dir=state)
        await session.open()
        try:
            await serving(session)
            share, rate, snapshots, nodes = await watched(session, demo.directory, options.seconds, received)
            engines = len(session.snapshot.engines)
        finally:
            await session.close()
    finally:
        await close()
    count = len(cluster.nodes)
    print(f"bare connections to {count} nodes       {base:7.2%} of a core")
    print(
        f"session of {engines} engines at rest     {share:7.2%} of a core, {share / max(base, 1e-6):.1f} times as much"
    )
    print(f"a helper, by itself             {sum(nodes) / max(1, len(nodes)):7.2%} of a core (bar: 0.50%)")
    print(f"link of a node                  {rate / count:7.0f} bytes/s (bar: 1024)")
    print(f"snapshots                       {snapshots:7.2f} per second")


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--layout", default="a3-pd")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(parser.parse_args(), Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
