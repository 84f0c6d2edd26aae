"""Intervals of requests to engines, and time limits."""

from __future__ import annotations

from dataclasses import dataclass

GRACE_S = 20.0
"""Time after TERM before KILL (vLLM 0.21 needs 3–9 s; vLLM itself kills after 15–20 s)."""
KILL_S = 20.0
"""Time that processes have to exit after KILL."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between requests to one engine; tests use shorter ones."""

    health_s: float = 10.0
    """Each request is a line in the engine's access log, so it is no more frequent than needed."""
    model_s: float = 60.0
    """Between reads of the model list; `/health` is requested in between."""
    metrics_s: float = 10.0
    works_s: float = 60.0
    """Between completions of a few tokens; each is work for the NPUs."""
    works_first_s: float = 10.0
    """After an engine was first seen ready, so that a short session requests no tokens."""
    works_timeout_s: float = 30.0
    works_again_s: float = 5.0
    """After a failed completion; only a second failure counts."""
    hang_s: float = 30.0
    """Without a token while requests run and the NPUs are idle."""
    hang_busy_s: float = 300.0
    """Without a token while the NPUs compute; the prefill of a very long prompt gives no token for minutes."""
    golden_s: float = 900.0
    """Between comparisons of prefill alone with prefill and decode; sooner when other engines serve."""
    diagnosis_s: float = 1.0
    compare_s: float = 10.0
    """Between comparisons of parts of a node's logs with their local copies."""
    drift_s: float = 60.0
    """How long a proxy may miss a ready engine before it is reported; the proxy needs several checks to add it."""
