"""Results as lines of text with a tone for each piece, for the command line and the screen.

A line is a tuple of `(text, tone)`; tones are plain, dim, bold, title, ok, warn, fail and busy. Text from nodes is cleaned
here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from console.evaluation.comparison import (
    ACCURACY_POINTS,
    QUESTIONS,
    THROUGHPUT_SHARE,
    Comparison,
    Difference,
    Knee,
    SweepPoint,
    judge,
    knee,
)
from console.evaluation.plots import Frame, line_chart, number, spread
from console.evaluation.records import LONGEST_GAP_S, Ending, Kind, NpuSample, Record, base_name
from console.evaluation.result_export import stamp
from console.probes.sanitize import clean

Line = tuple[tuple[str, str], ...]

_TONES = {True: "ok", False: "fail", None: "warn"}
LATENCIES = ("ttft", "tpot", "itl", "e2el")
STATISTICS = ("mean", "p50", "p90", "p99")
NAME_CELLS, NUMBER_CELLS = 30, 12
CHART_ROWS = 6
PARAMETERS = {"concurrency": "concurrency", "rate": "requests/s"}
"""Parameter of a sweep → its name for people."""


def text(line: Line) -> str:
    """The text of a line without tones."""
    return "".join(piece for piece, _ in line).rstrip()


def headline(record: Record) -> str:
    """The main figure of a result, or why it has none."""
    if record.error:
        return _one_line(record.error)
    for name in ("accuracy", "output_throughput"):
        if name in record.numbers:
            return str(record.numbers[name])
    return "-"


def verdict(record: Record) -> Line:
    """Whether a result is worth its figures, then the figure it is known by; what failed before anything else."""
    total = "?" if record.total_requests is None else record.total_requests
    judged = judge(record)
    if record.ending is not Ending.DONE:
        lost = f"; {record.failed_requests} of {total} requests failed" if record.failed_requests else ""
        return ((_one_line(f"{record.ending}: {record.error}".rstrip(": ")) + lost, "fail"),)
    if record.failed_requests:
        return ((f"FAILED: {record.failed_requests} of {total} requests", "fail"), (f", {headline(record)}", "plain"))
    if record.empty_answers:
        return ((f"FAILED: {record.empty_answers} answers without text", "fail"), (f", {headline(record)}", "plain"))
    if judged is not None and judged.passed is not None:
        return ((f"{judged.word}: {headline(record)}", _TONES[judged.passed]), (f", {judged.text}", "dim"))
    counted = "failures are not counted" if record.failed_requests is None else f"no request of {total} failed"
    return ((f"clean: {headline(record)}", "ok"), (f", {counted}", "dim"))


def failures(record: Record) -> Line:
    """The line about failed requests: how many, none, or not counted."""
    total = "?" if record.total_requests is None else record.total_requests
    if record.failed_requests:
        return (("FAILED REQUESTS          ", "fail"), (f"{record.failed_requests} of {total}", "fail"))
    if record.failed_requests is None:
        words = "not counted by the tool" if record.clean else "unknown"
        return ((f"failed requests          {words}", "warn"),)
    return ((f"failed requests          0 of {total}", "ok" if record.clean else "plain"),)


def run_lines(record: Record, *, width: int, ascii_only: bool = False) -> Iterator[Line]:
    """One result as lines: verdict, load, failures, figures, percentiles of latencies, throughput and NPU use over time."""
    yield verdict(record)
    yield ((f"{record.run}  ", "bold"), (_one_line(f"{record.tool}  {record.subject}  {record.deployment}"), "plain"))
    asked = " ".join(f"{name}={value}" for name, value in record.parameters.items())
    yield ((_one_line(f"  {stamp(record.started_at)} on {record.node}, requests to {record.endpoint}"), "dim"),)
    yield ((_one_line(f"  model {record.model}, layout {record.layout_hash}, {asked}"), "dim"),)
    if record.versions:
        known = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        yield ((_one_line(f"  {known}"), "dim"),)
    yield (("  ", "plain"), *failures(record))
    if record.empty_answers is not None:
        word, tone = ("EMPTY ANSWERS", "fail") if record.empty_answers else ("empty answers", "plain")
        yield ((f"  {word:<24} {record.empty_answers}", tone),)
    for warning in record.warnings:
        yield ((_one_line(f"  ! {warning}"), "warn"),)
    yield from _figures(record)
    yield from latency_lines(record, width=width, ascii_only=ascii_only)
    yield from time_lines(record, width=width, ascii_only=ascii_only)


def _figures(record: Record) -> Iterator[Line]:
    for name, figure in record.numbers.items():
        if base_name(name) not in (*LATENCIES, "send_lag", "client_lag"):
            yield ((f"  {name:<24} ", "plain"), (str(figure), "bold"))


def latency_lines(record: Record, *, width: int, ascii_only: bool = False) -> Iterator[Line]:
    """A line for each latency: its statistics in ms, and a bar that is full up to p50 and thinner up to p90 and p99."""
    rows = [(name, [record.number(f"{name}_{each}") for each in STATISTICS]) for name in LATENCIES]
    rows = [(name, values) for name, values in rows if any(value is not None for value in values)]
    if not rows:
        return
    bar = max(0, min(width, 100) - 8 - 8 * len(STATISTICS) - 2)
    head = "".join(f"{each:>8}" for each in STATISTICS)
    yield ((f"  {'ms':<5} {head}  {'full to p50, thin to p90, thinner to p99'[:bar]}", "dim"),)
    for name, values in rows:
        cells = "".join(f"{'-' if value is None else number(value):>8}" for value in values)
        yield (
            (f"  {name:<5} ", "plain"),
            (cells, "bold"),
            ("  " + spread(values[1:], width=bar, ascii_only=ascii_only), "busy"),
        )


def time_lines(record: Record, *, width: int, ascii_only: bool = False) -> Iterator[Line]:
    """Throughput over time, and the NPU use below it on the same axis."""
    use = record.npu
    length = max(
        [point.at_s for point in record.timeline] + [(record.ended_at or record.started_at) - record.started_at]
    )
    frame = Frame(0.0, max(1.0, length), None, 8)
    cells = min(width, 100) - 2
    if len(record.timeline) > 1:
        yield (("  output token/s, over the seconds of the run", "dim"),)
        points = gapped([(point.at_s, point.tokens) for point in record.timeline])
        for line in line_chart(points, width=cells, height=CHART_ROWS, ascii_only=ascii_only, frame=frame):
            yield ((f"  {line}", "ok"),)
    if use is None:
        return
    core = gapped(core_points(use.samples, record.started_at))
    if len(core) > 1:
        yield (("  AICore %, mean of all watched devices", "dim"),)
        percent = Frame(0.0, frame.right, 100.0, 8)
        for line in line_chart(core, width=cells, height=CHART_ROWS, unit="%", ascii_only=ascii_only, frame=percent):
            yield ((f"  {line}", "busy"),)
    mean = "?" if use.aicore_percent_mean is None else f"{use.aicore_percent_mean:.0f} %"
    memory = "?" if use.hbm_used_mib_max is None else f"{use.hbm_used_mib_max} MiB"
    share = "?" if use.watched_share is None else f"{use.watched_share:.0%}"
    power = "" if use.power_w_mean is None else f", {use.power_w_mean:.0f} W"
    yield ((f"  NPU  AICore {mean} mean, HBM {memory} at most{power}; watched {share} of the time", "plain"),)


def core_points(samples: Sequence[NpuSample], started: float) -> list[tuple[float, float]]:
    """AICore use over the seconds of a run: the mean of all nodes with a sample in the same second."""
    seconds: dict[int, list[float]] = {}
    for sample in samples:
        if sample.aicore_percent is not None:
            seconds.setdefault(int(sample.at - started), []).append(sample.aicore_percent)
    return [(float(at), math.fsum(values) / len(values)) for at, values in sorted(seconds.items())]


def gapped(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, with a gap when there is no sample for longer than `LONGEST_GAP_S`."""
    if not points:
        return []
    found = [points[0]]
    for (earlier, _), later in pairwise(points):
        if later[0] - earlier > LONGEST_GAP_S:
            found.append((earlier, math.nan))
        found.append(later)
    return found


_VERDICTS = {"better": ("+ better", "ok"), "worse": ("- WORSE", "fail"), "same": ("", "plain"), "unsure": ("?", "warn")}


def comparison_lines(found: Comparison) -> Iterator[Line]:
    """Cautions first, then what became worse or better, then numbers with a difference that counts, then all others."""
    before, after = found.before, found.after
    for caution in found.cautions:
        yield ((_one_line(f"! {caution}"), "warn"),)
    yield _change(found)
    for name, record in (("before", before), ("after", after)):
        yield (
            (f"{name:<7} ", "dim"),
            (record.run, "bold"),
            (_one_line(f"  {record.tool}  {record.subject}  {stamp(record.started_at)}"), "dim"),
        )
    yield ((f"{'':<{NAME_CELLS}}{'before':>{NUMBER_CELLS}}{'after':>{NUMBER_CELLS}}{'change':>10}", "dim"),)
    matters = [each for each in found.differences if each.matters]
    for each in (*matters, *(each for each in found.differences if not each.matters)):
        yield _difference(each)


def _change(found: Comparison) -> Line:
    """In what the second result is worse or better than the first."""
    if not found.differences:
        return (("neither result has numbers", "fail"),)
    spans: list[tuple[str, str]] = []
    for word, tone in (("worse", "fail"), ("better", "ok"), ("unsure", "warn")):
        names = [
            f"{each.name} {change_text(each)}" for each in found.differences if each.matters and each.verdict == word
        ]
        if names:
            spans.append((f"{'; ' if spans else 'after is '}{word}: {', '.join(names)}", tone))
    return tuple(spans) or (("no difference is larger than the usual variation between two runs", "ok"),)


def change_text(each: Difference) -> str:
    """How much a number changed: points of an accuracy, else a share."""
    if each.change is None:
        return "-"
    return f"{each.change:+.2f}" if each.name == "accuracy" else f"{each.change:+.1%}"


def _difference(each: Difference) -> Line:
    figures = [figure for figure in (each.before, each.after) if figure is not None]
    unit = figures[0].unit
    cells = ["-" if figure is None else f"{figure.value:.2f}" for figure in (each.before, each.after)]
    change = change_text(each)
    word, tone = _VERDICTS[each.verdict]
    name = f"{each.name} {unit}".strip()
    return (
        (f"{name[:NAME_CELLS]:<{NAME_CELLS}}", "bold" if each.matters else "plain"),
        (f"{cells[0]:>{NUMBER_CELLS}}{cells[1]:>{NUMBER_CELLS}}", "plain"),
        (f"{change:>10}  {word}", tone),
    )


def sweep_lines(
    points: Sequence[SweepPoint], parameter: str, *, width: int, ascii_only: bool = False
) -> Iterator[Line]:
    """Every load with its throughput and latency, the curve, and the knee."""
    found = knee(points)
    word = PARAMETERS.get(parameter, parameter)
    yield ((f"{word:<12} {'token/s':>10} {'E2EL ms':>10} {'failed':>7}  run", "dim"),)
    for point in points:
        at_knee = found is not None and point == found.point
        yield (
            (f"{point.load:<12g} {point.throughput:>10.1f} {point.latency_ms:>10.0f} ", "bold" if at_knee else "plain"),
            (f"{point.failed:>7}  ", "fail" if point.failed else "plain"),
            (point.run, "dim"),
        )
    yield _knee(found, word)
    if len(points) > 1:
        yield (("latency in ms (up) over output token/s (right); the cross is the knee", "dim"),)
        curve = [(point.throughput, point.latency_ms) for point in points]
        mark = (found.point.throughput, found.point.latency_ms) if found else None
        chart = line_chart(
            curve, width=min(width, 100), height=2 * CHART_ROWS, unit="ms", ascii_only=ascii_only, mark=mark
        )
        for line in chart:
            yield ((line, "busy"),)


def _knee(found: Knee | None, word: str) -> Line:
    if found is None:
        return (("no knee: a sweep needs three runs without failures", "warn"),)
    if found.inside:
        return ((f"knee at {word} {found.point.load:g}: highest throughput per latency", "ok"),)
    return (
        (f"best at {word} {found.point.load:g}, an end of the sweep: the knee can be outside of the sweep", "warn"),
    )


def goal_lines(records: Sequence[Record], baseline: Record | None = None) -> Iterator[Line]:
    """The newest accuracy of each dataset against the published one (as in vllm-ascend's CI), and throughputs against a baseline.

    `records` are newest first; `baseline` is the result that throughputs are compared with.
    """
    yield ((f"{'dataset':<16} {'reference':>9} {'measured':>9} {'points':>8}  as vllm-ascend's CI judges", "dim"),)
    names = dict.fromkeys([*QUESTIONS, *(each.subject for each in records if each.kind is Kind.ACCURACY)])
    for name in names:
        newest = next((each for each in records if each.kind is Kind.ACCURACY and each.subject == name), None)
        yield from _goal(name, newest)
    yield ((f"CI passes an accuracy within {ACCURACY_POINTS:g} point of its baseline.", "dim"),)
    yield ((f"CI passes an output throughput of at least {THROUGHPUT_SHARE:g} of its baseline.", "dim"),)
    if baseline is None or baseline.number("output_throughput") is None:
        yield (("mark a run (space) to compare the throughput of the others with it", "dim"),)
        return
    goal = baseline.number("output_throughput")
    yield (("baseline ", "dim"), (f"{baseline.run}  {headline(baseline)}", "bold"))
    for each in records:
        if each.kind is Kind.PERFORMANCE and each.subject == baseline.subject and each.run != baseline.run:
            verdict = judge(each, goal)
            if verdict is not None:
                yield ((f"{each.run:<26} {verdict.word}  ", _TONES[verdict.passed]), (verdict.text, "plain"))


def _goal(name: str, newest: Record | None) -> Iterator[Line]:
    goal = newest.reference if newest else None
    value = newest.number("accuracy") if newest else None
    points = "-" if goal is None or value is None else f"{value - goal:+.2f}"
    head = f"{_one_line(name):<16} {_percent(goal):>9} {_percent(value):>9} {points:>8}  "
    verdict = judge(newest) if newest else None
    if newest is None:
        yield ((head, "plain"), (f"not measured yet: eval {name}", "dim"))
    elif verdict is None or verdict.passed is None:
        yield ((head, "plain"), ("no verdict", "dim"), (f"  {newest.run}", "dim"))
        yield ((f"  {_one_line(verdict.text)}" if verdict else "", "dim"),)
    elif verdict.passed:
        yield ((head, "plain"), ("passed", "ok"), (f"  {newest.run}", "dim"))
    else:
        yield ((head, "plain"), ("FAILED", "fail"), (f"  {newest.run}", "dim"))
        if value is None or not newest.clean:
            yield ((f"  {_one_line(verdict.text)}", "fail"),)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _one_line(words: str) -> str:
    return clean(words).replace("\n", " ").replace("\t", " ")
