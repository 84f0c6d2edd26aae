"""How often engines are asked, and for how long a silence is believed. Only numbers enter here."""

from __future__ import annotations

from dataclasses import dataclass

GRACE_S = 20.0
"""How long an engine has after TERM (vLLM 0.21 needs 3–9 s; its own budget before it kills is 15–20 s)."""
KILL_S = 20.0
"""How long the rest of the tree has after KILL."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between questions to one engine; tests give shorter ones."""

    health_s: float = 10.0
    """Each question is a line in the engine's access log, which an operator has to read: not more often than needed."""
    model_s: float = 60.0
    """Between looks at the list of models; `/health` is asked in between."""
    metrics_s: float = 10.0
    works_s: float = 60.0
    """Between completions of a few tokens: each is work for the NPUs."""
    works_first_s: float = 10.0
    """After an engine was first seen ready, so that a look of a few seconds asks for no tokens."""
    works_timeout_s: float = 30.0
    works_again_s: float = 5.0
    """After a completion that failed once: only the second failure counts."""
    hang_s: float = 30.0
    """Without a token while requests run and the NPUs rest."""
    hang_busy_s: float = 300.0
    """The same while the NPUs compute: the prefill of a very long prompt shows no token for minutes."""
    golden_s: float = 900.0
    """Between comparisons of prefill alone with prefill and decode; at once when other engines serve."""
    diagnosis_s: float = 1.0
    compare_s: float = 10.0
    """Between parts of a node's logs that are compared with their copies here."""
    drift_s: float = 60.0
    """How long a proxy may lack an engine that is ready before that is told: joining takes it a few looks."""
