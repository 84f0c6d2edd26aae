"""The list of running evaluations, on nodes and on this machine, from known data. Asks no node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from console.evaluation.progress import Progress
from console.model.run import RunKey
from console.services.evaluation.plans import parameters
from console.services.evaluation.results import spec_of
from screens.protocols import Evaluations


@dataclass(frozen=True, slots=True)
class RunningEvaluation:
    """A run that goes on."""

    key: RunKey
    node: str
    """Empty for the built-in generator, which runs here."""
    tool: str
    subject: str
    parameters: Mapping[str, JsonValue]
    started_at: float | None
    """On the node's clock; unknown before it has started."""
    progress: Progress | None
    stopping: bool = False


def live_runs(evaluations: Evaluations) -> tuple[RunningEvaluation, ...]:
    """All of them, those of nodes first."""
    found = []
    for node, state in evaluations.watch.running():
        spec = spec_of(state)
        if spec is not None:
            progress = evaluations.watch.progress(state.key)
            found.append(
                RunningEvaluation(
                    state.key,
                    node,
                    spec.tool,
                    spec.subject,
                    spec.parameters,
                    state.started_at,
                    progress,
                    state.stopping,
                )
            )
    for key, local in evaluations.local.items():
        ask = local.plan.ask
        found.append(
            RunningEvaluation(key, "", str(ask.tool), ask.subject, parameters(ask), local.started_at, local.progress)
        )
    return tuple(found)


def load_word(found: Mapping[str, JsonValue]) -> str:
    """The load of a run in a few letters: `c16`, `2.5/s`."""
    rate, concurrency = found.get("rate"), found.get("concurrency")
    if isinstance(rate, int | float):
        return f"{rate:g}/s"
    return f"c{concurrency}" if isinstance(concurrency, int) else "-"


def progress_words(progress: Progress | None) -> str:
    """How far a run is: share, count, rate and estimate, as far as the tool says."""
    if progress is None:
        return "no progress yet"
    words = [f"{progress.share:.0%}", f"{progress.done}/{progress.total}"]
    if progress.rate_per_s is not None:
        words.append(f"{progress.rate_per_s:.3g}/s")
    if progress.left_s is not None:
        words.append(f"{left_words(progress.left_s)} left")
    return " ".join(words)


def left_words(seconds: float) -> str:
    """`34s`, `12m`, `3h05`."""
    if seconds < 100:
        return f"{seconds:.0f}s"
    if seconds < 6000:
        return f"{seconds / 60:.0f}m"
    return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}"
