"""Progress bars in any cuts, and the statistics and schedules behind the built-in generator."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.evaluation.arrival_schedule import ClosedLoop, OpenLoop, prompts
from console.evaluation.figures import ResultError
from console.evaluation.progress import Progress, ProgressLog, parse, seconds
from console.evaluation.statistics import Timed, percentile, read_requests, summary
from console.model.errors import UsageError

BOARD = (
    "| vllm-api-stream-chat/demo_gsm8k | 547141 | [############                  ] 3/8 [0.1 it/s] | 0:00:54     "
    "| inferencing | logs/infer/x.out | {'POST': 4, 'RECV': 3, 'FINISH': 3, 'FAIL': 1} |"
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (" 43%|████▎     | 86/200 [00:42<00:56,  2.02it/s]", Progress(86, 200, 2.02, 56.0)),
        ("Calling API: 10%|#   | 20/198 [10:42<1:35:10, 32.08s/it]", Progress(20, 198, 1 / 32.08, 5710.0, None, "Calling API")),
        ("  0%|          | 0/200 [00:00<?, ?it/s]", Progress(0, 200, None, None)),
        ("100%|██████████| 200/200 [1 day, 1:00:00<00:00,  2.02it/s]", Progress(200, 200, 2.02, 0.0)),
        ("a: 1%|1| 1/9 [0:01<0:08, 1.0it/s] b: 50%|5| 5/10 [0:05<0:05, 1.0it/s]", Progress(5, 10, 1.0, 5.0, None)),
        ("Infer gsm8k:  40%| 8/20 [4s, 2.00it/s]", Progress(8, 20, 2.0, 6.0)),
        (BOARD, Progress(3, 8, 0.1, 50.0, 1)),
        ("INFO 86/200 done", None),
        ("300%|x| 300/100 [00:42<00:56,  2.02it/s]", None),
        (" 43%|x| 86/200 [00:42<00:56,  2.0.2it/s]", Progress(86, 200, None, 56.0)),
        (BOARD.replace("0.1 it/s", "0.1.1 it/s"), None),
        ("", None),
    ],
)  # fmt: skip
def test_a_bar_says_how_far_it_is(line: str, expected: Progress | None) -> None:
    found = parse(line)
    if expected is None or found is None:
        assert found is expected
        return
    assert (found.done, found.total, found.left_s, found.failed) == (
        expected.done,
        expected.total,
        pytest.approx(expected.left_s) if expected.left_s is not None else None,
        expected.failed,
    )
    assert found.rate_per_s == (pytest.approx(expected.rate_per_s) if expected.rate_per_s is not None else None)


@given(st.lists(st.integers(1, 40), max_size=20))
def test_a_log_in_any_cuts_ends_at_the_same_bar(cuts: list[int]) -> None:
    text = "".join(f"\r {done}%|##  | {done}/100 [00:{done:02d}<00:01,  2.0it/s]" for done in range(60)) + "\nend\n"
    log = ProgressLog()
    rest = text
    for cut in cuts:
        log.feed(rest[:cut])
        rest = rest[cut:]
    log.feed(rest)
    assert log.newest is not None
    assert log.newest.done == 59


def test_failures_are_counted_from_the_line_that_aisbench_prints_under_its_bar() -> None:
    log = ProgressLog()
    log.feed("POST=9 (9.0/s)  RECV=9 (9.0/s)  FAIL=9 (0.0/s)  FIN=9 (9.0/s)\n")
    assert [log.newest] == [None]
    log.feed("\rProgress:  50%|#####     | 6/12 [00:01<00:01,  5.96case/s]\n\x1b[A\n")
    assert log.newest == Progress(6, 12, 5.96, 1.0, None, "Progress")
    log.feed("POST=8 (6.0/s)  RECV=6 (6.0/s)  FAIL=2 (0.0/s)  FINISH=6 (6.0/s)   \x1b[A")
    log.feed("\rProgress:  67%|######    | 8/12 [00:01<00:01,  5.96case/s]")
    assert log.newest == Progress(8, 12, 5.96, 1.0, 2, "Progress")


def test_a_bar_without_a_rate_gets_one_from_the_clock() -> None:
    log = ProgressLog()
    for at, done in ((10.0, 0), (20.0, 5)):
        log.feed(f"\r{done}%|# | {done}/100 [00:00<?, ?it/s]", at)
    assert log.newest is not None
    assert (log.newest.rate_per_s, log.newest.left_s) == (0.5, 190.0)


@given(st.text(max_size=300))
def test_no_text_upsets_the_bars(text: str) -> None:
    log = ProgressLog()
    log.feed(text)
    assert log.newest is None or 0 <= log.newest.share <= 1


@pytest.mark.parametrize(
    ("text", "expected"), [("?", None), ("02:03", 123), ("1:02:03", 3723), ("2 days, 0:00:01", 172801)]
)
def test_times_of_bars(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
def test_percentiles_are_interpolated_like_everybodys(values: list[float]) -> None:
    ordered = sorted(values)
    known = statistics.quantiles(values, n=100, method="inclusive")
    assert percentile(ordered, 50) == pytest.approx(known[49], abs=1e-6)
    assert percentile(ordered, 99) == pytest.approx(known[98], abs=1e-6)
    assert percentile(ordered, 100) == ordered[-1]


def test_a_summary_is_in_milliseconds_and_of_nothing_is_nothing() -> None:
    found = summary("ttft", [0.1, 0.3])
    assert found["ttft_mean"].value == pytest.approx(200.0)
    assert found["ttft_std"].value == pytest.approx(100.0)
    assert found["ttft_p50"].value == pytest.approx(200.0)
    assert summary("ttft", []) == {}


def timed(due: float, sent: float, *pieces: float, tokens: int | None = None, error: str = "") -> Timed:
    return Timed(due, sent, pieces, 10, tokens, characters=len(pieces), error=error)


def test_the_figures_follow_the_definitions_of_vllm_bench_serve() -> None:
    found = read_requests([timed(0, 0, 0.5, 0.6, 0.8, tokens=4), timed(1, 1, 1.5, tokens=1)])
    numbers = {name: figure.value for name, figure in found.numbers.items()}
    assert numbers["ttft_mean"] == pytest.approx(500.0)
    assert numbers["itl_mean"] == pytest.approx(150.0)
    assert numbers["tpot_mean"] == pytest.approx(100.0)  # (0.8 − 0.5) / (4 − 1); one token has none
    assert numbers["e2el_mean"] == pytest.approx(650.0)
    assert numbers["duration"] == pytest.approx(1.5)
    assert numbers["output_throughput"] == pytest.approx(5 / 1.5)
    assert numbers["input_tokens"] == 20
    assert math.isclose(sum(point.tokens for point in found.timeline), 5)


def test_failed_requests_are_counted_and_give_no_figure() -> None:
    found = read_requests([timed(0, 0, 0.5, 0.6, tokens=2), timed(0, 0, error="HTTP 500"), timed(0, 0)])
    assert (found.failed_requests, found.total_requests) == (2, 3)
    assert found.numbers["ttft_mean"].value == pytest.approx(500.0)


def test_a_request_that_was_late_counts_from_when_it_was_due() -> None:
    found = read_requests([timed(0.0, 0.0, 0.1, 0.2), timed(0.1, 2.0, 2.1, 2.2)], intended=True)
    assert found.numbers["ttft_mean"].value == pytest.approx((100 + 2000) / 2)
    assert found.numbers["send_lag_mean"].value == pytest.approx(950.0)


@pytest.mark.parametrize(("late_s", "said"), [(0.004, False), (0.02, False), (0.03, True)])
def test_a_client_that_was_late_itself_says_so(late_s: float, said: bool) -> None:
    requests = [timed(0.0, late_s, late_s + 0.5, late_s + 0.6, tokens=2)]
    assert any("late" in warning for warning in read_requests(requests).warnings) is said


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([], "all 0 requests failed"),
        ([timed(0, 0, error="HTTP 502")], "all 1 requests failed: HTTP 502"),
        ([timed(0, 0)], "nothing was streamed"),
        ([Timed(0, 0, (0.5, 0.6), 10, 0, 0)], "no tokens were generated"),
        ([Timed(0, 0, (0.5, 0.6), 10, None, 0)], "no tokens were generated"),
    ],
)
def test_without_a_single_answer_there_is_no_number(requests: list[Timed], words: str) -> None:
    with pytest.raises(ResultError, match=words):
        read_requests(requests)


def test_pieces_are_counted_where_the_server_does_not_count_and_it_is_said() -> None:
    found = read_requests([timed(0, 0, 0.1, 0.2, 0.3)])
    assert found.numbers["output_tokens"].value == 3
    assert "without a token count" in found.warnings[0]


@given(st.floats(0.01, 1000), st.integers(2, 200), st.sampled_from(["poisson", "constant"]), st.integers(0, 9))
def test_arrivals_begin_at_once_never_go_back_and_keep_the_rate(
    rate: float, count: int, arrival: str, seed: int
) -> None:
    due = OpenLoop(rate, count, arrival, seed).due()  # type: ignore[arg-type]
    assert len(due) == count
    assert due[0] == 0
    assert list(due) == sorted(due)
    assert due[-1] == pytest.approx((count - 1) / rate)


def test_poisson_arrivals_are_as_uneven_as_poisson() -> None:
    due = OpenLoop(100.0, 5000, "poisson", 3).due()
    gaps = [later - earlier for earlier, later in pairwise(due)]
    assert statistics.pstdev(gaps) / statistics.mean(gaps) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "make", [lambda: OpenLoop(0, 1), lambda: OpenLoop(1, 0), lambda: ClosedLoop(0, 1), lambda: OpenLoop(math.nan, 1)]
)
def test_a_load_that_cannot_be_is_refused(make: object) -> None:
    with pytest.raises(UsageError):
        make()  # type: ignore[operator]


def test_prompts_differ_from_their_first_word_on() -> None:
    found = list(prompts(20, 50))
    assert len({each.split()[0] for each in found}) == 50
    assert {len(each.split()) for each in found} == {20}
    assert found == list(prompts(20, 50))
