"""The metrics pane: how busy, full and fast the deployment, its groups and the engines under the cursor are."""

from __future__ import annotations

from collections.abc import Sequence

from console.model.snapshot import ClusterSnapshot, EngineState, Serving
from screens.grid.rows import age_words
from screens.lines import Line, Row, Span, fit, shown
from screens.looks import STATES
from screens.panes.base import Pane, Shown

OLD_S = 20.0
"""Metrics older than this say so."""

_HEAD = (
    f"{fit('', 13)} {'run':>5} {'wait':>5} {'KV':>5} {'in t/s':>8} {'out t/s':>8} {'TTFT p50/p99':>13} {'ITL p50/p99':>13}"
    f" {'hit':>5} {'spec':>5} {'preempt':>8}"
)


UNKNOWN = "-"
_SAID = 4
"""So many engines without metrics are named before the rest is counted."""


class MetricsPane(Pane):
    """A line for the deployment, each group, and each engine of the target; unknown is `-` and never 0, and below stands why."""

    def draw_moment(self, moment: Shown) -> None:
        """The numbers and the tokens per second of the last minutes."""
        self.empty = "no metrics yet: they are read every 10 s from engines that are ready"
        found = moment.snapshot.serving
        now = moment.snapshot.at
        parts: list[tuple[str, str, Serving]] = [("all", "all", found[""])] if "" in found else []
        parts += [(f"group/{name}", shown(name), each) for name, each in found.items() if name]
        parts += [(f"engine/{each.id}", f"  {shown(each.id)}", each.serving) for each in moment.engines if each.serving]
        rows = [Row(key, self._numbers(name, serving, now)) for key, name, serving in parts]
        if rows:
            rows.insert(0, Row("head", ((_HEAD, "dim"),)))
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
        return (("tokens/s of generation, each step 10 s", "dim"),)

    def _numbers(self, name: str, serving: Serving, now: float) -> Line:
        kv = serving.kv_usage
        full = "fail" if kv is not None and kv >= 0.95 else "warn" if kv is not None and kv >= 0.85 else "plain"
        lost = "warn" if serving.preemptions_s else "plain"
        age = now - serving.at
        late = f" {age_words(age)} old" if age > OLD_S else ""
        return (
            (f"{fit(name, 13)} ", "bold"),
            _cell(_count(serving.running), 5),
            _cell(_count(serving.waiting), 5),
            _cell(_percent(kv), 5, full),
            _cell(_speed(serving.prompt_tokens_s), 8),
            _cell(_speed(serving.generation_tokens_s), 8),
            _cell(_times(serving.ttft_s), 13),
            _cell(_times(serving.itl_s), 13),
            _cell(_percent(serving.prefix_hit), 5),
            _cell(_percent(serving.acceptance), 5),
            _cell(_rate(serving.preemptions_s), 8, lost),
            (self._spark(serving.history), "busy"),
            (late, "dim"),
        )

    def _spark(self, history: Sequence[float | None]) -> str:
        shown_now = history[-20:]
        top = max((value for value in shown_now if value is not None), default=0.0)
        return "".join(" " if value is None else self.pen.level(value / top if top else 0.0) for value in shown_now)


def _silent(picture: ClusterSnapshot) -> list[Row]:
    """From whom no metrics come that are asked for them, by the reason."""
    why: dict[str, list[str]] = {}
    for each in picture.engines.values():
        if each.serving is None and not each.serving_error and not each.headless and each.role != "proxy":
            state = STATES[each.state].word
            reason = "not read yet" if each.state is EngineState.READY else f"not ready ({state})"
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
