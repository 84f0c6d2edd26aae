"""Failures of simulated engines: which kinds exist, and how to cause one.

Write the name of a failure (and a number, where the list says so) into a file of the node's `fail` directory, which
`demo --serve` prints. Or set `DSV4_DEMO_FAIL` before the demo starts: `SELECTOR:NAME,SELECTOR:NAME`; a NAME alone applies
to every engine. The name of the file is the selector: `all`, `port-7100`, `dp-3`, a role (`prefill`, `decode`, `mixed`)
or `ROLE-RANK` (`decode-3`; `decode-3.1` is the second node of an engine that spans nodes). An engine reads failures
marked "live" every second while it serves; it reads the others when it starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "address": "the data-parallel address does not belong to the node: ZMQError, exit 1 (so does a wrong address)",
    "port": "a process that is not vLLM holds the HTTP port: Errno 98, exit 1",
    "path": "the model path is not mounted: HFValidationError, exit 1",
    "nic": "the network interface does not exist: the worker logs it; the engine exits with code 1 after N seconds (`nic 60`)",
    "quantization": "the vllm-ascend plugin is not active: Unknown quantization method, exit 1",
    "memory": "the NPU runs out of memory while the weights load, exit 1",
    "held": "another process holds HBM at the start, exit 1 (a real process that holds HBM has the same effect)",
    "kv-memory": "no memory is left for KV cache blocks, exit 1",
    "hccl": "a rank does not join before HCCL_CONNECT_TIMEOUT: EI0006, exit 1",
    "graph": "graph capture runs out of stream resources: 207008, exit 1",
    "handshake": "the node of rank 0 does not answer within 5 minutes, exit 1",
    "ready-timeout": "the API server stops waiting for its engine cores, exit 1",
    "hang-load": "the engine hangs while it loads weights, and logs nothing",
    "slow": "the engine loads N times slower (`slow 5`)",
    "crash": "live: the engine core dies; /health answers 503 for a few seconds, then the engine exits with 0",
    "worker": "live: a worker process is killed; the executor shuts down, then the engine ends as with crash",
    "hang": "live: requests make no progress while /health answers 200",
    "oom-kill": "live: the OOM killer of the host kills the API server: exit 137; engine core and workers remain",
    "ignore-term": "a serving engine ignores SIGTERM",
    "daemon": "a process in its own session keeps HBM of the first device after the engine has exited",
    "flood": "live: the engine writes N log lines a second (`flood 2000`)",
    "bad-answer": "live: answers are 200 without text",
    "garbage": "live: answers are 200 with meaningless text",
    "miscount": "live: answers are 200 with a higher token count than the text has",
    "model-name": "live: /v1/models and /metrics report another model name; requests with the right name get 404",
    "block-size": "live: decode reads the KV cache of prefill with another block size: wrong text, no error",
    "small-kv": "live: the KV cache holds N tokens (`small-kv 40`), so requests wait",
    "preempt": "live: N running requests are preempted every second (`preempt 5`)",
}
"""Name → what happens."""

WRONG_ANSWERS: Final = frozenset({"bad-answer", "garbage", "miscount"})
"""Failures of a rank that serves and gives wrong answers."""
LIVE: Final = WRONG_ANSWERS | {"crash", "worker", "hang", "oom-kill", "flood", "block-size", "small-kv", "preempt"}
"""Failures that an engine core reads again while it serves. An API server reads all its failures again."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The failures of one engine."""

    found: Mapping[str, float] = field(default_factory=dict)

    def has(self, kind: str) -> bool:
        """Whether the engine has this failure."""
        return kind in self.found

    def amount(self, kind: str, default: float) -> float:
        """The number after the name, or `default`."""
        return self.found.get(kind) or default


def selectors(role: str, rank: int, port: int, part: int = 0) -> frozenset[str]:
    """The selectors that apply to an engine, or to a further node of it (`part` 1 or more)."""
    own = {f"{role}-{rank}.{part}"} if part else {f"port-{port}", f"{role}-{rank}"}
    return frozenset({"all", f"dp-{rank}", role} | own)


def faults_of(directory: Path, environment: Mapping[str, str], names: frozenset[str]) -> Faults:
    """The failures that the `fail` directory and the environment name for an engine with these selectors.

    Words that name no failure are ignored.
    """
    found: dict[str, float] = {}
    for text in _texts(directory, environment, names):
        for line in text.splitlines():
            words = line.split()
            if words and words[0] in KINDS:
                found[words[0]] = _number(words[1:])
    return Faults(found)


def _number(words: list[str]) -> float:
    try:
        return float(words[0]) if words else 0.0
    except ValueError:
        return 0.0


def _texts(directory: Path, environment: Mapping[str, str], names: frozenset[str]) -> Iterable[str]:
    for name in sorted(names):
        try:
            yield (directory / "fail" / name).read_text()
        except OSError:
            continue
    for entry in environment.get("DSV4_DEMO_FAIL", "").split(","):
        selector, colon, kind = entry.strip().rpartition(":")
        if not colon or selector in names:
            yield kind
