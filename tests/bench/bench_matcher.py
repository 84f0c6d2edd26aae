"""What signature matching costs beside reading the log: run `python -m tests.bench.bench_matcher [MiB]`.

The comparison is the rest of an ingest without the network: writing the copy, counting its lines, following its phase.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from typing import BinaryIO

from console.advice.matcher import Matcher
from console.advice.signatures import load_signatures
from console.probes.engine_log import LaunchLog
from tests.bench.bench_engine_log import CHATTER, CHUNK, READY, START

RATE = 100 * 2**20
"""Bytes a second the log is supposed to grow by; it sets the clock the matcher is told."""


def seconds(line: bytes, mib: int, take: Callable[[bytes, float], object]) -> float:
    """Time to push a log of that many MiB through `take`."""
    block = b"".join(line % (1000 + number) for number in range(CHUNK // len(line)))
    take(START + READY, 0.0)
    begin = time.perf_counter()
    for number in range(mib * 2**20 // len(block)):
        take(block, number * len(block) / RATE)
    return time.perf_counter() - begin


def ingest(log: LaunchLog, copy: BinaryIO) -> Callable[[bytes, float], object]:
    """What happens to the bytes of a log beside matching."""

    def take(data: bytes, at: float) -> None:
        copy.write(data)
        data.count(b"\n")
        log.feed(data, at)

    return take


def main() -> None:
    """Print the share for each kind of chatter."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    signatures = load_signatures()
    for name, line in CHATTER.items():
        with tempfile.TemporaryFile(buffering=0) as copy:
            rest = seconds(line, mib, ingest(LaunchLog(), copy))
        cost = seconds(line, mib, Matcher(signatures).feed)
        print(f"{name:14} ingest {mib / rest:6.0f} MiB/s   matcher {mib / cost:6.0f} MiB/s   share {cost / rest:6.1%}")


if __name__ == "__main__":
    main()
