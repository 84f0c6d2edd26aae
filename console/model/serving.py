"""The load of an engine, a group or the deployment, as its metrics report it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Serving:
    """How busy, full and fast an engine, a group or the deployment is, from its metrics. None is unknown."""

    at: float
    """When the oldest part of it was read."""
    running: int | None = None
    waiting: int | None = None
    deferred: int | None = None
    """Waiting for KV from a prefill engine."""
    kv_usage: float | None = None
    """0-1, of several engines the fullest."""
    prompt_tokens_s: float | None = None
    generation_tokens_s: float | None = None
    requests_s: float | None = None
    failed_s: float | None = None
    preemptions_s: float | None = None
    prefix_hit: float | None = None
    acceptance: float | None = None
    """Share of the draft tokens that the model accepted, 0-1."""
    ttft_s: tuple[float | None, float | None, float | None] = (None, None, None)
    """Time to first token in the last interval: p50, p90, p99, seconds."""
    itl_s: tuple[float | None, float | None, float | None] = (None, None, None)
    """Between tokens: p50, p90, p99, seconds."""
    history: tuple[float | None, ...] = ()
    """Generated tokens per second of the last intervals, oldest first."""
    prompt_history: tuple[float | None, ...] = ()
    """The same of the tokens of prompts."""
