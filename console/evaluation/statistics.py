"""Figures from requests that were timed one by one, by the definitions of `vllm bench serve` (vllm/benchmarks/serve.py).

TTFT is the first streamed choice minus the sending; the inter-token latencies are the gaps between streamed choices; the end
is the last streamed choice; TPOT is (end − TTFT) / (output tokens − 1). Percentiles are interpolated linearly, as numpy's.
One thing differs: the tool's clock for TTFT starts before it takes a connection and builds the request, ours when it is written.
Failed requests give no figure. Doing requests does not enter here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from console.evaluation.figures import ResultError, ToolFigures
from console.evaluation.records import Figure, TimePoint

PERCENTILES = (50, 90, 99)
LATE_S, LATE_SHARE = 0.005, 0.05
"""A client that sends this much late (seconds, and share of the median TTFT) distorts what it measures."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One request as the client saw it; seconds on one monotonic clock."""

    intended_at: float
    """When the schedule wanted it sent; in an open loop this does not depend on the server."""
    sent_at: float
    pieces: tuple[float, ...] = ()
    """When each streamed choice arrived."""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    """As the server's usage says; None when it does not say."""
    characters: int = 0
    """Length of the text that came."""
    error: str = ""
    """Why it failed; empty when it did not."""

    @property
    def ended_at(self) -> float:
        """When its last piece came."""
        return self.pieces[-1] if self.pieces else self.sent_at

    @property
    def tokens(self) -> int:
        """Output tokens: what the server counted, else the pieces that came."""
        return self.output_tokens if self.output_tokens is not None else len(self.pieces)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie, interpolated; `ordered` is sorted and not empty."""
    place = (len(ordered) - 1) * percent / 100.0
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(name: str, seconds: Sequence[float], percentiles: Sequence[int] = PERCENTILES) -> dict[str, Figure]:
    """Mean, standard deviation and percentiles of latencies given in seconds, in ms; nothing when there are none."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    mean = math.fsum(ordered) / len(ordered)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in ordered) / len(ordered))
    found = {f"{name}_mean": mean, f"{name}_std": spread}
    found |= {f"{name}_p{percent}": percentile(ordered, percent) for percent in percentiles}
    return {key: Figure(value * 1000.0, "ms") for key, value in found.items()}


def read_requests(requests: Sequence[Timed], *, intended: bool = False, lateness: Sequence[float] = ()) -> ToolFigures:
    """The figures of a run. Raises ResultError when no request succeeded, or none brought a token.

    With `intended`, TTFT and end-to-end latency count from when a request was due, not from when it could be sent: requests
    that had to wait because the client or the server was late are then not made to look fast (coordinated omission).
    `lateness` is by how many seconds the client was woken too late over the run.
    """
    good = [request for request in requests if not request.error and request.pieces]
    failed = len(requests) - len(good)
    if not good:
        first = next((request.error for request in requests if request.error), "") or "nothing was streamed"
        raise ResultError(f"all {len(requests)} requests failed: {first}", hint="is the endpoint right?")
    if not any(request.tokens for request in good) or not any(request.characters for request in good):
        raise ResultError("no tokens were generated", hint="the engine answers 200 with nothing")
    began = min(request.sent_at for request in requests)
    duration = max(request.ended_at for request in requests) - began
    if duration <= 0:
        raise ResultError("the run took no time that could be measured")
    return ToolFigures(
        numbers={**_latencies(good, intended), **summary("client_lag", lateness), **_rates(good, duration)},
        failed_requests=failed,
        total_requests=len(requests),
        timeline=timeline(good),
        warnings=tuple(_warnings(good, lateness)),
    )


def _latencies(good: Sequence[Timed], intended: bool) -> dict[str, Figure]:
    origins = [request.intended_at if intended else request.sent_at for request in good]
    first = [request.pieces[0] - origin for request, origin in zip(good, origins, strict=True)]
    whole = [request.ended_at - origin for request, origin in zip(good, origins, strict=True)]
    gaps = [
        later - earlier for request in good for earlier, later in zip(request.pieces, request.pieces[1:], strict=False)
    ]
    each = [(request.ended_at - request.pieces[0]) / (request.tokens - 1) for request in good if request.tokens > 1]
    lag = [request.sent_at - request.intended_at for request in good]
    return {
        **summary("ttft", first),
        **summary("tpot", each),
        **summary("itl", gaps),
        **summary("e2el", whole),
        **summary("send_lag", lag),
    }


def _rates(good: Sequence[Timed], duration: float) -> dict[str, Figure]:
    output = sum(request.tokens for request in good)
    prompts = [request.prompt_tokens for request in good if request.prompt_tokens is not None]
    found = {
        "duration": Figure(duration, "s"),
        "output_tokens": Figure(output, "token"),
        "request_throughput": Figure(len(good) / duration, "req/s"),
        "output_throughput": Figure(output / duration, "token/s"),
    }
    if len(prompts) == len(good):
        found["input_tokens"] = Figure(sum(prompts), "token")
        found["total_throughput"] = Figure((sum(prompts) + output) / duration, "token/s")
    return found


def _warnings(good: Sequence[Timed], lateness: Sequence[float]) -> Iterator[str]:
    silent = sum(request.output_tokens is None for request in good)
    if silent:
        yield f"{silent} answers came without a token count; their streamed pieces were counted instead"
    late = percentile(sorted(request.sent_at - request.intended_at for request in good), 99)
    first = percentile(sorted(request.pieces[0] - request.sent_at for request in good), 50)
    if late > max(LATE_S, LATE_SHARE * first):
        yield (
            f"requests were sent up to {late * 1000:.0f} ms late (p99): this machine, or the limit of requests in flight, "
            "is part of what was measured"
        )
    lag = percentile(sorted(lateness), 99) if lateness else 0.0
    if lag > max(LATE_S, LATE_SHARE * first):
        yield (
            f"this machine was busy: each time here may be up to {lag * 1000:.0f} ms too long (p99); measure from another, or "
            "with a tool on a node"
        )


def timeline(good: Sequence[Timed]) -> tuple[TimePoint, ...]:
    """Tokens per second of the run; a request's tokens are spread evenly over its pieces."""
    arrivals = [(at, request.tokens / len(request.pieces)) for request in good for at in request.pieces]
    return per_second(arrivals, [(request.sent_at, request.ended_at) for request in good])


def per_second(arrivals: Sequence[tuple[float, float]], spans: Sequence[tuple[float, float]]) -> tuple[TimePoint, ...]:
    """(time, tokens) arrivals and request spans, in seconds on one clock, as sums per second since the first request."""
    if not spans:
        return ()
    origin = min(began for began, _ in spans)
    length = int(max(ended for _, ended in spans) - origin) + 1
    tokens, running = [0.0] * length, [0] * length
    for at, count in arrivals:
        tokens[min(length - 1, max(0, int(at - origin)))] += count
    for began, ended in spans:
        for second in range(int(began - origin), min(length, int(ended - origin) + 1)):
            running[second] += 1
    return tuple(TimePoint(float(second), tokens[second], running[second]) for second in range(length))
