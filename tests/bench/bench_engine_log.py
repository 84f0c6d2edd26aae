"""How fast log bytes are looked through: run `python -m tests.bench.bench_engine_log [MiB]`."""

from __future__ import annotations

import sys
import time

from console.probes.engine_log import LaunchLog

CHUNK = 64 * 1024
START = b"(APIServer pid=1) INFO 11-23 20:39:21 [model.py:568] Resolved architecture: DeepseekV4ForCausalLM\n"
READY = b"(APIServer pid=1) INFO:     Application startup complete.\n"
CHATTER = {
    "access lines": b'(APIServer pid=%d) INFO:     10.0.0.7:41130 - "POST /v1/completions HTTP/1.1" 200 OK\n',
    "worker lines": b"(Worker_DP3_TP1_EP7 pid=%d) INFO 11-23 20:39:44 [parallel_state.py:1410] all is well with this rank\n",
    "ERROR lines": b'(EngineCore pid=%d) ERROR 11-23 20:35:24 [core.py:1142]   File "/v1/engine/core.py", line 1133, in run\n',
}


def rate(first: bytes, line: bytes, mib: int) -> float:
    """MB/s of a log that starts with `first` and goes on with copies of `line`."""
    block = b"".join(line % (1000 + number) for number in range(CHUNK // len(line)))
    log = LaunchLog()
    log.feed(first, 0.0)
    rounds = mib * 2**20 // len(block)
    begin = time.process_time()
    for number in range(rounds):
        log.feed(block, float(number))
    return rounds * len(block) / (time.process_time() - begin) / 1e6


def main() -> None:
    """Print one figure for each kind of chatter, while starting and while serving."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    for name, line in CHATTER.items():
        for state, first in (("starting", START), ("serving", START + READY)):
            print(f"{name:14} {state:9} {rate(first, line, mib):8.0f} MB/s")


if __name__ == "__main__":
    main()
