"""Speed of the link on a real sshd of this machine: run `python -m tests.bench.bench_link [ingest|latency|launch|rest] …`.

ingest: one log of 1 M lines into a file, against `ssh host cat FILE | wc -c` in the same run; then 16 streams.
latency: from an append on the node to the call of the watcher.
launch: 18 engines on 4 nodes with 50 ms of added round trip.
rest: CPU of helper and console while nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from console.model.run import LogChunk, RunKey
from tests.node.driver import sweep
from tests.remote.watching import Seen, linked
from tests.sshd import SshNodes, running_nodes

LINE = b"(APIServer pid=1) INFO 11-23 20:39:21 line %09d of a log, about as long as they are\n"
ROUND_TRIP_S = 0.05


class Copying(Seen):
    """Writes what comes to files, as the console's copies do."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.files: dict[RunKey, int] = {}
        self.sizes: dict[RunKey, int] = {}
        self.arrived: dict[RunKey, float] = {}

    def on_log(self, node: str, chunk: LogChunk) -> None:
        if chunk.key not in self.files:
            self.files[chunk.key] = os.open(self.root / chunk.key.engine, os.O_WRONLY | os.O_CREAT)
        os.pwrite(self.files[chunk.key], chunk.data, chunk.offset)
        self.sizes[chunk.key] = chunk.offset + len(chunk.data)
        self.arrived[chunk.key] = time.perf_counter()
        self.by_name[node].credit(chunk.key, len(chunk.data))


async def settle(condition: Callable[[], bool], step_s: float = 0.005) -> None:
    """Wait; a benchmark may look often."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(step_s)


def cpu_s() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def process_cpu_s(pid: int) -> float:
    """CPU seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ingest(nodes: SshNodes, root: Path) -> None:
    """Bulk transfer of one log, then of sixteen at once."""
    lines = 1_000_000
    text = b"".join(LINE % number for number in range(lines))
    for streams in (1, 16):
        watcher = Copying(root)
        async with linked(nodes.cluster(), root, watcher=watcher) as (links, _):
            keys = [RunKey("dep", f"e{streams}-{number}", "r1") for number in range(streams)]
            part = text[: len(text) // streams]
            for key in keys:
                await links["n0"].prepare(key, {}, "", None)
                (nodes.nodes[0].base / "dep" / key.engine / "runs/r1/out.log").write_bytes(part)
            used, began = cpu_s(), time.perf_counter()
            for key in keys:
                links["n0"].follow(key, 0)
            await settle(lambda: sum(watcher.sizes.values()) >= len(part) * streams)  # noqa: B023
            took = time.perf_counter() - began
            rate = lines / took
            print(
                f"ingest {streams:2} streams: {rate:10.0f} lines/s {len(text) / took / 1e6:6.1f} MB/s,"
                f" {cpu_s() - used:.2f} CPU s of {took:.2f} s"
            )
    (root / "whole.log").write_bytes(text)
    node = nodes.nodes[0]
    options = f"-F none -i {nodes.identity} -o UserKnownHostsFile={nodes.known_hosts} -p {node.port}"
    command = f"ssh {options} {node.host} cat {root}/whole.log | wc -c"
    began = time.perf_counter()
    await asyncio.to_thread(subprocess.run, command, shell=True, check=True, stdout=subprocess.DEVNULL)
    print(f"ssh cat | wc -c:   {lines / (time.perf_counter() - began):10.0f} lines/s")


async def steady(nodes: SshNodes, root: Path) -> None:
    """50 000 lines a second over 16 streams for ten seconds: CPU of both ends."""
    watcher = Copying(root)
    async with linked(nodes.cluster(), root, watcher=watcher) as (links, _):
        keys = [RunKey("dep", f"s{number}", "r1") for number in range(16)]
        files = []
        for key in keys:
            await links["n0"].prepare(key, {}, "", None)
            files.append((nodes.nodes[0].base / "dep" / key.engine / "runs/r1/out.log").open("ab", buffering=0))
            links["n0"].follow(key, 0)
        helper = helper_pid(nodes)
        block = b"".join(LINE % number for number in range(156))
        used, node_used, began = cpu_s(), process_cpu_s(helper), time.perf_counter()
        write_s = 0.0
        for turn in range(200):
            at = time.perf_counter()
            for file in files:
                file.write(block)
            write_s += time.perf_counter() - at
            await asyncio.sleep(max(0.0, began + (turn + 1) * 0.05 - time.perf_counter()))
        await settle(lambda: sum(watcher.sizes.values()) >= len(block) * 200 * 16)
        took = time.perf_counter() - began
        console = (cpu_s() - used - write_s) / took
        helper_share = (process_cpu_s(helper) - node_used) / took
        print(
            f"steady {156 * 16 * 200 / took:.0f} lines/s over 16 streams:"
            f" console {console:.1%}, helper {helper_share:.1%} of a core"
        )


async def latency(nodes: SshNodes, root: Path) -> None:
    """Append to watcher, 16 followed logs, one line now and then."""
    watcher = Copying(root)
    async with linked(nodes.cluster(), root, watcher=watcher) as (links, _):
        keys = [RunKey("dep", f"l{number}", "r1") for number in range(16)]
        for key in keys:
            await links["n0"].prepare(key, {}, "", None)
            links["n0"].follow(key, 0)
        waits = []
        for number in range(200):
            key = keys[number % 16]
            with (nodes.nodes[0].base / "dep" / key.engine / "runs/r1/out.log").open("ab", buffering=0) as file:
                at = time.perf_counter()
                file.write(LINE % number)
            await settle(lambda: watcher.arrived.get(key, 0.0) > at, 0.001)  # noqa: B023
            waits.append((watcher.arrived[key] - at) * 1000)
            await asyncio.sleep(0.013)
        ordered = sorted(waits)
        print(f"latency: p50 {statistics.median(waits):.0f} ms, p99 {ordered[-3]:.0f} ms, max {ordered[-1]:.0f} ms")


def helper_pid(nodes: SshNodes) -> int:
    """The helper's interpreter on the first node."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            ours = f"HOME={nodes.nodes[0].home}".encode() in environ.split(b"\0")
            if ours and title.endswith(b"\0dsv4-console\0helper\0") and b"python" in title.split(b"\0")[0]:
                return int(entry.name)
    raise SystemExit("no helper found")


async def rest(nodes: SshNodes, root: Path) -> None:
    """CPU of a helper that watches 18 engines and 16 quiet logs."""
    watcher = Copying(root)
    try:
        async with linked(nodes.cluster(), root, watcher=watcher, runs_every_s=2.0) as (links, _):
            keys = [RunKey("dep", f"q{number}", "r1") for number in range(18)]
            for key in keys:
                await links["n0"].prepare(key, {"argv": ["vllm", "serve"] * 40}, "#!/bin/sh\nexec sleep 1000\n", None)
                await links["n0"].commit(key)
                links["n0"].follow(key, 0)
            await asyncio.sleep(5)
            helper = helper_pid(nodes)
            used, node_used, began = cpu_s(), process_cpu_s(helper), time.perf_counter()
            await asyncio.sleep(30)
            took = time.perf_counter() - began
            print(
                f"rest: helper {(process_cpu_s(helper) - node_used) / took:.2%}, console {(cpu_s() - used) / took:.2%} of a core"
            )
    finally:
        sweep(nodes.nodes[0].base)


async def relay(target: tuple[str, int], delay_s: float) -> tuple[asyncio.Server, int]:
    """A TCP relay that delays every piece by `delay_s` each way."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(delay_s, writer.write, data)
        loop.call_later(delay_s, writer.close)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*target)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])


async def launch(nodes: SshNodes, root: Path) -> None:
    """Prepare all, then commit all, over four slow links."""
    relays = [await relay((node.host, node.port), ROUND_TRIP_S / 2) for node in nodes.nodes]
    known = nodes.known_hosts.read_text()
    cluster = nodes.cluster()
    slow = {}
    for (_, port), node in zip(relays, nodes.nodes, strict=True):
        known += f"[127.0.0.1]:{port} {' '.join((node.root / 'host_key.pub').read_text().split()[:2])}\n"
        slow[node.name] = cluster.nodes[node.name].model_copy(update={"host": "127.0.0.1", "port": port})
    nodes.known_hosts.write_text(known)
    try:
        async with linked(cluster.model_copy(update={"nodes": slow}), root) as (links, _):
            keys = [(f"n{number % 4}", RunKey("dep", f"launch{number}", "r1")) for number in range(18)]
            began = time.perf_counter()
            await asyncio.gather(
                *(links[node].prepare(key, {}, "#!/bin/sh\nexec sleep 1000\n", None) for node, key in keys)
            )
            prepared = time.perf_counter()
            await asyncio.gather(*(links[node].commit(key) for node, key in keys))
            done = time.perf_counter()
        print(
            "launch of 18 engines on 4 nodes, round trip 50 ms:"
            f" prepare {(prepared - began) * 1000:.0f} ms, commit {(done - prepared) * 1000:.0f} ms"
        )
    finally:
        for server, _ in relays:
            server.close()
        for each in nodes.nodes:
            sweep(each.base)


PARTS: dict[str, Callable[[SshNodes, Path], Awaitable[None]]] = {
    "ingest": ingest,
    "steady": steady,
    "latency": latency,
    "launch": launch,
    "rest": rest,
}


def main() -> None:
    """Print the figures of the parts named, or of all."""
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as root, running_nodes(Path(root) / "nodes", 4, first=60) as nodes:
            asyncio.run(_part(name, nodes, Path(root)))


async def _part(name: str, nodes: SshNodes, root: Path) -> None:
    await PARTS[name](nodes, root)


if __name__ == "__main__":
    main()
