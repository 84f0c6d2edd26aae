"""Reads the statistics lines of an engine's log: its load, and since when it has made no progress."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TOGETHER_S = 15.0
"""Lines of several engines of one process belong together when they arrived within this time, in seconds."""
_STATS = re.compile(
    r"(?:(?:Engine (\d{1,6})|\d+ Engines Aggregated): )?Avg prompt throughput: (\d{1,12}\.?\d*) tokens/s, "
    r"Avg generation throughput: (\d{1,12}\.?\d*) tokens/s, "
    r"Running: (\d{1,9}) reqs, (?:Swapped: \d+ reqs, )?(?:Waiting|Pending): (\d{1,9}) reqs,.*?KV cache usage: (\d{1,6}\.?\d*)%"
)


@dataclass(frozen=True, slots=True)
class Throughput:
    """The last statistics line of a log. An idle engine prints none, so its age matters."""

    at: float
    """Its arrival, on the caller's clock."""
    prompt_tokens_s: float
    generation_tokens_s: float
    running: int
    waiting: int
    kv_percent: float
    """Use of the fullest KV cache."""
    stalled_since: float | None = None
    """Since when all statistics lines have running requests but no tokens, which is the sign of a hang."""


@dataclass(slots=True)
class ThroughputLines:
    """The newest statistics of each engine of one process."""

    _newest: dict[str, Throughput] = field(default_factory=dict)

    def line(self, text: str, at: float) -> None:
        """Read a line that can be a statistics line; `at` is its arrival on the caller's clock."""
        found = _STATS.search(text)
        if found is None:
            return
        name = found[1] or "all"
        before = self._newest.get(name)
        running, prompt, generated = int(found[4]), float(found[2]), float(found[3])
        stalled = None
        if running and not generated and not prompt:
            stalled = before.stalled_since if before and before.stalled_since is not None else at
        self._newest[name] = Throughput(at, prompt, generated, running, int(found[5]), float(found[6]), stalled)

    def total(self) -> Throughput | None:
        """The sum of all engines of the process; lines more than one interval older than the newest line do not count."""
        newest = max((each.at for each in self._newest.values()), default=0.0)
        lines = [each for each in self._newest.values() if newest - each.at < TOGETHER_S]
        if not lines:
            return None
        stalls = [each.stalled_since for each in lines if each.stalled_since is not None]
        moving = any(each.generation_tokens_s or each.prompt_tokens_s for each in lines)
        return Throughput(
            newest,
            sum(each.prompt_tokens_s for each in lines),
            sum(each.generation_tokens_s for each in lines),
            sum(each.running for each in lines),
            sum(each.waiting for each in lines),
            max(each.kv_percent for each in lines),
            max(stalls) if stalls and not moving else None,
        )
