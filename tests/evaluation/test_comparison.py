"""What counts as a difference, what a sweep's knee is, how a result is judged, and what an export says first."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from console.commands.evaluation import AccuracyLoad
from console.evaluation.comparison import SweepPoint, compare, judge, knee, sweep_points
from console.evaluation.records import Ending, Figure, Kind, Record, Tool, higher_is_better, layout_hash
from console.evaluation.reference_accuracy import printed_figures, reference_accuracy
from console.evaluation.result_export import to_csv, to_json, to_markdown
from console.files import load_layout, shipped_layouts
from console.model.deployment import Assignment, Deployment
from console.model.layout import Layout
from console.services.evaluation.plans import EvaluationRequest, reference
from tests.evaluation.figures import numbers, record
from tests.services.deployments import CLUSTER, LAYOUT


def accuracy(value: float, subject: str = "gsm8k", **changes: object) -> Record:
    figures = numbers(accuracy=value)
    fields = {"kind": Kind.ACCURACY, "tool": Tool.AISBENCH, "subject": subject, "numbers": figures}
    printed = {"reference": {"gsm8k": 96.21, "gpqa": 89.90}.get(subject), "parameters": {"concurrency": 4}}
    return record("eval", **{**fields, **printed, **changes})


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
        (record(numbers={}, ending=Ending.FAILED, error="no tokens were generated"), 400.0, None, False),
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
    found = judge(accuracy(80.0, "mmlu"))
    assert found is not None
    assert found.passed is None
    assert found.word == "no verdict"
    assert "no reference figure for this model" in found.text


@pytest.mark.parametrize(("asked", "baseline"), [(20, None), (20, 95.0), (1318, None)])
def test_part_of_a_dataset_gives_no_verdict(asked: int, baseline: float | None) -> None:
    for value in (96.21, 50.0, 100.0):
        found = judge(accuracy(value, parameters={"requests": asked}), baseline)
        assert found is not None
        assert found.passed is None
        assert f"from {asked} of 1319 questions" in found.text
    whole = judge(accuracy(96.21, parameters={"requests": 1319}))
    assert whole is not None
    assert whole.passed is True


def served(path: str, **more: object) -> Layout:
    """A layout that serves these weights."""
    made = {**LAYOUT.model_dump(exclude_unset=True), **more}
    model = more.get("model")
    return Layout.model_validate({**made, "model": {"path": path, **(model if isinstance(model, dict) else {})}})


DSPARK = {"speculative-config": {"method": "dspark", "num_speculative_tokens": 7}}


@pytest.mark.parametrize(
    ("layout", "gpqa", "gsm8k"),
    [
        (served("/root/.cache/hub/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp"), 89.90, 96.21),
        (served("Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp"), 88.17, 96.30),
        (served("Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp", args=DSPARK), 90.40, None),
        (served("Eco-Tech/DeepSeek-V4-Flash-w8a8", args={"speculative_config.method": "dspark"}), 90.40, None),
        (served("Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp", args=DSPARK), None, None),
        (served("Eco-Tech/DeepSeek-V4.1-Flash-w8a8"), None, None),
        (served("deepseek-ai/DeepSeek-V4-Flash-Base"), None, None),
        (served("/models/v4"), None, None),
        (served("/models/v4", model={"accuracy": {"gpqa": 70.0}}), 70.0, None),
        (served("Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp", model={"accuracy": {"gpqa": 70.0}}), 70.0, None),
    ],
)
def test_the_figure_is_that_of_the_model_that_is_served(
    layout: Layout, gpqa: float | None, gsm8k: float | None
) -> None:
    assert reference_accuracy(layout, "gpqa") == gpqa
    assert reference_accuracy(layout, "gsm8k") == gsm8k
    assert reference_accuracy(layout, "mmlu") is None
    assert reference_accuracy(layout, "gpqa", "gpqa_gen_0_shot_cot_chat_prompt") is None, "another way to ask"


def test_shipped_layouts_say_what_upstream_prints_for_their_model_and_a_figure_changes_no_engine() -> None:
    for layout in map(load_layout, shipped_layouts()):
        assert layout.model.accuracy == printed_figures(layout), layout.name
        without = layout.model_copy(update={"model": layout.model.model_copy(update={"accuracy": {}})})
        assert layout_hash(layout) == layout_hash(without)


def test_what_answers_at_another_address_or_by_another_name_has_no_figure() -> None:
    made = Deployment(CLUSTER, served("Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp"), Assignment({}))
    ask = EvaluationRequest(Tool.AISBENCH, AccuracyLoad("gsm8k"))
    assert reference(made, ask) == 96.21
    assert reference(made, replace(ask, endpoint="10.0.0.9:8000")) is None
    assert reference(made, replace(ask, model="other")) is None
    assert reference(made, replace(ask, model="Eco-Tech/DeepSeek-V4-Pro-w4a8-mtp")) == 96.21


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
