"""When requests are due: open loop (arrivals that do not wait for answers) or closed loop (so many at a time). Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from console.model.errors import UsageError

Arrival = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Requests come at a rate whatever the server does, as users do."""

    rate: float
    """Requests per second."""
    requests: int
    arrival: Arrival = "poisson"
    seed: int = 0
    max_in_flight: int | None = None
    """Limit of open connections; a request that has to wait for one keeps the time it was due."""

    def __post_init__(self) -> None:
        if not self.rate > 0 or self.rate > 100_000:
            raise UsageError(f"a request rate of {self.rate:g} per second cannot be", hint="give one above 0")
        _at_least_one(self.requests, "requests")

    def due(self) -> tuple[float, ...]:
        """Seconds after the start at which each request is due.

        Poisson arrivals are scaled to end when the mean rate says, as `vllm bench serve` does it, so that two seeds load alike.
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
    """A fixed number of users, each sending the next request when the last is answered."""

    concurrency: int
    requests: int

    def __post_init__(self) -> None:
        _at_least_one(self.concurrency, "concurrency")
        _at_least_one(self.requests, "requests")


Load = OpenLoop | ClosedLoop


def prompts(words: int, count: int, seed: int = 0) -> Iterator[str]:
    """`count` prompts of about `words` words, all different from their first word on, so that no prefix cache helps."""
    source = random.Random(seed)
    for index in range(count):
        body = " ".join(source.choice(_WORDS) for _ in range(max(1, words) - 1))
        yield f"{index}-{source.getrandbits(32):08x} {body}".strip()


def _at_least_one(value: int, what: str) -> None:
    if value < 1:
        raise UsageError(f"{what}: {value} is not enough", hint="give 1 or more")


# fmt: off
_WORDS = (
    "river", "stone", "cloud", "paper", "green", "seven", "light", "water", "north", "field", "glass", "table",
    "round", "quick", "metal", "house", "train", "under", "apple", "night", "bread", "music", "ocean", "plant",
)
# fmt: on
