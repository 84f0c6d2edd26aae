"""What one engine core does with requests, step by step: queue, prefill, decode, counters. No I/O, no clock of its
own.

Speeds are those of a modest deployment: 8000 prompt tokens a second, a decode step of 25 ms, 80 % of drafted
tokens accepted.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from console.demo.json_types import JsonValue

STEP_S: Final = 0.025
KV_TOKENS: Final = 400_000
PREFILL_TOKENS_S: Final = 8000.0
ACCEPTANCE: Final = 0.8
_TEXT: Final = (
    "The answer is simulated on this machine and every token is one short word so that streams clients and"
    " counters have"
    " something true to show while no model runs behind them"
)
_WORDS: Final = _TEXT.split()

_TOKENS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_FIRST: Final = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
_BETWEEN: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_WHOLE: Final = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_STEP_TOKENS: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)

BUCKETS: Final[dict[str, Sequence[float]]] = {
    "request_prompt_tokens": _TOKENS,
    "request_generation_tokens": _TOKENS,
    "iteration_tokens_total": _STEP_TOKENS,
    "request_max_num_generation_tokens": _TOKENS,
    "request_params_n": (1, 2, 5, 10, 20),
    "request_params_max_tokens": _TOKENS,
    "time_to_first_token_seconds": _FIRST,
    "inter_token_latency_seconds": _BETWEEN,
    "request_time_per_output_token_seconds": _BETWEEN,
    "e2e_request_latency_seconds": _WHOLE,
    "request_queue_time_seconds": _WHOLE,
    "request_inference_time_seconds": _WHOLE,
    "request_prefill_time_seconds": _WHOLE,
    "request_decode_time_seconds": _WHOLE,
    "request_prefill_kv_computed_tokens": _TOKENS,
}
"""Histograms of vLLM 0.21 v1/metrics/loggers.py and their upper bounds."""

REASONS: Final = ("stop", "length", "abort", "error", "repetition")


@dataclass(slots=True)
class Request:
    """One request inside the core."""

    id: str
    prompt: int
    wanted: int
    arrived: float
    started: float | None = None
    first_token: float | None = None
    last_token: float = 0.0
    made: int = 0
    misread: bool = False
    """Whether its KV came from prefill and is read in the wrong places."""


@dataclass(frozen=True, slots=True)
class Output:
    """New output of one request: its text, its tokens, and why it ended (None while it runs)."""

    id: str
    text: str
    tokens: int
    finish: str | None


@dataclass(slots=True)
class Histogram:
    """Counts per bound, and the sum."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Scheduler:
    """The requests of one core."""

    max_seqs: int
    draft_tokens: int = 0
    kv_tokens: int = KV_TOKENS
    """Tokens the KV cache holds."""
    waiting: deque[Request] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    histograms: dict[str, Histogram] = field(
        default_factory=lambda: {name: Histogram(bounds) for name, bounds in BUCKETS.items()}
    )

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + amount

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or self.running)

    @property
    def kv_usage(self) -> float:
        """Share of the KV cache in use, 0–1."""
        return min(1.0, sum(each.prompt + each.made for each in self.running) / self.kv_tokens)

    def add(self, request: Request) -> None:
        """Queue a request."""
        self.waiting.append(request)
        self.histograms["request_params_n"].add(1)
        self.histograms["request_params_max_tokens"].add(request.wanted)

    def step(self, now: float) -> list[Output]:
        """One engine step at `now` (seconds): what each running request got."""
        while self.waiting and len(self.running) < self.max_seqs and self._room():
            request = self.waiting.popleft()
            request.started = now
            self.running.append(request)
        made = [self._advance(request, now) for request in self.running]
        outputs = [output for output in made if output is not None]
        ended = {output.id for output in outputs if output.finish}
        self.running = [request for request in self.running if request.id not in ended]
        if outputs:
            self.histograms["iteration_tokens_total"].add(sum(output.tokens for output in outputs))
        return outputs

    def _room(self) -> bool:
        """Whether the next request's prompt fits; one alone always runs."""
        used = sum(each.prompt + each.made for each in self.running)
        return not self.running or used + self.waiting[0].prompt <= self.kv_tokens

    def _advance(self, request: Request, now: float) -> Output | None:
        begun = request.started or now
        if request.first_token is None:
            if now - begun < 0.04 + request.prompt / PREFILL_TOKENS_S:
                return None
            request.first_token = now
            self._count_prompt(request, now)
        tokens = 1
        for _ in range(self.draft_tokens if request.made else 0):
            self.count("draft_tokens")
            if random.random() >= ACCEPTANCE:
                break
            self.count("accepted_tokens")
            tokens += 1
        if self.draft_tokens and request.made:
            self.count("drafts")
            self.histograms["inter_token_latency_seconds"].add(now - request.last_token)
        tokens = min(tokens, request.wanted - request.made)
        first = request.made + (3 if request.misread else 0)
        words = [_WORDS[(first + index) % len(_WORDS)] for index in range(tokens)]
        text = "".join(word if request.made + index == 0 else f" {word}" for index, word in enumerate(words))
        request.made += tokens
        request.last_token = now
        self.count("generation_tokens", tokens)
        finish = "length" if request.made >= request.wanted else None
        if finish:
            self._close(request, now, finish)
        return Output(request.id, text, tokens, finish)

    def _count_prompt(self, request: Request, now: float) -> None:
        self.count("prompt_tokens", request.prompt)
        self.count("prefix_cache_queries", request.prompt)
        self.histograms["time_to_first_token_seconds"].add(now - request.arrived)
        self.histograms["request_prompt_tokens"].add(request.prompt)
        self.histograms["request_prefill_kv_computed_tokens"].add(request.prompt)

    def _close(self, request: Request, now: float, reason: str) -> None:
        self.finished[reason] += 1
        begun, first = request.started or now, request.first_token or now
        self.histograms["request_generation_tokens"].add(request.made)
        self.histograms["request_max_num_generation_tokens"].add(request.made)
        self.histograms["e2e_request_latency_seconds"].add(now - request.arrived)
        self.histograms["request_queue_time_seconds"].add(begun - request.arrived)
        self.histograms["request_inference_time_seconds"].add(now - begun)
        self.histograms["request_prefill_time_seconds"].add(first - begun)
        self.histograms["request_decode_time_seconds"].add(now - first)
        if request.made > 1:
            self.histograms["request_time_per_output_token_seconds"].add((now - first) / (request.made - 1))

    def abort(self, ids: set[str] | None = None, now: float = 0.0, reason: str = "abort") -> list[Output]:
        """End these requests (all when None) early."""
        ended = [each for each in (*self.waiting, *self.running) if ids is None or each.id in ids]
        gone = {each.id for each in ended}
        self.waiting = deque(each for each in self.waiting if each.id not in gone)
        self.running = [each for each in self.running if each.id not in gone]
        for request in ended:
            self._close(request, now, reason)
        return [Output(each.id, "", 0, reason) for each in ended]

    def stats(self) -> dict[str, JsonValue]:
        """Everything `/metrics` shows of this core."""
        return {
            "running": len(self.running),
            "waiting": len(self.waiting),
            "kv_usage": self.kv_usage,
            "counters": dict(self.counters),
            "finished": dict(self.finished),
            "histograms": {name: [list(each.counts), each.total] for name, each in self.histograms.items()},
        }
