"""What signature matching costs beside ingest: run `python -m tests.bench.bench_matcher [MiB]`. CPU seconds, so that others on
the machine do not count.

Ingest is what the console does with a log's bytes before anything is matched: taking them from a real sshd's link, storing,
following the start, numbering lines.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from console.diagnosis.matcher import Matcher
from console.diagnosis.signatures import load_signatures
from console.model.run import RunKey
from tests.bench.bench_engine_log import CHATTER, CHUNK, READY, START
from tests.bench.bench_link import Indexing, settle
from tests.remote.watching import linked
from tests.sshd import SshNodes, running_nodes

RATE = 100 * 2**20
"""Bytes a second the log is supposed to grow by; it sets the clock the matcher is told."""


def pieces(line: bytes, mib: int) -> tuple[bytes, int]:
    """A block of such lines, and how many of it make a log of that size."""
    block = b"".join(line % (1000 + number) for number in range(CHUNK // len(line)))
    return block, mib * 2**20 // len(block)


def matching_s(line: bytes, mib: int) -> float:
    """CPU seconds to look through a log of that many MiB."""
    block, count = pieces(line, mib)
    matcher = Matcher(load_signatures())
    matcher.feed(START + READY, 0.0)
    begin = time.process_time()
    for number in range(count):
        matcher.feed(block, number * len(block) / RATE)
    return time.process_time() - begin


async def ingest_s(nodes: SshNodes, root: Path, name: str, line: bytes, mib: int) -> float:
    """CPU seconds of this process for a log of that many MiB, from the node to the last numbered line."""
    block, count = pieces(line, mib)
    watcher = Indexing(root / name)
    async with linked(nodes.cluster(), root, watcher=watcher) as (links, _):
        key = RunKey("dep", name.replace(" ", "-"), "r1")
        await links["n0"].prepare(key, {}, "", None)
        with (nodes.nodes[0].base / "dep" / key.engine / "runs/r1/out.log").open("wb") as log:
            log.write(START + READY)
            for _ in range(count):
                log.write(block)
            size = log.tell()
        begin = time.process_time()
        links["n0"].follow(key, 0)
        await settle(lambda: watcher.book.of(key).size >= size)
        return time.process_time() - begin


def main() -> None:
    """Print the share for each kind of chatter."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    with tempfile.TemporaryDirectory() as place, running_nodes(Path(place) / "nodes", 1, first=60) as nodes:
        for name, line in CHATTER.items():
            rest = asyncio.run(ingest_s(nodes, Path(place), name, line, mib))
            cost = matching_s(line, mib)
            rates = f"ingest {mib / rest:6.0f} MiB/s   matcher {mib / cost:6.0f} MiB/s"
            print(f"{name:14} {rates}   share {cost / rest:6.1%} (bar: 10 %)")


if __name__ == "__main__":
    main()
