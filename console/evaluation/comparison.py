"""Compares two results, finds the knee of a sweep, and judges a result against a target. Does not draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from console.evaluation.records import Figure, Kind, Record, base_name, higher_is_better

Verdict = Literal["better", "worse", "same", "unsure"]

TOLERANCE = {"mean": 0.05, "p50": 0.05, "p90": 0.10, "p99": 0.15, "": 0.03}
"""Statistic → relative difference that counts: tails vary more between runs than means. The 3 % for throughputs are the limit of
vllm-ascend's CI (tools/aisbench.py, threshold 0.97)."""
ACCURACY_POINTS = 1.0
"""Difference of accuracy that counts, in points (vllm-ascend's CI, tools/aisbench.py, default threshold)."""
QUESTIONS: Mapping[str, int] = {"gsm8k": 1319, "gpqa": 198}
"""Dataset → number of questions (test set of GSM8K, diamond set of GPQA). With fewer questions an accuracy varies more."""

THROUGHPUT_SHARE = 0.97
"""Share of the baseline's output throughput that passes in vllm-ascend's CI."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of two results."""

    name: str
    before: Figure | None
    after: Figure | None
    change: float | None
    """After / before − 1; for accuracy the difference in points; None when one is missing."""
    verdict: Verdict
    matters: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two results: cautions, and all numbers."""

    before: Record
    after: Record
    cautions: tuple[str, ...]
    """Why the two are hard to compare: failures first, then different conditions."""
    differences: tuple[Difference, ...]


def compare(before: Record, after: Record) -> Comparison:
    """Compare all numbers of two results; differences that count are marked."""
    names = tuple(dict.fromkeys([*before.numbers, *after.numbers]))
    return Comparison(
        before, after, tuple(_cautions(before, after)), tuple(_difference(before, after, name) for name in names)
    )


def _cautions(before: Record, after: Record) -> Sequence[str]:
    found: list[str] = []
    for record in (before, after):
        if record.failed_requests:
            found.append(f"{record.run}: {record.failed_requests} of {record.total_requests or '?'} requests failed")
        if record.empty_answers:
            found.append(f"{record.run}: {record.empty_answers} answers were empty")
        if record.error:
            found.append(f"{record.run}: {record.error}")
    for what, first, second in (
        ("tool", before.tool, after.tool),
        ("subject", before.subject, after.subject),
        ("model", before.model, after.model),
        ("layout", before.layout_hash, after.layout_hash),
    ):
        if first != second:
            found.append(f"{what} differs: {first} and {second}")
    for what, one, two in (
        ("parameter", before.parameters, after.parameters),
        ("version of", before.versions, after.versions),
    ):
        found += [
            f"{what} {name} differs: {one.get(name, 'unknown')} and {two.get(name, 'unknown')}"
            for name in sorted({*one, *two})
            if one.get(name) != two.get(name)
        ]
    return found


def _difference(before: Record, after: Record, name: str) -> Difference:
    first, second = before.numbers.get(name), after.numbers.get(name)
    if first is None or second is None or first.unit != second.unit:
        return Difference(name, first, second, None, "unsure", False)
    direction = higher_is_better(name)
    if name == "accuracy":
        change = second.value - first.value
        counts = abs(change) > _accuracy_margin(first.value, second.value, after.subject)
    elif first.value:
        change = second.value / first.value - 1.0
        counts = abs(change) > TOLERANCE.get(_statistic(name), TOLERANCE["p99"])
    else:
        return Difference(name, first, second, None, "unsure" if second.value else "same", False)
    if direction is None or not counts:
        return Difference(name, first, second, change, "same" if not counts else "unsure", False)
    return Difference(name, first, second, change, "better" if (change > 0) is direction else "worse", True)


def _statistic(name: str) -> str:
    return name[len(base_name(name)) + 1 :]


def _accuracy_margin(first: float, second: float, subject: str) -> float:
    """Points up to which a difference is chance (95 %), at least the limit of CI."""
    questions = QUESTIONS.get(subject)
    if questions is None:
        return ACCURACY_POINTS
    variance = sum(share * (1.0 - share) / questions for share in (first / 100.0, second / 100.0))
    return max(ACCURACY_POINTS, 196.0 * math.sqrt(variance))


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    """Whether a result meets a target, with the reason."""

    passed: bool | None
    """None when the result cannot be judged; `text` says why."""
    text: str

    @property
    def word(self) -> str:
        """The verdict as one word."""
        return {True: "passed", False: "FAILED", None: "no verdict"}[self.passed]


def judge(record: Record, baseline: float | None = None, threshold: float | None = None) -> TargetOutcome | None:
    """Judge a result as vllm-ascend's CI does: accuracy within ± threshold points of the baseline, output throughput at least
    threshold × baseline. Without a baseline the published accuracy of the model is used; a throughput gives None.

    A result with failed requests or empty answers does not pass, and a part of a dataset cannot be judged.
    """
    if record.kind is Kind.ACCURACY:
        goal = record.reference if baseline is None else baseline
        value, name, unit = record.number("accuracy"), "accuracy", "%"
    else:
        goal, value, name, unit = baseline, record.number("output_throughput"), "output throughput", " token/s"
        if goal is None:
            return None
    if not record.clean or value is None:
        return TargetOutcome(False, f"no judgement: {_unclean(record)}")
    if part := _part(record):
        return TargetOutcome(None, f"{name} {value:.2f}{unit}, {part}")
    if goal is None:
        hint = "give --baseline, or model.accuracy in the layout"
        return TargetOutcome(None, f"{name} {value:.2f}{unit}, no reference figure for this model; {hint}")
    if record.kind is Kind.ACCURACY:
        limit = ACCURACY_POINTS if threshold is None else threshold
        passed = abs(value - goal) <= limit
        return TargetOutcome(passed, f"{name} {value:.2f}{unit}, expected {goal:.2f} ± {limit:g}")
    share = THROUGHPUT_SHARE if threshold is None else threshold
    return TargetOutcome(value >= share * goal, f"{name} {value:.2f}{unit}, expected at least {share:g} × {goal:.2f}")


def _part(record: Record) -> str:
    """A text when only a part of a dataset was used, with the variation by chance in points; else empty."""
    asked, whole = record.parameters.get("requests"), QUESTIONS.get(record.subject)
    if record.kind is not Kind.ACCURACY or not isinstance(asked, int) or asked < 1 or (whole and asked >= whole):
        return ""
    share = (record.number("accuracy") or 0.0) / 100.0
    points = 196.0 * math.sqrt(max(share * (1.0 - share), 0.25 / asked) / asked)
    return f"from {asked} of {whole or 'all'} questions; the result varies by {points:.0f} points by chance"


def _unclean(record: Record) -> str:
    if record.failed_requests:
        return f"{record.failed_requests} requests failed"
    if record.empty_answers:
        return f"{record.empty_answers} answers were empty"
    return record.error or f"the run {record.ending}"


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One load of a sweep."""

    load: float
    """Concurrency, or requests per second."""
    throughput: float
    """Output token/s."""
    latency_ms: float
    """Mean end-to-end latency."""
    run: str = ""
    failed: int = 0


def sweep_points(records: Sequence[Record], parameter: str) -> tuple[SweepPoint, ...]:
    """The points of a sweep over a parameter, by load; results without figures are left out."""
    found = []
    for record in records:
        load = record.parameters.get(parameter)
        throughput, latency = record.number("output_throughput"), record.number("e2el_mean")
        if isinstance(load, int | float) and not isinstance(load, bool) and throughput is not None and latency:
            found.append(SweepPoint(float(load), throughput, latency, record.run, record.failed_requests or 0))
    return tuple(sorted(found, key=lambda point: point.load))


@dataclass(frozen=True, slots=True)
class Knee:
    """The load from which more load adds more latency than throughput."""

    point: SweepPoint
    inside: bool
    """False when it is the smallest or the largest load of the sweep; then the knee can be outside of the sweep."""


def knee(points: Sequence[SweepPoint]) -> Knee | None:
    """The point with the highest throughput per latency (Kleinrock's power); None for fewer than three points or failures."""
    if len(points) < 3 or any(point.failed or point.latency_ms <= 0 for point in points):
        return None
    best = max(points, key=lambda point: point.throughput / point.latency_ms)
    return Knee(best, points[0].load < best.load < points[-1].load)
