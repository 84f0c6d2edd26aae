"""Failures on demand: which exist, and how one engine is told to have one.

Put a name (and, where it says so, a number) into a file of the node's `fail` folder (`demo --serve` says where it is),
or, before the demo begins, into `DSV4_DEMO_FAIL` as `SELECTOR:NAME,SELECTOR:NAME` (a bare `NAME` means every engine).
The file's name is the selector: `all`, `port-7100`, `dp-3`, a role (`prefill`, `decode`, `mixed`) or `ROLE-RANK`
(`decode-3`; `decode-3.1` is a further part of an engine that spans nodes). Failures marked "live" are read again every
second, so a serving engine can be broken; the others are read at the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "address": "dp-address is no address of the node: ZMQError, exit 1 (happens by itself when it really is not)",
    "port": "HTTP port held by something that is not vLLM: Errno 98, exit 1",
    "path": "model path not mounted: HFValidationError, exit 1",
    "nic": "no such network interface: the worker says so at once, and the engine ends N s later (`nic 60`), exit 1",
    "quantization": "vllm-ascend plugin not active: Unknown quantization method, exit 1",
    "memory": "NPU out of memory while loading weights, exit 1",
    "held": "HBM held by somebody else at start-up, exit 1 (happens by itself when it really is)",
    "kv-memory": "no memory left for KV cache blocks, exit 1",
    "hccl": "EI0006 after HCCL_CONNECT_TIMEOUT: a rank never joined, exit 1",
    "graph": "stream resources exhausted in graph capture (207008), exit 1",
    "handshake": "no answer from the rank-0 node within 5 minutes, exit 1",
    "ready-timeout": "the API server gives up waiting for its engine cores, exit 1",
    "hang-load": "stops for ever while loading weights, silent",
    "slow": "loads N times slower (`slow 5`)",
    "crash": "live: the engine core dies; /health 503 for a few seconds, then exit 0",
    "worker": "live: a worker process is killed; the executor shuts down, then as crash",
    "hang": "live: requests never advance while /health stays 200",
    "oom-kill": "live: the host's OOM killer takes the API server: exit 137, engine core and workers stay",
    "ignore-term": "SIGTERM is ignored while serving",
    "daemon": "a process in a session of its own keeps HBM of the first device after the engine is gone",
    "flood": "live: writes N log lines a second (`flood 2000`)",
    "bad-answer": "live: answers 200 with no text in it",
    "garbage": "live: answers 200 with text that means nothing",
    "miscount": "live: answers 200 and counts more tokens than it made",
    "model-name": "live: /v1/models and /metrics tell another name, requests with the right one are 404",
    "block-size": "live: reads KV from prefill as if its blocks had another size: text out of place, no error",
    "small-kv": "live: the KV cache holds N tokens (`small-kv 40`), so requests wait",
    "preempt": "live: N running requests are preempted every second (`preempt 5`)",
}
"""Name → what happens."""

SPOILT: Final = frozenset({"bad-answer", "garbage", "miscount"})
"""A rank serves, and its answers are worth nothing."""
LIVE: Final = SPOILT | {"crash", "worker", "hang", "oom-kill", "flood", "block-size", "small-kv", "preempt"}
"""Read again by engine cores; API servers read all of theirs again."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The failures one engine has been told to have."""

    found: Mapping[str, float] = field(default_factory=dict)

    def has(self, kind: str) -> bool:
        """Whether this failure is wanted."""
        return kind in self.found

    def amount(self, kind: str, default: float) -> float:
        """The number behind the name, or `default`."""
        return self.found.get(kind) or default


def selectors(role: str, rank: int, port: int, part: int = 0) -> frozenset[str]:
    """The names by which an engine, or a further part of one, can be meant."""
    own = {f"{role}-{rank}.{part}"} if part else {f"port-{port}", f"{role}-{rank}"}
    return frozenset({"all", f"dp-{rank}", role} | own)


def faults_of(directory: Path, environment: Mapping[str, str], names: frozenset[str]) -> Faults:
    """What the fail folder and the environment ask of the engine with these names; words that are no failure are
    ignored."""
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
