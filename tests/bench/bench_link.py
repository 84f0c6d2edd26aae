"""Speed of the link on a real sshd of this machine: run `python -m tests.bench.bench_link [ingest|latency|launch|rest] …`.

ingest: one log of 1 M lines into a file, against `ssh host cat FILE | wc -c` in the same run; then 16 streams.
latency: from an append on the node to the call of the watcher.
launch: 18 engines on 4 nodes with 50 ms of added round trip: how many there are, and what starting costs.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from console.model.cluster import Cluster, Node
from console.model.run import LogChunk, RunKey, RunState, RunVerdict
from console.services.logs.copies import LogBook
from console.services.monitoring.log_following import LogFollowing
from console.services.monitoring.records import NodeRecord, RunRecord
from screens.logs.file import LineCount, LogFile
from tests.node.driver import sweep
from tests.remote.watching import Seen, linked
from tests.sshd import SshNodes, running_nodes

LINE = b"(APIServer pid=1) INFO 11-23 20:39:21 line %09d of a log, about as long as they are\n"
SERVES = b"(APIServer pid=1) INFO:     Application startup complete.\n"
"""Floods come from engines that serve; a start is looked through for more words, and writes some thousand lines in all."""
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


class Indexing(Seen):
    """Does with every chunk what the console does: stores it, reads it for phases and errors, indexes its lines."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.book = LogBook(root, lambda _: None)
        self.records: dict[RunKey, RunRecord] = {}
        self.record = NodeRecord(Node(name="n0", host="n0"))
        self.following: LogFollowing | None = None
        self.counts: dict[RunKey, tuple[LogFile, LineCount]] = {}

    def on_log(self, node: str, chunk: LogChunk) -> None:
        if self.following is None:
            parts = (self.book, self.by_name, self.records)
            self.following = LogFollowing(*parts, lambda _: node, lambda: None, lambda _node, _text: None)
        if chunk.key not in self.record.runs:
            self.record.runs = {**self.record.runs, chunk.key: RunState(chunk.key, RunVerdict.EXITED)}
            self.following.update(node, self.record)
        self.following.store(node, chunk)
        if chunk.key not in self.counts:
            file = LogFile(self.book.of(chunk.key).path)
            self.counts[chunk.key] = (file, LineCount(file))
        file, count = self.counts[chunk.key]
        file.grow(self.book.of(chunk.key).size)
        while count.advance():
            pass

    @property
    def indexed(self) -> int:
        """Lines that have a number."""
        return sum(count.total() or 0 for _, count in self.counts.values())


async def ingest(nodes: SshNodes, root: Path) -> None:
    """Bulk transfer of one log, then of sixteen at once, to the end of the index; then what ssh alone makes of the same bytes."""
    lines = 1_000_000
    text = SERVES + b"".join(LINE % number for number in range(lines - 1))
    rates: list[tuple[str, float]] = []
    for streams in (1, 16):
        watcher = Indexing(root / f"copies{streams}")
        async with linked(nodes.cluster(), root, watcher=watcher) as (links, _):
            keys = [RunKey("dep", f"e{streams}-{number}", "r1") for number in range(streams)]
            part = SERVES + b"".join(LINE % number for number in range(lines // streams - 1))
            for key in keys:
                await links["n0"].prepare(key, {}, "", None)
                (nodes.nodes[0].base / "dep" / key.engine / "runs/r1/out.log").write_bytes(part)
            used, began = cpu_s(), time.perf_counter()
            for key in keys:
                links["n0"].follow(key, 0)
            await settle(lambda: watcher.indexed >= lines)  # noqa: B023
            took = time.perf_counter() - began
            rates.append((f"{streams:2} streams", lines / took))
            print(
                f"ingest {streams:2} streams: {lines / took:10.0f} lines/s, {cpu_s() - used:.2f} CPU s of {took:.2f} s"
            )
    (root / "whole.log").write_bytes(text)
    node = nodes.nodes[0]
    options = f"-F none -i {nodes.identity} -o UserKnownHostsFile={nodes.known_hosts} -p {node.port}"
    command = f"ssh {options} {node.host} cat {root}/whole.log | wc -c"
    began = time.perf_counter()
    await asyncio.to_thread(subprocess.run, command, shell=True, check=True, stdout=subprocess.DEVNULL)
    alone = lines / (time.perf_counter() - began)
    print(f"ssh cat | wc -c:   {alone:10.0f} lines/s")
    for name, rate in rates:
        print(f"stored, read and indexed, {name}: {rate / alone:.2f} of ssh cat (bar: 0.6)")


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
    """Prepare all, then commit all, over a way of 50 ms and one ten times as long: the slope counts the round trips."""
    took = {way: await over(way, nodes, root) for way in (ROUND_TRIP_S, 10 * ROUND_TRIP_S)}
    trips = (sum(took[10 * ROUND_TRIP_S]) - sum(took[ROUND_TRIP_S])) / (9 * ROUND_TRIP_S)
    total, start = sum(took[ROUND_TRIP_S]), sum(took[ROUND_TRIP_S]) - trips * ROUND_TRIP_S
    print(f"launch of 18 engines on 4 nodes, round trip {ROUND_TRIP_S * 1000:.0f} ms: {total * 1000:.0f} ms")
    print(f"of it {trips:.1f} round trips (bar: 4), {start * 1000:.0f} ms process start")
    print(f"process start: {start / interpreters_s(18):.1f} of eighteen bare interpreters, as many at once as cores")


async def over(way_s: float, nodes: SshNodes, root: Path) -> tuple[float, float]:
    """The quickest of three launches over relays with this round trip: seconds of prepare and commit."""
    relays = [await relay((node.host, node.port), way_s / 2) for node in nodes.nodes]
    cluster, slow, known = nodes.cluster(), {}, nodes.known_hosts.read_text()
    for (_, port), node in zip(relays, nodes.nodes, strict=True):
        known += f"[127.0.0.1]:{port} {' '.join((node.root / 'host_key.pub').read_text().split()[:2])}\n"
        slow[node.name] = cluster.nodes[node.name].model_copy(update={"host": "127.0.0.1", "port": port})
    nodes.known_hosts.write_text(known)
    turns = []
    try:
        for turn in range(3):
            far = cluster.model_copy(update={"nodes": slow})
            turns.append(await launched(far, root, f"way{way_s * 1000:.0f}-{turn}"))
            for each in nodes.nodes:
                sweep(each.base)
    finally:
        for server, _ in relays:
            server.close()
    return min(turns, key=sum)


async def launched(cluster: Cluster, root: Path, run: str) -> tuple[float, float]:
    """Seconds that preparing and committing eighteen engines took."""
    async with linked(cluster, root) as (links, _):
        keys = [(f"n{number % 4}", RunKey("dep", f"{run}-{number}", "r1")) for number in range(18)]
        began = time.perf_counter()
        await asyncio.gather(
            *(links[node].prepare(key, {}, "#!/bin/sh\nexec sleep 1000\n", None) for node, key in keys)
        )
        prepared = time.perf_counter()
        await asyncio.gather(*(links[node].commit(key) for node, key in keys))
        done = time.perf_counter()
    return prepared - began, done - prepared


def interpreters_s(count: int) -> float:
    """Seconds for as many interpreters to start and end, the least a supervisor can cost."""
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(
            pool.map(
                lambda _: subprocess.run([sys.executable, "-I", "-S", "-c", "import ctypes, json"], check=True),
                range(count),
            )
        )
    return time.perf_counter() - began


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
