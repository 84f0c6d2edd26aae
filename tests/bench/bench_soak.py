"""What a console's memory does over hours, played at ten times the usual number of requests: `python -m tests.bench.bench_soak
[MINUTES]`.

Prints what the Python heap grew by in each tenth of the time, in KiB and as KiB for each simulated hour, and the lines of code
that hold more than before. Resident memory is printed beside it, because the heap can be flat while the process is not.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import tempfile
import tracemalloc
from pathlib import Path

from console.services.monitoring.intervals import Intervals
from console.services.session import Session
from tests.services.serving.labs import small_lab, watched

TIMES = 10
"""How much faster than usual engines are asked."""
WARM_S = 120.0
"""Before the first figure: caches fill and log copies reach their sizes."""
PARTS = 10


def faster() -> Intervals:
    """The usual intervals, divided."""
    usual = Intervals()
    return Intervals(
        health_s=usual.health_s / TIMES,
        model_s=usual.model_s / TIMES,
        metrics_s=usual.metrics_s / TIMES,
        works_s=usual.works_s / TIMES,
        works_first_s=usual.works_first_s / TIMES,
        golden_s=usual.golden_s / TIMES,
        compare_s=usual.compare_s / TIMES,
    )


def resident_kib() -> int:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def watch(session: Session, minutes: float) -> None:
    """Print the growth of an open session."""
    await asyncio.sleep(WARM_S)
    gc.collect()
    first = before = tracemalloc.take_snapshot()
    base, part_s = tracemalloc.get_traced_memory()[0], minutes * 60 / PARTS
    for part in range(1, PARTS + 1):
        await asyncio.sleep(part_s)
        gc.collect()
        heap = tracemalloc.get_traced_memory()[0]
        grown = (heap - base) / 1024
        hours = part * part_s * TIMES / 3600
        print(
            f"after {hours:5.2f} simulated hours: heap {grown:+9.1f} KiB = {grown / hours:8.1f} KiB an hour, "
            f"resident {resident_kib() / 1024:.1f} MiB",
            flush=True,
        )
        if part == PARTS // 2:
            before = tracemalloc.take_snapshot()
    last = tracemalloc.take_snapshot()
    for title, earlier in (("in the second half", before), ("since the start", first)):
        print(f"what grew most {title}:")
        for stat in last.compare_to(earlier, "traceback")[:12]:
            print(f"  {stat.size_diff / 1024:+9.1f} KiB in {stat.count_diff:+d} pieces")
            for frame in stat.traceback:
                print(f"      {frame.filename}:{frame.lineno}", flush=True)


def main() -> None:
    """Bring a small cluster up and watch one session on it."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    with tempfile.TemporaryDirectory() as place, small_lab(Path(place)) as lab:
        tracemalloc.start(4)

        async def run() -> None:
            async with watched(lab, faster()) as session:
                await watch(session, minutes)

        asyncio.run(run())


if __name__ == "__main__":
    main()
