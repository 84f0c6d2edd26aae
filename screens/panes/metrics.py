"""The metrics pane: how busy, full and fast the deployment, its groups and the engines under the cursor are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.model.role import BESIDE_ENGINES
from console.model.snapshot import ClusterSnapshot, EngineState, Serving
from screens.charts import sparkline
from screens.grid.rows import age_words
from screens.panes.base import Pane, PaneMoment
from screens.styled_lines import Line, Row, Span, fit, shown
from screens.themes import sign_of

OLD_S = 20.0
"""Metrics older than this say so."""
NAME_CELLS = 13
SPARK_CELLS = 10
"""Room for the speed of twenty intervals."""
ROOMY = 100
"""From so many cells on every figure is told in full."""

UNKNOWN = "-"
_SAID = 4
"""So many engines without metrics are named before the rest is counted."""


@dataclass(frozen=True, slots=True)
class _Column:
    """One figure: its title and width, and how it is told; where there is little room in fewer cells."""

    title: str
    cells: int
    text: Callable[[Serving], str]
    role: Callable[[Serving], str] = lambda _: "plain"


def _columns(cells: int) -> tuple[_Column, ...]:
    """All figures, in that many cells; where there is little room of times the slowest hundredth alone."""
    roomy = cells >= ROOMY
    small, speed = (5, 8) if roomy else (4, 7)
    times = [
        _Column("TTFT p50/p99", 13, lambda each: _times(each.ttft_s)),
        _Column("ITL p50/p99", 13, lambda each: _times(each.itl_s)),
    ]
    slow = [
        _Column("TTFT99", 6, lambda each: _time(each.ttft_s[2])),
        _Column("ITL99", 5, lambda each: _time(each.itl_s[2])),
    ]
    return (
        _Column("run", small, lambda each: _count(each.running)),
        _Column("wait", small, lambda each: _count(each.waiting)),
        _Column("KV", small, lambda each: _percent(each.kv_usage), _fullness),
        _Column("in t/s", speed, lambda each: _speed(each.prompt_tokens_s)),
        _Column("out t/s", speed, lambda each: _speed(each.generation_tokens_s)),
        *(times if roomy else slow),
        _Column("hit", small, lambda each: _percent(each.prefix_hit)),
        _Column("spec", small, lambda each: _percent(each.acceptance)),
        _Column("preempt", speed, lambda each: _rate(each.preemptions_s), _preempted),
    )


def _fullness(serving: Serving) -> str:
    kv = serving.kv_usage
    return "fail" if kv is not None and kv >= 0.95 else "warn" if kv is not None and kv >= 0.85 else "plain"


def _preempted(serving: Serving) -> str:
    return "warn" if serving.preemptions_s else "plain"


class MetricsPane(Pane):
    """A line for the deployment, each group, and each engine of the target; unknown is `-` and never 0, and below stands why."""

    def draw_moment(self, moment: PaneMoment) -> None:
        """The numbers and the tokens per second of the last minutes."""
        self.empty = "no metrics yet: they are read every 10 s from engines that are ready"
        found = moment.snapshot.serving
        now = moment.snapshot.at
        parts: list[tuple[str, str, Serving]] = [("all", "all", found[""])] if "" in found else []
        parts += [(f"group/{name}", shown(name), each) for name, each in found.items() if name]
        parts += [(f"engine/{each.id}", f"  {shown(each.id)}", each.serving) for each in moment.engines if each.serving]
        rows = [Row(key, self._numbers(name, serving, now)) for key, name, serving in parts]
        if rows:
            titles = "".join(f"{column.title:>{column.cells}} " for column in _columns(self.size.width))
            rows.insert(0, Row("head", ((f"{fit('', NAME_CELLS)} {titles}", "dim"),)))
            if any(text.strip() == UNKNOWN for row in rows for text, _ in row.line):
                words = f"{UNKNOWN} unknown: not among its metrics, or nothing of it in the last interval"
                rows.append(Row("remark", ((f"  {words}", "dim"),)))
            rows += _silent(moment.snapshot)
        for engine in moment.engines:
            if engine.serving_error:
                words = f"  {fit(shown(engine.id), 11)} metrics cannot be read: {shown(engine.serving_error)}"
                rows.append(Row(f"error/{engine.id}", ((words, "warn"),)))
        if self.needle:
            rows = [row for row in rows if self.needle.casefold() in "".join(text for text, _ in row.line).casefold()]
        self.show(rows)

    def title(self) -> Line:
        """What the picture of the last minutes shows."""
        return (("Metrics", "bold"), ("  curve: tokens/s out, a step each 10 s", "dim"))

    def _numbers(self, name: str, serving: Serving, now: float) -> Line:
        age = now - serving.at
        late = f" {age_words(age)} old" if age > OLD_S else ""
        columns = _columns(self.size.width)
        cells = [_cell(column.text(serving), column.cells, column.role(serving)) for column in columns]
        return (
            (f"{fit(name, NAME_CELLS)} ", "bold"),
            *cells,
            (sparkline(serving.history, SPARK_CELLS, self.pen), "busy"),
            (late, "dim"),
        )


def _silent(picture: ClusterSnapshot) -> list[Row]:
    """From whom no metrics come that are asked for them, by the reason."""
    why: dict[str, list[str]] = {}
    for each in picture.engines.values():
        if each.serving is None and not each.serving_error and not each.headless and each.role not in BESIDE_ENGINES:
            state = sign_of(each).word
            reason = "not read yet" if each.state is EngineState.READY else f"not ready ({state})"
            reason = state if each.connecting else reason
            why.setdefault(reason, []).append(shown(each.id))
    return [
        Row(f"silent/{reason}", ((f"  no metrics from {_some(names)}: {reason}", "dim"),))
        for reason, names in why.items()
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SAID]) + (f" +{len(names) - _SAID} more" if len(names) > _SAID else "")


def _cell(text: str, cells: int, role: str = "plain") -> Span:
    return (f"{text:>{cells}} ", "dim" if text == UNKNOWN else role)


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def _speed(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}/s"


def _times(values: tuple[float | None, float | None, float | None]) -> str:
    if values[0] is None and values[2] is None:
        return UNKNOWN
    return f"{_time(values[0])}/{_time(values[2])}"


def _time(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value * 1000:.0f}ms" if value < 1.0 else f"{value:.1f}s"
