"""The built-in load generator against the real `vllm bench serve`: the same server with known delays, one after the other.

Run: `python -m tests.bench.bench_against_vllm VLLM MODEL` with a vLLM 0.21 program and a directory with a tokenizer. Prints each
figure of both, their difference, and what the server itself did; exits 1 when inter-token latency, time per token or output
throughput differ by more than 5 %. TTFT is printed, not judged: the tool starts its clock before it takes a connection and
builds the request, ours just before the request is written.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from console.commands.flags import flag_words
from console.evaluation.arrival_schedule import ClosedLoop, prompts
from console.evaluation.loadgen import generate
from console.evaluation.records import Figure
from console.evaluation.statistics import Timed, read_requests
from console.evaluation.vllm_bench import read_json
from console.remote.completion_streams import Streams

USERS, REQUESTS, TTFT_S, ITL_S, TOKENS = 8, 160, 0.1, 0.02, 16
JUDGED = ("itl_mean", "tpot_mean", "output_throughput")
SHOWN = ("ttft_mean", "ttft_p50", "ttft_p99", "itl_p50", "itl_p99", "e2el_mean", "output_tokens", *JUDGED)
LIMIT = 0.05


def theirs(program: str, model: str, port: int) -> Mapping[str, Figure]:
    """What the real tool measures."""
    with tempfile.TemporaryDirectory() as place:
        result = Path(place) / "bench.json"
        words = flag_words(
            {
                "backend": "openai-chat",
                "endpoint": "/v1/chat/completions",
                "host": "127.0.0.1",
                "port": port,
                "model": model,
                "served-model-name": "slow",
                "dataset-name": "random",
                "random-input-len": 32,
                "random-output-len": TOKENS,
                "num-prompts": REQUESTS,
                "max-concurrency": USERS,
                "percentile-metrics": "ttft,tpot,itl,e2el",
                "metric-percentiles": "50,90,99",
                "ready-check-timeout-sec": 0,
                "save-result": True,
                "result-filename": str(result),
            }
        )
        subprocess.run([program, "bench", "serve", *words], check=True, capture_output=True)
        return read_json(result.read_text()).numbers


async def ours(port: int) -> Mapping[str, Figure]:
    """What the built-in generator measures."""
    streams = Streams("127.0.0.1", port)

    async def send(prompt: str, due: float) -> Timed:
        messages = [{"role": "user", "content": prompt}]
        got = await streams.chat({"model": "slow", "messages": messages, "stream": True}, 30.0)  # type: ignore[dict-item]
        return Timed(due, got.sent_at, got.pieces, got.prompt_tokens, got.output_tokens, got.characters, got.error)

    try:
        return read_requests(await generate(ClosedLoop(USERS, REQUESTS), list(prompts(20, REQUESTS)), send)).numbers
    finally:
        streams.close()


class Server:
    """The slow server as a process of its own."""

    def __init__(self) -> None:
        words = ["--ttft", str(TTFT_S), "--itl", str(ITL_S), "--tokens", str(TOKENS)]
        command = [sys.executable, "-m", "tests.evaluation.slow_server", *words]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def truth(self) -> str:
        """End it; what it did, in words."""
        out, _ = self._process.communicate()
        stamps = json.loads(out)
        first = [times[1] - times[0] for times in stamps]
        gaps = [later - earlier for times in stamps for earlier, later in pairwise(times[1:])]
        return f"TTFT {sum(first) / len(first) * 1e3:.2f} ms, ITL {sum(gaps) / len(gaps) * 1e3:.3f} ms"


def main() -> int:
    """Measure once with each."""
    server = Server()
    tool = theirs(sys.argv[1], sys.argv[2], server.port)
    print(f"server under vllm bench serve: {server.truth()}")
    server = Server()
    own = asyncio.run(ours(server.port))
    print(f"server under the built-in one: {server.truth()}")
    worst = 0.0
    for name in SHOWN:
        off = own[name].value / tool[name].value - 1.0
        worst = max(worst, abs(off)) if name in JUDGED else worst
        print(f"{name:18} vllm {tool[name].value:10.3f}  built-in {own[name].value:10.3f}  {off:+.2%}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
