"""The figures of the header: engines by state, the progress of a start, load and KV cache of the deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.model.state import EngineState
from screens.charts import bar, sparkline
from screens.figures import LoadFigures, deployed_devices, device_figures, load_of, percent, power
from screens.styled_lines import Line, Pen, join
from screens.themes import signs_of

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot

TREND_CELLS = 6
"""Twelve intervals of ten seconds: the last two minutes."""


def engine_counts(snapshot: ClusterSnapshot, pen: Pen) -> tuple[Line, Line]:
    """How many engines are in which state, the worst first; and the worst alone."""
    signs = signs_of(snapshot.engines.values())
    words: list[Line] = [((f"{pen.sign(sign)} {count} {sign.word}", sign.role),) for sign, _, count in signs]
    return join(words), words[0] if words else ()


def start_part(snapshot: ClusterSnapshot, pen: Pen) -> Line:
    """How far the slowest engine is that starts, and how long the start takes yet where earlier ones tell."""
    from console.model.durations import about

    starting = [each for each in snapshot.engines.values() if each.state is EngineState.STARTING]
    known = [each.progress for each in starting if each.progress is not None]
    left = max((each.left_s for each in snapshot.start_progress.values() if each.left_s), default=None)
    words: Line = ((f"about {about(left)} left", "plain"),) if left else ()
    if not known:
        return words
    return (*bar(min(known), 10, pen, role="busy"), (f" {min(known):.0%}  ", "busy"), *words)


def load_parts(snapshot: ClusterSnapshot, pen: Pen) -> tuple[Sequence[Line], ...]:
    """What is known of the load, ever shorter: with both trends, with that of the output, with words, in brief."""
    serving = load_of([snapshot.serving.get("")])
    figures = device_figures(deployed_devices(snapshot))
    kv = serving.kv_usage if serving else None
    shares = [
        _figure(name, percent(share)) for name, share in (("KV", kv), ("HBM", figures.hbm), ("AICore", figures.aicore))
    ]
    full = (*shares, _figure("", power(figures.power_w)))
    if serving is None:
        return (full,)
    speeds = [_speeds(serving, pen, trends=trends) for trends in (("out", "in"), ("out",), ())]
    return (*((_requests(serving), each, *full) for each in speeds), (_brief_requests(serving), speeds[-1], *full))


def _figure(label: str, value: str) -> Line:
    if not value:
        return ()
    return ((f"{label} ", "dim"), (value, "plain")) if label else ((value, "plain"),)


def _requests(serving: LoadFigures) -> Line:
    if serving.running is None and serving.waiting is None:
        return ()
    waiting: Line = ((f", {serving.waiting} waiting", "warn" if serving.queues else "plain"),)
    spans: Line = (("req ", "dim"), (f"{_count(serving.running)} running", "plain"))
    return spans if serving.waiting is None else (*spans, *waiting)


def _brief_requests(serving: LoadFigures) -> Line:
    if serving.running is None and serving.waiting is None:
        return ()
    waiting = f"+{serving.waiting}" if serving.waiting is not None else ""
    return (("req ", "dim"), (f"{_count(serving.running)}{waiting}", "warn" if serving.queues else "plain"))


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)


def _speeds(serving: LoadFigures, pen: Pen, *, trends: Sequence[str]) -> Line:
    """Tokens per second out and in, those that are named in `trends` with their last two minutes."""
    from console.evaluation.plots import number

    flows = (
        ("out", serving.generation_tokens_s, serving.history),
        ("in", serving.prompt_tokens_s, serving.prompt_history),
    )
    line: Line = ()
    for name, value, history in flows:
        if value is not None:
            drawn = sparkline(history, TREND_CELLS, pen) if name in trends else ""
            line = (*line, (f" {name} ", "dim"), (number(round(value)), "plain"))
            line = (*line, (f" {drawn}", "busy")) if drawn.strip() else line
    return (("tok/s", "dim"), *line) if line else ()
