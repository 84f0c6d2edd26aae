"""The send times of requests: open loop (arrivals do not wait for answers) or closed loop (a fixed number at a time)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from console.model.errors import UsageError

Arrival = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Requests arrive at a fixed rate, whatever the server does, as from users."""

    rate: float
    """Requests per second."""
    requests: int
    arrival: Arrival = "poisson"
    seed: int = 0
    max_in_flight: int | None = None
    """Most open connections; a request that waits for a connection keeps its planned send time."""

    def __post_init__(self) -> None:
        if not self.rate > 0 or self.rate > 100_000:
            raise UsageError(f"the request rate is {self.rate:g} per second", hint="give a rate above 0")
        _at_least_one(self.requests, "requests")

    def due(self) -> tuple[float, ...]:
        """The send time of each request in seconds after the start.

        Poisson arrivals are scaled to the mean rate, as in `vllm bench serve`, so that two seeds give the same load.
        """
        if self.arrival == "constant":
            return tuple(index / self.rate for index in range(self.requests))
        source = random.Random(self.seed)
        times = [0.0]
        for _ in range(self.requests - 1):
            times.append(times[-1] + source.expovariate(self.rate))
        wanted = (self.requests - 1) / self.rate
        scale = wanted / times[-1] if times[-1] > 0 else 1.0
        return tuple(at * scale for at in times)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A fixed number of users; each sends its next request when the last one is answered."""

    concurrency: int
    requests: int

    def __post_init__(self) -> None:
        _at_least_one(self.concurrency, "concurrency")
        _at_least_one(self.requests, "requests")


Load = OpenLoop | ClosedLoop


def prompts(words: int, count: int, seed: int = 0) -> Iterator[str]:
    """`count` prompts of about `words` words, different from the first word on, so that the prefix cache has no effect."""
    source = random.Random(seed)
    for index in range(count):
        body = " ".join(source.choice(_WORDS) for _ in range(max(1, words) - 1))
        yield f"{index}-{source.getrandbits(32):08x} {body}".strip()


def _at_least_one(value: int, what: str) -> None:
    if value < 1:
        raise UsageError(f"{what} is {value}", hint="give 1 or more")


# fmt: off
_WORDS = (
    "river", "stone", "cloud", "paper", "green", "seven", "light", "water", "north", "field", "glass", "table",
    "round", "quick", "metal", "house", "train", "under", "apple", "night", "bread", "music", "ocean", "plant",
)
# fmt: on
