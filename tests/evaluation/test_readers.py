"""The tools' files: whole ones give their figures, everything else an error and no number."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.evaluation import aisbench, result_transfer, vllm_bench
from console.evaluation.figures import ResultError, ToolFigures, figure
from console.evaluation.records import Figure
from tests.evaluation.figures import BENCH_BLOCK, PERF_CSV, SUMMARY, bench_json, perf_json


@pytest.mark.parametrize(("dataset", "expected"), [("gpqa", 89.90), ("gsm8k", 96.21)])
def test_the_accuracy_of_a_dataset_is_its_row_of_the_summary(dataset: str, expected: float) -> None:
    reading = aisbench.read_accuracy(SUMMARY, dataset)
    assert reading.numbers == {"accuracy": Figure(expected, "%")}
    assert reading.parameters["metric"] == "accuracy"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not an AISBench summary"),
        ("dataset,version\n", "not an AISBench summary"),
        (SUMMARY[:-5], "is incomplete"),
        ("dataset,version,metric,mode,abbr\n", "no row for gsm8k"),
        ("dataset,version,metric,mode,abbr\ngsm8k,271d0b,accuracy,gen\n", "incomplete"),
        ("dataset,version,metric,mode,abbr\ngsm8k,-,-,-,-\n", "no number for gsm8k"),
        ("dataset,version,metric,mode,abbr\ngsm8k,271d0b,accuracy,gen,nan\n", "no number for gsm8k"),
        ("dataset,version,metric,mode,abbr\ngsm8k,271d0b,accuracy,gen,962.1\n", "no number for gsm8k"),
    ],
)
def test_a_summary_without_the_figure_is_an_error_that_says_why(text: str, words: str) -> None:
    with pytest.raises(ResultError, match=words):
        aisbench.read_accuracy(text, "gsm8k")


def test_a_performance_run_of_aisbench_gives_figures_in_our_names_and_units() -> None:
    reading = aisbench.read_performance(PERF_CSV, perf_json())
    assert (reading.failed_requests, reading.total_requests) == (0, 8)
    expected = {
        "ttft_mean": Figure(2006.0, "ms"),
        "ttft_p50": Figure(2006.1, "ms"),
        "ttft_p99": Figure(2007.3, "ms"),
        "itl_p75": Figure(20.2, "ms"),
        "e2el_max": Figure(12305.2, "ms"),
        "duration": Figure(98.4094916, "s"),
        "output_throughput": Figure(41.622, "token/s"),
        "request_throughput": Figure(0.0813, "req/s"),
        "output_tokens": Figure(4096, "token"),
    }
    assert {name: reading.numbers[name] for name in expected} == expected


def test_a_run_that_did_not_stream_has_no_ttft_and_says_so() -> None:
    table = "".join(line for line in PERF_CSV.splitlines(keepends=True) if not line.startswith(("TTFT", "ITL", "TPOT")))
    reading = aisbench.read_performance(table, perf_json())
    assert "ttft_mean" not in reading.numbers
    assert "does not stream" in reading.warnings[0]


@pytest.mark.parametrize(
    ("table", "common", "words"),
    [
        (PERF_CSV, "{", "cannot be read"),
        (PERF_CSV, "[" * 99999, "cannot be read"),
        (PERF_CSV, "[]", "not an object"),
        (PERF_CSV, "{}", "no Total Requests"),
        (PERF_CSV, perf_json(**{"Failed Requests": 8, "Success Requests": 0}), "all 8 requests failed"),
        (PERF_CSV, perf_json(**{"Output Token Throughput": "0.0 token/s"}), "no tokens were generated"),
        (PERF_CSV, perf_json(**{"Output Token Throughput": None}), "no Output Token Throughput"),
        ("", perf_json(), "no header"),
        (PERF_CSV[:120], perf_json(), "ends in the middle of E2EL"),
        (PERF_CSV.splitlines(keepends=True)[0], perf_json(), "no E2EL"),
    ],
)
def test_half_a_performance_run_is_an_error_and_no_number(table: str, common: str, words: str) -> None:
    with pytest.raises(ResultError, match=words):
        aisbench.read_performance(table, common)


def test_failed_requests_of_a_run_with_figures_are_counted() -> None:
    reading = aisbench.read_performance(PERF_CSV, perf_json(**{"Failed Requests": 3, "Success Requests": 5}))
    assert (reading.failed_requests, reading.total_requests) == (3, 8)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["AISBench - INFO - Current exp folder: outputs/default/1", "fine"], ""),
        (["fine", "[ERROR] first", "[ERROR] second"], "[ERROR] first"),
        (
            ["FileNotFoundError: [Errno 2] No such file or directory: '/d/gsm8k/test.jsonl'", "[ERROR] second"],
            "a file of the dataset is missing: /d/gsm8k/test.jsonl",
        ),
    ],
)
def test_the_first_error_in_the_log_of_aisbench_is_the_cause(lines: list[str], error: str) -> None:
    assert aisbench.first_error(lines) == error


def test_the_file_of_vllm_bench_gives_figures_in_our_names_and_units() -> None:
    reading = vllm_bench.read_json(bench_json(spec_decode_acceptance_rate=71.25))
    expected = {
        "ttft_mean": Figure(210.5, "ms"),
        "ttft_p50": Figure(200.0, "ms"),
        "ttft_p99": Figure(300.25, "ms"),
        "output_throughput": Figure(400.0, "token/s"),
        "spec_acceptance_rate": Figure(71.25, "%"),
        "duration": Figure(12.5, "s"),
    }
    assert {name: reading.numbers[name] for name in expected} == expected
    assert (reading.failed_requests, reading.total_requests) == (0, 20)
    assert reading.parameters["request_rate"] == "inf"
    assert "request_goodput" not in reading.numbers


def test_a_release_without_a_failed_key_has_its_failures_counted_from_the_prompts() -> None:
    reading = vllm_bench.read_json(bench_json(failed=None, completed=17))
    assert (reading.failed_requests, reading.total_requests) == (3, 20)


def test_the_block_says_the_same_as_the_file() -> None:
    block = vllm_bench.read_block(BENCH_BLOCK.splitlines())
    whole = vllm_bench.read_json(bench_json(completed=19, failed=1, spec_decode_acceptance_rate=71.25))
    assert block.failed_requests == 1
    shared = set(block.numbers) & set(whole.numbers)
    assert {"ttft_mean", "tpot_p50", "itl_p99", "output_throughput", "duration", "spec_acceptance_rate"} <= shared
    assert {name: block.numbers[name] for name in shared} == {name: whole.numbers[name] for name in shared}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        (bench_json()[:-30], "cannot be read"),
        ("[" * 99999, "cannot be read"),
        (bench_json(duration=10**400), "no duration"),
        (bench_json(duration=float("inf")), "no duration"),
        ("[]", "not an object"),
        (bench_json(completed=None), "how many requests completed"),
        (bench_json(completed=0, failed=20), "all requests failed"),
        (bench_json(total_output_tokens=0), "no tokens were generated"),
        (bench_json(output_throughput=None), "no throughput"),
    ],
)
def test_an_unusable_file_of_vllm_bench_is_an_error_and_no_number(text: str, words: str) -> None:
    with pytest.raises(ResultError, match=words):
        vllm_bench.read_json(text)


def test_the_first_error_of_failed_requests_is_the_hint() -> None:
    text = bench_json(completed=0, failed=2, errors=["", "Traceback\nConnectionRefusedError: 10.0.0.1:8000"])
    with pytest.raises(ResultError) as caught:
        vllm_bench.read_json(text)
    assert caught.value.hint == "ConnectionRefusedError: 10.0.0.1:8000"


@pytest.mark.parametrize("cut", [0, 60, 400, 900])
def test_a_block_that_does_not_end_is_no_result(cut: int) -> None:
    with pytest.raises(ResultError):
        vllm_bench.read_block(BENCH_BLOCK[:cut].splitlines())


def test_arrivals_of_a_detailed_file_become_a_timeline() -> None:
    text = bench_json(start_times=[100.0, 101.0], ttfts=[0.5, 0.2], itls=[[0.6, 0.1], [0.1]])
    timeline = vllm_bench.read_json(text).timeline
    assert [(point.at_s, point.tokens, point.running) for point in timeline] == [(0.0, 1.0, 1), (1.0, 4.0, 2)]


@given(st.text(max_size=200))
def test_no_text_makes_a_reader_fail_in_another_way(text: str) -> None:
    outcomes: list[ToolFigures | str] = []
    for read in (
        vllm_bench.read_json,
        lambda given: vllm_bench.read_block(given.splitlines()),
        lambda given: aisbench.read_accuracy(given, "gsm8k"),
        lambda given: aisbench.read_performance(given, perf_json()),
        lambda given: aisbench.read_performance(PERF_CSV, given),
    ):
        try:
            outcomes.append(read(text))
        except ResultError as error:
            outcomes.append(str(error))
    assert all(outcomes)


@given(
    st.dictionaries(
        st.sampled_from(list(json.loads(bench_json()))),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=3),
        max_size=4,
    )
)
def test_wrong_types_in_the_file_are_errors_or_left_out_never_figures(changes: dict[str, object]) -> None:
    data = json.loads(bench_json()) | changes
    try:
        reading = vllm_bench.read_json(json.dumps(data))
    except ResultError:
        return
    assert all(isinstance(found.value, float) for found in reading.numbers.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123.4 ms", Figure(123.4, "ms")),
        ("41.6 token/s", Figure(41.6, "token/s")),
        ("41.6 tok/s", Figure(41.6, "token/s")),
        ("8", Figure(8, "")),
        ("1e3 ms", Figure(1000, "ms")),
        ("nan ms", None),
        ("1e999", None),
        ("12 parsecs", None),
        ("", None),
        ("1 2", None),
    ],
)
def test_a_figure_is_a_finite_number_with_a_unit_we_know(text: str, expected: Figure | None) -> None:
    assert figure(text) == expected


def frame(token: str, name: str, data: bytes) -> bytes:
    return f"dsv4-result {token} {name} {len(data)} {hashlib.sha256(data).hexdigest()}\n".encode() + data + b"\n"


def test_delivered_files_are_the_bytes_that_were_written() -> None:
    odd = b'{"a": 1}\ndsv4-result t x 1 ' + b"0" * 64 + b"\n\xff\x00"
    log = b"noise\n" + frame("t1", "bench.json", odd) + b"dsv4-fact t1 exit 0\nmore\n"
    found = result_transfer.unpack(log, "t1")
    assert found.files == {"bench.json": odd}
    assert found.facts == {"exit": "0"}


def test_what_is_printed_under_another_token_is_not_ours() -> None:
    found = result_transfer.unpack(frame("other", "bench.json", b"{}") + b"dsv4-fact other exit 0\n", "t1")
    assert (found.files, found.facts) == ({}, {})
    with pytest.raises(ResultError, match=r"left no bench\.json"):
        found.text("bench.json")


@pytest.mark.parametrize("missing", [1, 5, 9])
def test_a_frame_that_was_cut_is_an_error(missing: int) -> None:
    with pytest.raises(ResultError, match="is incomplete"):
        result_transfer.unpack(frame("t1", "bench.json", b'{"a": 12}')[: -1 - missing], "t1")


def test_altered_bytes_are_an_error() -> None:
    with pytest.raises(ResultError, match="not what the tool wrote"):
        result_transfer.unpack(frame("t1", "bench.json", b'{"a": 12}').replace(b"12", b"13"), "t1")
