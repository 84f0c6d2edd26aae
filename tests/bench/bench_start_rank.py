"""Two data-parallel ranks behind one API server on a real vLLM, started in several ways: what differs between them.

`python -m tests.bench.bench_start_rank PLACE [WAY…]`; PLACE holds `venv` (vLLM) and `tinymoe`. Ways: `start-rank` (the serving
rank has start rank 0), `one-server` (no start rank and one API server, as the console starts it), `neither`. For each it prints
the processes, how many requests each engine answered, and the lines of the logs that only this way has.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from console.demo.processes import descendants
from tests.bench.real_lab import ENV

WAYS = {
    "start-rank": ("--data-parallel-start-rank", "0"),
    "one-server": ("--api-server-count", "1"),
    "neither": (),
}
HEAD, PEER = "127.0.0.2", "127.0.0.3"
PORT, RPC_PORT = 8470, 12471
REQUESTS = 24
READY_S = 600.0


@dataclass(frozen=True)
class Seen:
    """What one way of starting came to."""

    processes: tuple[str, ...]
    answered: dict[str, int]
    lines: Counter[str]


def main(place: Path, ways: Sequence[str]) -> int:
    """Start the ranks in each way, one after the other, and print what is alike and what is not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    found: dict[str, Seen] = {}
    for way in ways:
        found[way] = seen = _tried(place, way)
        print(f"== {way}: {' '.join(WAYS[way]) or '(no flag)'}")
        for name, count in sorted(Counter(seen.processes).items()):
            print(f"   {count} {name}")
        print(f"   requests answered by engine: {seen.answered}", flush=True)
    for way, seen in found.items():
        others = {line for other, each in found.items() if other != way for line in each.lines}
        for line in sorted(set(seen.lines) - others) if len(found) > 1 else ():
            print(f"only {way}: {line[:170]}")
    return 0


def _tried(place: Path, way: str) -> Seen:
    common = (
        *("--data-parallel-size", "2", "--data-parallel-size-local", "1", "--data-parallel-address", HEAD),
        *("--data-parallel-rpc-port", str(RPC_PORT), "--served-model-name", "tiny", "--enforce-eager"),
        *("--max-model-len", "512", "--max-num-seqs", "4"),
    )
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        logs = [Path(directory) / "head.log", Path(directory) / "peer.log"]
        head = stack.enter_context(_engine(place, logs[0], HEAD, ("--port", str(PORT), *WAYS[way], *common)))
        peer = stack.enter_context(
            _engine(place, logs[1], PEER, ("--headless", "--data-parallel-start-rank", "1", *common))
        )
        _until_ready(head, peer, logs[0])
        processes = tuple(_title(pid) for root in (head, peer) for pid in (root.pid, *descendants(root.pid)))
        for number in range(REQUESTS):
            body = json.dumps({"model": "tiny", "prompt": f"{number} is a number", "max_tokens": 8}).encode()
            with urlopen(
                Request(_url("/v1/completions"), body, {"Content-Type": "application/json"}), timeout=120
            ) as got:
                got.read()
        with urlopen(_url("/metrics"), timeout=60) as got:
            answered = _answered(got.read().decode())
        text = "\n".join(log.read_text(errors="replace") for log in logs)
    return Seen(processes, answered, Counter(_plain(line) for line in text.splitlines()))


@contextlib.contextmanager
def _engine(place: Path, log: Path, address: str, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, **ENV, "VLLM_HOST_IP": address, "PATH": f"{place / 'venv' / 'bin'}:{os.environ['PATH']}"}
    argv = [str(place / "venv" / "bin" / "vllm"), "serve", str(place / "tinymoe"), "--host", address, *words]
    with log.open("wb") as file:
        process = subprocess.Popen(argv, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        mine = [process.pid, *descendants(process.pid)]
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _until_ready(head: subprocess.Popen[bytes], peer: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if head.poll() is not None or peer.poll() is not None:
            raise SystemExit(
                f"an engine ended: {head.poll()}, {peer.poll()}\n{log.read_text(errors='replace')[-3000:]}"
            )
        with contextlib.suppress(URLError, OSError), urlopen(_url("/health"), timeout=5) as got:
            if got.status == 200:
                return
        time.sleep(2)
    raise SystemExit(f"not ready after {READY_S:.0f} s\n{log.read_text(errors='replace')[-3000:]}")


def _url(path: str) -> str:
    return f"http://{HEAD}:{PORT}{path}"


def _title(pid: int) -> str:
    """How a process names itself, numbers and model left out."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "(ended)"
    named = re.match(r"VLLM::\S+", words)
    return named[0] if named else "vllm serve" if "vllm serve" in words else words.split(" -c ")[-1][:60]


def _answered(metrics: str) -> dict[str, int]:
    """Requests that ended, by engine, from all API servers."""
    found: dict[str, int] = {}
    for engine, count in re.findall(r'vllm:request_success_total\{engine="(\d+)"[^}]*\} ([\d.e+]+)', metrics):
        found[engine] = found.get(engine, 0) + int(float(count))
    return found


def _plain(line: str) -> str:
    """A log line without times, process ids, ports, addresses of sockets and durations."""
    line = re.sub(r"\d\d-\d\d \d\d:\d\d:\d\d", "TIME", re.sub(r"pid=\d+", "pid=N", line))
    return re.sub(r"(?<![\w.])\d[\d.,:%]*\b|/tmp/\S+|[0-9a-f]{8,}", "N", line)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or list(WAYS)))
