"""The metrics pane: whether requests wait; then load, KV cache and speed of the deployment, its groups and selected engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from console.model.role import BESIDE_ENGINES
from console.model.shortening import list_text
from console.model.snapshot import ClusterSnapshot, EngineState, Serving
from console.model.state import Grade
from screens.charts import bar, sparkline
from screens.grid.rows import age_words
from screens.pane_moment import PaneMoment
from screens.panes.base import Pane
from screens.panes.columns import Column, fitting, heading, table_row
from screens.styled_lines import Line, Row, Span, fit, join, length, shown
from screens.themes import GRADES, STATES, Sign, sign_of

OLD_S = 20.0
"""Metrics older than this say so."""
NAME_CELLS = 13
BAR_CELLS = 10
ROOMY = 120
"""At this width or wider the KV cache has a bar, and times also show the median."""
CURVE_CELLS = 20
STEP_S = 10
"""Seconds between two values of a curve: the interval at which metrics are read."""
FULL, FILLING = 0.95, 0.85
"""The used share of the KV cache from which it is drawn red, and yellow."""

UNKNOWN = "-"
_MOST_NAMES = 4
"""How many engines without metrics are named; the rest is counted."""
_LEGEND = (
    "TTFT: time to the first token; ITL: time between tokens; {times}",
    "PREFIX: share of the prompt tokens that the prefix cache held",
    "DRAFT: share of the draft tokens that the model accepted",
    "PREEMPT: requests preempted because the KV cache was full",
)


class MetricsPane(Pane):
    """A line for the deployment, each group, and each selected engine. Unknown is `-`, never 0; the lines below say why."""

    def draw_moment(self, moment: PaneMoment) -> None:
        """The verdict and the figures; for the deployment and each group also recent tokens per second."""
        self.empty = "no metrics yet: they are read every 10 s from engines that are ready"
        found = moment.snapshot.serving
        roomy = self.cells >= ROOMY
        columns = fitting(_columns(self, roomy=roomy), self.cells - NAME_CELLS - 2)
        parts: list[tuple[str, str, Serving]] = [("all", "all", found[""])] if "" in found else []
        parts += [(f"group/{name}", shown(name), each) for name, each in found.items() if name]
        engines = [
            (f"engine/{each.id}", f"  {shown(each.id)}", each.serving) for each in moment.engines if each.serving
        ]
        rows: list[Row] = []
        for key, name, serving in (*parts, *engines):
            rows.append(Row(key, self._figures(name, serving, columns, moment.snapshot.at)))
            if not key.startswith("engine/") and (curves := self._curves(serving)):
                rows.append(Row(f"curve/{key}", curves))
        unknown = any(text.strip() == UNKNOWN for row in rows for text, _ in row.line)
        if self.needle:
            needle = self.needle.casefold()
            rows = [row for row in rows if needle in "".join(text for text, _ in row.line).casefold()]
        if rows:
            rows += self._legend(unknown=unknown, roomy=roomy)
            rows += _without_metrics(moment.snapshot)
        for engine in moment.engines:
            if engine.serving_error:
                words = f"  {fit(shown(engine.id), 11)} metrics cannot be read: {shown(engine.serving_error)}"
                rows.append(Row(f"error/{engine.id}", ((words, "warn"),)))
        self.show(rows, ((" " * (NAME_CELLS + 1), ""), *heading(columns)) if rows else ())

    def title(self) -> Line:
        """Whether requests wait, and the age of the oldest figure."""
        whole = self.moment.snapshot.serving.get("") if self.moment else None
        if self.moment is None or whole is None:
            return (("Metrics", "bold"),)
        sign, words = _verdict(whole)
        age = self.moment.snapshot.at - whole.at
        late = f"  {age_words(age)} old" if age > OLD_S else ""
        return (("Metrics  ", "bold"), (f"{self.pen.sign(sign)} {words}", f"bold {sign.role}"), (late, "dim"))

    def _figures(self, name: str, serving: Serving, columns: Sequence[Column[Serving]], now: float) -> Line:
        age = now - serving.at
        late = f"{age_words(age)} old" if age > OLD_S else ""
        return ((f"{fit(name, NAME_CELLS)} ", "bold"), *table_row(columns, serving), (late, "dim"))

    def _curves(self, serving: Serving) -> Line:
        """Tokens per second, in and out, over the last minutes."""
        cells = min(CURVE_CELLS, max(6, (self.cells - NAME_CELLS - 40) // 2))
        parts: list[Line] = []
        for label, history in (("out", serving.history), ("in", serving.prompt_history)):
            shown_now = history[-2 * cells :]
            known = [value for value in shown_now if value is not None]
            if known:
                curve: Span = (sparkline(shown_now, cells, self.pen), "busy")
                parts.append(((f"{label:>3} ", "dim"), curve, (f" most {_speed(max(known))}/s", "dim")))
        if not parts:
            return ()
        minutes = 2 * cells * STEP_S // 60
        line: Line = ((" " * (NAME_CELLS + 1), ""), *join(parts, ("  ", "")))
        last = f"  last {minutes} min"
        return (*line, (last, "dim")) if length(line) + len(last) <= self.cells else line

    def _legend(self, *, unknown: bool, roomy: bool) -> list[Row]:
        texts = [each.format(times="median / 99th percentile" if roomy else "99th percentile") for each in _LEGEND]
        if unknown:
            texts.insert(0, f"{UNKNOWN} unknown: the engine does not report it, or did not in the last interval")
        return [Row("legend", ()), *(Row(f"legend/{text}", ((f"  {text}", "dim"),)) for text in texts)]


def _verdict(whole: Serving) -> tuple[Sign, str]:
    """Whether requests wait, and for what."""
    if whole.running is None:
        return GRADES[Grade.UNKNOWN], "load unknown"
    running = f"{whole.running} running"
    waiting = "" if not whole.waiting else f", {whole.waiting} waiting"
    if whole.preemptions_s:
        return STATES[
            EngineState.DEGRADED
        ], f"KV cache too small: {_rate(whole.preemptions_s)} preemptions; {running}{waiting}"
    if waiting and (whole.kv_usage or 0.0) >= FULL:
        return STATES[EngineState.DEGRADED], f"KV cache full: {running}{waiting}"
    if waiting:
        return GRADES[Grade.WAIT], f"busy: {running}{waiting}"
    none = "" if whole.waiting is None else ", none waiting"
    return GRADES[Grade.OK], f"{running}{none}" if whole.running else "no requests"


def _columns(pane: Pane, *, roomy: bool) -> tuple[Column[Serving], ...]:
    """All columns; on a narrow screen without bars, and times only as 99th percentile."""

    def figure(
        title: str,
        cells: int,
        text: Callable[[Serving], str],
        role: Callable[[Serving], str] = lambda _: "plain",
        rank: int = 0,
    ) -> Column[Serving]:
        return Column(title, cells, rank, lambda each: _cell(text(each), role(each)), right=True)

    def kv(serving: Serving) -> Line:
        role = _fullness(serving)
        return (
            *bar(serving.kv_usage, BAR_CELLS, pane.pen, role=role),
            *_cell(f"{_percent(serving.kv_usage):>5}", role),
        )

    small, speed = (7, 9) if roomy else (4, 6)
    times: tuple[Column[Serving], ...] = (
        figure("TTFT", 6, lambda each: _time(each.ttft_s[2])),
        figure("ITL", 5, lambda each: _time(each.itl_s[2]), rank=2),
    )
    if roomy:
        times = (
            figure("TTFT", 12, lambda each: _times(each.ttft_s)),
            figure("ITL", 11, lambda each: _times(each.itl_s)),
        )
    return (
        figure("RUNNING" if roomy else "RUN", small, lambda each: _count(each.running)),
        figure("WAITING" if roomy else "WAIT", small, lambda each: _count(each.waiting)),
        Column("KV CACHE", BAR_CELLS + 5, 0, kv)
        if roomy
        else figure("KV", 4, lambda each: _percent(each.kv_usage), _fullness),
        figure("IN tok/s" if roomy else "IN/s", speed, lambda each: _speed(each.prompt_tokens_s)),
        figure("OUT tok/s" if roomy else "OUT/s", speed, lambda each: _speed(each.generation_tokens_s)),
        *times,
        figure("PREFIX", 6, lambda each: _percent(each.prefix_hit), rank=3),
        figure("DRAFT", 5, lambda each: _percent(each.acceptance), rank=4),
        figure("PREEMPT", 7, lambda each: _rate(each.preemptions_s), _preempted, rank=1),
    )


def _fullness(serving: Serving) -> str:
    kv = serving.kv_usage
    return "fail" if kv is not None and kv >= FULL else "warn" if kv is not None and kv >= FILLING else "plain"


def _preempted(serving: Serving) -> str:
    return "warn" if serving.preemptions_s else "plain"


def _without_metrics(snapshot: ClusterSnapshot) -> list[Row]:
    """The engines whose metrics are missing, by the reason."""
    why: dict[str, list[str]] = {}
    for each in snapshot.engines.values():
        if each.serving is None and not each.serving_error and not each.headless and each.role not in BESIDE_ENGINES:
            state = sign_of(each).word
            reason = "not read yet" if each.state is EngineState.READY else f"not ready ({state})"
            reason = state if each.connecting else reason
            why.setdefault(reason, []).append(shown(each.id))
    return [
        Row(f"missing/{reason}", ((f"  no metrics from {_some(names)}: {reason}", "dim"),))
        for reason, names in why.items()
    ]


def _some(names: Sequence[str]) -> str:
    return list_text(names, _MOST_NAMES)


def _cell(text: str, role: str = "plain") -> Line:
    return ((text, "dim" if text.strip() == UNKNOWN else role),)


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def _speed(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}" if value < 10000 else f"{value / 1000:.1f}k"


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}/s" if value else "0"


def _times(values: tuple[float | None, float | None, float | None]) -> str:
    if values[0] is None and values[2] is None:
        return UNKNOWN
    return f"{_time(values[0])}/{_time(values[2])}"


def _time(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value * 1000:.0f}ms" if value < 1.0 else f"{value:.1f}s"
