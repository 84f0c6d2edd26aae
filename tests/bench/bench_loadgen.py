"""The built-in load generator at 200 requests/s against a server with known delays, in two processes on this machine.

Run: `python -m tests.bench.bench_loadgen [RATE [SECONDS]]`. Prints what was measured, what the server really did (by its own
stamps on the same clock) and the difference; exits 1 when TTFT, inter-token latency or throughput is off by more than 2 %.
Two processes that wait for a core measure the waiting, and `woken late` says how long that was: run it on a machine without other
load, or as `chrt -f 10 python -m …` to keep others away.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

from pydantic import JsonValue

from console.evaluation.arrival_schedule import OpenLoop, prompts
from console.evaluation.loadgen import Lateness, generate
from console.evaluation.statistics import Timed, read_requests
from console.remote.completion_streams import Streams

TTFT_S, ITL_S, TOKENS = 0.1, 0.02, 16
LIMIT = 0.02


@dataclass(frozen=True)
class Truth:
    """Means in ms and rates of the server's side."""

    ttft: float
    itl: float
    tokens_per_s: float


def truth(stamps: list[list[float]]) -> Truth:
    """What the server did, by its own stamps."""
    first = [times[1] - times[0] for times in stamps]
    gaps = [later - earlier for times in stamps for earlier, later in pairwise(times[1:])]
    length = max(times[-1] for times in stamps) - min(times[0] for times in stamps)
    return Truth(sum(first) / len(first) * 1e3, sum(gaps) / len(gaps) * 1e3, len(stamps) * TOKENS / length)


async def load(port: int, rate: float, seconds: float) -> tuple[tuple[Timed, ...], list[float]]:
    """An open loop with Poisson arrivals; also by how much this process was woken too late."""
    streams = Streams("127.0.0.1", port)

    async def send(prompt: str, due: float) -> Timed:
        body: dict[str, JsonValue] = {"model": "x", "messages": [{"role": "user", "content": prompt}], "stream": True}
        got = await streams.chat(body, 30.0)
        return Timed(due, got.sent_at, got.pieces, got.prompt_tokens, got.output_tokens, got.characters, got.error)

    plan = OpenLoop(rate, int(rate * seconds), "poisson")
    try:
        async with Lateness() as late:
            return await generate(plan, list(prompts(20, plan.requests)), send), late.seconds
    finally:
        streams.close()


def main() -> int:
    """Measure once."""
    rate = float(sys.argv[1]) if len(sys.argv) > 1 else 200.0
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    command = [sys.executable, "-m", "tests.evaluation.slow_server", "--ttft", str(TTFT_S), "--itl", str(ITL_S)]
    command += ["--tokens", str(TOKENS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        before = time.process_time()
        requests, late = asyncio.run(load(port, rate, seconds))
        used = time.process_time() - before
        out, _ = server.communicate()
    real = truth(json.loads(out))
    reading = read_requests(requests, lateness=late)
    found = {name: figure.value for name, figure in reading.numbers.items()}
    worst = 0.0
    for name, mine, theirs, set_to in (
        ("TTFT ms", found["ttft_mean"], real.ttft, TTFT_S * 1e3),
        ("ITL ms", found["itl_mean"], real.itl, ITL_S * 1e3),
        ("tokens/s", found["output_throughput"], real.tokens_per_s, rate * TOKENS),
    ):
        off = mine / theirs - 1.0
        worst = max(worst, abs(off))
        print(f"{name:9} measured {mine:9.3f}  server {theirs:9.3f}  off {off:+.2%}  (set to {set_to:g})")
    print(
        f"{len(requests)} requests, {reading.failed_requests} failed, {found['request_throughput']:.1f} req/s, sent late by "
        f"{found['send_lag_mean']:.2f} ms mean, {found['send_lag_p99']:.2f} ms p99; woken late by "
        f"{found['client_lag_mean']:.2f} ms mean, {found['client_lag_p99']:.2f} ms p99; {used / seconds:.0%} of a core used"
    )
    return int(worst > LIMIT or bool(reading.failed_requests))


if __name__ == "__main__":
    sys.exit(main())
