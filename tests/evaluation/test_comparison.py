"""What counts as a difference, what a sweep's knee is, how a result is judged, and what an export says first."""

from __future__ import annotations

import csv
import io
import json

import pytest

from console.evaluation.comparison import SweepPoint, compare, judge, knee, sweep_points
from console.evaluation.exporting import to_csv, to_json, to_markdown
from console.evaluation.records import Ending, Figure, Kind, Record, Tool, higher_is_better, layout_hash
from tests.evaluation.figures import numbers, record
from tests.services.deployments import LAYOUT


def accuracy(value: float, subject: str = "gsm8k", **changes: object) -> Record:
    figures = numbers(accuracy=value)
    changes |= {"kind": Kind.ACCURACY, "tool": Tool.AISBENCH, "subject": subject, "numbers": figures}
    return record("eval", **changes)


@pytest.mark.parametrize(
    ("name", "before", "after", "verdict"),
    [
        ("output_throughput", 400, 411, "same"),
        ("output_throughput", 400, 413, "better"),
        ("output_throughput", 400, 387, "worse"),
        ("ttft_mean", 200, 189, "better"),
        ("ttft_mean", 200, 211, "worse"),
        ("ttft_p99", 200, 225, "same"),
        ("ttft_p99", 200, 231, "worse"),
        ("output_tokens", 200, 400, "unsure"),
        ("ttft_std", 10, 20, "unsure"),
        ("send_lag_mean", 0, 3, "unsure"),
    ],
)
def test_a_difference_counts_by_what_the_number_is(name: str, before: float, after: float, verdict: str) -> None:
    found = compare(record("a", numbers=numbers(**{name: before})), record("b", numbers=numbers(**{name: after})))
    assert [each.verdict for each in found.differences] == [verdict]
    assert found.differences[0].matters is (verdict in ("better", "worse"))


@pytest.mark.parametrize(
    ("subject", "before", "after", "verdict"),
    [
        ("gsm8k", 96.21, 95.5, "same"),
        ("gsm8k", 96.21, 94.0, "worse"),
        ("gpqa", 89.90, 86.0, "same"),
        ("gpqa", 89.90, 80.0, "worse"),
        ("mmlu", 80.0, 81.5, "better"),
    ],
)
def test_an_accuracy_differs_only_beyond_chance(subject: str, before: float, after: float, verdict: str) -> None:
    found = compare(accuracy(before, subject), accuracy(after, subject))
    assert found.differences[0].verdict == verdict


def test_what_was_not_the_same_is_said_and_failures_come_first() -> None:
    other = record(
        "b",
        failed_requests=2,
        layout_hash="ffff",
        versions={"vllm": "0.22.0"},
        parameters={"concurrency": 8, "input_len": 1000, "output_len": 250},
    )
    found = compare(record("a"), other)
    assert found.cautions[0] == "b: 2 of 20 requests failed"
    assert "layout differs: 0123456789ab and ffff" in found.cautions
    assert "parameter concurrency differs: 4 and 8" in found.cautions
    assert "version of vllm differs: 0.21.0 and 0.22.0" in found.cautions
    assert not compare(record("a"), record("b")).cautions


def test_a_number_that_one_result_lacks_is_unsure_and_never_zero() -> None:
    found = compare(record("a", numbers=numbers(ttft_mean=1.0)), record("b", numbers={}))
    assert (found.differences[0].after, found.differences[0].change, found.differences[0].verdict) == (
        None,
        None,
        "unsure",
    )


@pytest.mark.parametrize(
    ("result", "baseline", "threshold", "passed"),
    [
        (accuracy(96.21), None, None, True),
        (accuracy(95.30), None, None, True),
        (accuracy(95.20), None, None, False),
        (accuracy(97.30), None, None, False),
        (accuracy(89.0, "gpqa"), None, None, True),
        (accuracy(80.0, "gpqa"), 81.0, 2.0, True),
        (accuracy(96.21, failed_requests=1), None, None, False),
        (accuracy(96.21, empty_answers=3), None, None, False),
        (accuracy(96.21, ending=Ending.CANCELLED), None, None, False),
        (record(), 410.0, None, True),
        (record(), 413.0, None, False),
        (record(), 500.0, 0.8, True),
        (record(numbers={}, ending=Ending.FAILED, error="no token was generated"), 400.0, None, False),
    ],
)
def test_a_result_is_judged_as_the_ci_of_vllm_ascend_does(
    result: Record, baseline: float | None, threshold: float | None, passed: bool
) -> None:
    found = judge(result, baseline, threshold)
    assert found is not None
    assert found.passed is passed


def test_without_a_figure_to_judge_by_there_is_no_judgement() -> None:
    assert judge(record()) is None
    assert judge(accuracy(80.0, "mmlu")) is None


POINTS = [(1, 50, 1000), (2, 95, 1050), (4, 180, 1150), (8, 300, 1500), (16, 330, 3000), (32, 335, 6000)]


def test_the_knee_of_a_saturating_sweep_is_where_latency_takes_over() -> None:
    found = knee([SweepPoint(*point) for point in POINTS])
    assert found is not None
    assert (found.point.load, found.inside) == (8, True)


def test_a_sweep_that_never_saturates_has_its_knee_at_the_end_and_says_so() -> None:
    found = knee([SweepPoint(*point) for point in POINTS[:3]])
    assert found is not None
    assert (found.point.load, found.inside) == (4, False)


@pytest.mark.parametrize(
    "points",
    [[], [SweepPoint(1, 50, 1000)], [SweepPoint(1, 50, 1000), SweepPoint(2, 90, 1000), SweepPoint(4, 99, 1000, "", 1)]],
)
def test_too_few_points_or_failures_have_no_knee(points: list[SweepPoint]) -> None:
    assert knee(points) is None


def test_the_points_of_a_sweep_are_the_results_with_figures_by_load() -> None:
    def one(run: str, load: object, throughput: float | None) -> Record:
        figures = {} if throughput is None else numbers(output_throughput=throughput, e2el_mean=1000.0)
        return record(run, numbers=figures, parameters={"concurrency": load})

    found = sweep_points([one("c", 8, 300.0), one("a", 2, 90.0), one("x", None, 1.0), one("y", 4, None)], "concurrency")
    assert [(point.load, point.throughput, point.run) for point in found] == [(2.0, 90.0, "a"), (8.0, 300.0, "c")]


def test_every_number_has_a_direction_or_none() -> None:
    assert higher_is_better("output_throughput") is True
    assert higher_is_better("ttft_p99") is False
    assert higher_is_better("output_tokens") is None
    assert higher_is_better("ttft_std") is None


def test_the_hash_of_a_layout_changes_with_what_an_engine_sees_and_not_with_its_title() -> None:
    assert layout_hash(LAYOUT) == layout_hash(
        LAYOUT.model_copy(update={"title": "other", "assign": {"decode": ("x",)}})
    )
    assert layout_hash(LAYOUT) != layout_hash(LAYOUT.model_copy(update={"args": {"block-size": 64}}))
    assert len(layout_hash(LAYOUT)) == 12


def test_a_csv_has_failures_before_numbers_and_unknown_cells_empty() -> None:
    text = to_csv([record("a"), record("b", failed_requests=None, numbers=numbers(itl_mean=20.0))])
    rows = list(csv.DictReader(io.StringIO(text)))
    head = text.splitlines()[0].split(",")
    assert head.index("failed_requests") < head.index("output_throughput (token/s)")
    assert rows[0]["output_throughput (token/s)"] == "400"
    assert rows[1]["output_throughput (token/s)"] == ""
    assert rows[1]["failed_requests"] == ""
    assert rows[1]["itl_mean (ms)"] == "20"


def test_a_csv_cell_from_a_node_is_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([record("a", model='=HYPERLINK("x")')]))))
    assert rows[0]["model"] == '\'=HYPERLINK("x")'


def test_json_has_everything() -> None:
    found = json.loads(to_json([record("a")]))[0]
    assert found["numbers"]["ttft_mean"] == {"value": 210.5, "unit": "ms"}
    assert found["parameters"]["concurrency"] == 4


def test_markdown_is_a_table_whose_first_line_counts_failures() -> None:
    lines = to_markdown([record("a"), record("b", error="a | b\nc", failed_requests=3)]).splitlines()
    assert lines[2] == "| failed requests | 0 | 3 |"
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines)


def test_a_figure_is_written_with_its_unit() -> None:
    assert [str(Figure(20.0, "ms")), str(Figure(20.126, "token/s")), str(Figure(3.0))] == [
        "20 ms",
        "20.13 token/s",
        "3",
    ]
