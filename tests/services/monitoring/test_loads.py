"""From two scrapes to what a rank, a group and the deployment do; when a silence is called a hang."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from console.model.deployment import Rank
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import EngineState, Grade, HealthCheck, Link, LinkState
from console.probes.metrics import Load, Scrape, loads
from console.remote.http import HttpAnswer
from console.services.monitoring.engine_states import Evidence, judge
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.loads import FRESH_S, Loads
from console.services.monitoring.records import RunRecord
from console.services.serving.answer_checks import EMPTY_200, EMPTY_500, answer_fault, proxy_fact
from console.services.serving.works_watch import hang_text, unanswered
from tests.probes.metric_pages import parse_metrics
from tests.services.deployments import deployment

CADENCES = Intervals()


def page(engine: str, running: int, generated: int, kv: float = 0.5) -> str:
    """Metrics of one rank, in vLLM 0.21's names."""
    labels = f'{{engine="{engine}",model_name="m"}}'
    return (
        f"vllm:num_requests_running{labels} {running}\nvllm:num_requests_waiting{labels} 2\n"
        f"vllm:kv_cache_usage_perc{labels} {kv}\n"
        f"vllm:prompt_tokens_total{labels} 100\nvllm:generation_tokens_total{labels} {generated}\n"
    )


def scraped(*moments: tuple[float, str]) -> RunRecord:
    """A run whose server was read at these moments."""
    record = RunRecord(RunKey("x", "e", "r"))
    for at, text in moments:
        scrape = parse_metrics(text.encode(), at)
        record.metrics.keep(scrape, loads(record.metrics.scrape, scrape))
    return record


def test_a_rank_its_group_and_the_deployment_are_summed_and_the_fullest_cache_counts() -> None:
    ranks = deployment().ranks()
    first, second = [rank for rank in ranks if rank.role == "decode"][:2]
    records = {
        first.id: scraped((100.0, page("0", 3, 1000)), (110.0, page("0", 3, 1500, 0.9))),
        second.id: scraped((100.0, page("1", 4, 1000)), (110.0, page("1", 4, 1100))),
    }
    single, grouped = Loads().serving(ranks, records, 112.0)
    assert single[first.id].generation_tokens_s == 50.0
    assert grouped["decode"].running == 7
    assert grouped["decode"].generation_tokens_s == 60.0
    assert grouped["decode"].kv_usage == 0.9
    assert grouped[""] == grouped["decode"]
    assert grouped["decode"].history == (None, 60.0)
    assert grouped["decode"].prompt_history == (None, 0.0)
    assert "prefill" not in grouped


def test_the_server_of_node_0_tells_of_the_ranks_of_the_nodes_behind_it_in_its_own_group() -> None:
    def rank(group: str, dp_rank: int, node: str) -> Rank:
        devices, port = (0, 1), None if dp_rank else 7100
        return Rank(f"{group}-{dp_rank}", node, group, "mixed", dp_rank, 0, 2, 4, devices, port, dp_rank > 0, "", "", 1)

    ranks = [rank(group, number, f"n{number}") for group in ("a", "b") for number in (0, 2)]
    text = "".join(
        page(label, running, 0)
        for label, running in (("0", 1), ("1", 2), ("2", 4), ("3", 8), ("4", 32), ("\u0662", 16))
    )
    single, grouped = Loads().serving(ranks, {"b-0": scraped((100.0, text))}, 100.0)
    assert {name: serving.running for name, serving in single.items()} == {"b-0": 1 + 2 + 16 + 32, "b-2": 4 + 8}
    assert {name: serving.running for name, serving in grouped.items()} == {"b": 63, "": 63}
    served = [replace(each, headless=False, port=7100) for each in ranks]
    alone, _ = Loads().serving(served, {"b-2": scraped((100.0, page("0", 1, 0)))}, 100.0)
    assert list(alone) == ["b-2"], "a server of its own tells of itself, whatever it calls itself"


def test_a_sum_follows_each_new_answer_and_leaves_out_what_became_old() -> None:
    ranks = deployment().ranks()
    first, second = [rank for rank in ranks if rank.role == "decode"][:2]
    records = {
        first.id: scraped((100.0, page("0", 3, 1000)), (110.0, page("0", 3, 1500))),
        second.id: scraped((100.0, page("1", 4, 1000))),
    }
    kept = Loads()
    assert kept.serving(ranks, records, 112.0) == Loads().serving(ranks, records, 112.0)
    for at, text in ((120.0, page("1", 6, 1400)), (150.0, page("1", 5, 1700)), (160.0, page("1", 5, 1700))):
        scrape = parse_metrics(text.encode(), at)
        records[second.id].metrics.keep(scrape, loads(records[second.id].metrics.scrape, scrape))
        single, grouped = kept.serving(ranks, records, at)
        assert (single, grouped) == Loads().serving(ranks, records, at)
        assert (first.id in single) == (at - 110.0 <= FRESH_S)


def test_old_metrics_are_unknown_not_the_last_known() -> None:
    ranks = deployment().ranks()
    records = {ranks[0].id: scraped((100.0, page("0", 3, 1000)))}
    assert Loads().serving(ranks, records, 100.0 + FRESH_S + 1) == ({}, {})


@pytest.mark.parametrize(
    ("aicore", "silent_s", "named"),
    [(0, 31.0, True), (None, 31.0, True), (0, 20.0, False), (80, 31.0, False), (80, 301.0, True)],
)
def test_no_token_is_a_hang_after_a_while_and_later_while_the_npus_compute(
    aicore: int | None, silent_s: float, named: bool
) -> None:
    record = scraped((100.0, page("0", 3, 1000)), (110.0, page("0", 3, 1000)))
    words = hang_text(record, aicore, 100.0 + silent_s, CADENCES)
    assert words.startswith("hangs: 3 requests") if named else words == ""


@pytest.mark.parametrize(
    "last",
    [page("0", 3, 1001), page("0", 0, 1000), page("0", 3, 5)],
    ids=["a token", "nothing runs", "the server restarted and gave tokens"],
)
def test_what_ends_a_silence(last: str) -> None:
    record = scraped((100.0, page("0", 3, 1000)), (110.0, page("0", 3, 1000)), (120.0, last))
    assert hang_text(record, 0, 999.0, CADENCES) == ""


def test_one_silent_rank_of_a_group_is_not_hidden_by_the_others() -> None:
    record = scraped((100.0, page("0", 3, 1000) + page("1", 2, 1000)), (110.0, page("0", 3, 9000) + page("1", 2, 1000)))
    assert hang_text(record, 0, 140.0, CADENCES).startswith("hangs: 2 requests")


def test_the_log_alone_shows_a_hang_where_metrics_cannot_be_read() -> None:
    record = RunRecord(RunKey("x", "e", "r"))
    line = (
        b"(APIServer pid=1) INFO 11-23 21:14:00 [loggers.py:259] Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation "
        b"throughput: 0.0 tokens/s, Running: 2 reqs, Waiting: 0 reqs, GPU KV cache usage: 1.0%, Prefix cache hit rate: 0.0%\n"
    )
    record.log.feed(b"INFO:     Application startup complete.\n", 90.0)
    for at in (100.0, 110.0, 120.0, 130.0):
        record.log.feed(line, at)
    assert hang_text(record, 0, 131.0, CADENCES).startswith("hangs: 2 requests")
    assert hang_text(record, 0, 170.0, CADENCES) == "", "old lines prove nothing"


def test_a_hang_makes_a_ready_engine_degraded_and_says_so_first() -> None:
    record = RunRecord(RunKey("x", "e", "r"))
    record.http_checks = (HealthCheck("http", Grade.OK), HealthCheck("model", Grade.OK))
    record.hang = HealthCheck("works", Grade.FAIL, "hangs: 3 requests run and no token came")
    run = RunState(record.key, RunVerdict.RUNNING)
    evidence = Evidence(Link(LinkState.UP), run, False, log_ready=True, checks=record.answer_checks)
    assert judge(evidence).state is EngineState.DEGRADED
    assert judge(evidence).cause.startswith("hangs: ")


@pytest.mark.parametrize(
    ("answer", "aicore", "named"),
    [
        (HttpAnswer(0, b"", 30.0, "no answer in 30 s"), None, True),
        (HttpAnswer(0, b"", 30.0, "no answer in 30 s"), 3, True),
        (HttpAnswer(0, b"", 30.0, "no answer in 30 s"), 80, False),
        (HttpAnswer(0, b"", 0.1, "refused"), 0, False),
        (HttpAnswer(404, b"no such model", 30.0), 0, False),
    ],
    ids=["nothing known", "rests", "computes", "refused", "answered late"],
)
def test_no_answer_is_a_hang_only_where_nothing_computes(answer: HttpAnswer, aicore: int | None, named: bool) -> None:
    record = RunRecord(RunKey("x", "e", "r"))
    record.http_checks = (HealthCheck("http", Grade.OK), HealthCheck("model", Grade.OK))
    assert unanswered(record, answer, aicore, 30.0) is named


def test_tokens_moved_after_the_scrape_before_the_one_that_shows_it_whenever_that_was() -> None:
    record = scraped((100.0, page("0", 0, 10)), (110.0, page("0", 0, 60)), (120.0, page("0", 0, 60)))
    assert (record.metrics.moved_at, record.served_at) == (110.0, 100.0)
    record.works = HealthCheck("works", Grade.OK, "4 tokens in 9 ms", 105.0)
    assert record.served_at == 105.0
    assert record.metrics.idle
    assert record.metrics.moves("0", 105.0)
    assert not record.metrics.moves("0", 111.0)


def test_a_rank_is_not_said_to_move_tokens_by_those_of_its_peer() -> None:
    both = (100.0, page("0", 0, 10) + page("1", 0, 10)), (110.0, page("0", 0, 60) + page("1", 0, 10))
    record = scraped(*both)
    assert record.metrics.moves("0", 105.0)
    assert not record.metrics.moves("1", 105.0)
    assert record.metrics.moves("7", 105.0), "a server that calls its only rank otherwise"


GOOD = json.dumps({"choices": [{"text": "a"}]}).encode()


@pytest.mark.parametrize(
    ("answer", "words", "fact"),
    [
        (HttpAnswer(200, GOOD, 0.1), "", ""),
        (HttpAnswer(200, b"", 0.1), "completion 200 with an empty body", EMPTY_200),
        (HttpAnswer(500, b"", 0.1), "completion 500: without a body", EMPTY_500),
        (HttpAnswer(500, b"Internal Server Error", 0.1), "completion 500: Internal Server Error", EMPTY_500),
        (HttpAnswer(500, b"boom", 0.1), "completion 500: boom", ""),
        (HttpAnswer(404, b"no such model", 0.1), "completion 404: no such model", ""),
        (HttpAnswer(200, b'{"choices": []}', 0.1), "completion 200 without a choice", ""),
        (HttpAnswer(200, b'{"choices": [null]}', 0.1), "completion 200 without a choice", ""),
        (
            HttpAnswer(200, b'{"choices": [{"text": "", "finish_reason": "abort"}]}', 0.1),
            "completion 200, but its request ended by abort",
            "",
        ),
        (HttpAnswer(200, b"[" * 99999, 0.1), f"completion 200, but without choices: {'[' * 120}", ""),
        (HttpAnswer(200, b"[1]", 0.1), "completion 200, but without choices: [1]", ""),
        (HttpAnswer(0, b"", 0.1, "refused"), "refused", ""),
        (HttpAnswer(200, GOOD, 0.1, "the body was cut"), "completion 200, but the body was cut", ""),
    ],
)
def test_what_is_wrong_with_a_completion(answer: HttpAnswer, words: str, fact: str) -> None:
    assert answer_fault(answer) == words
    assert proxy_fact(answer) == fact


def test_gauges_alone_leave_speeds_unknown() -> None:
    record = scraped((100.0, page("0", 3, 1000)))
    assert isinstance(record.metrics.scrape, Scrape)
    assert isinstance(record.metrics.loads["0"], Load)
    assert record.metrics.loads["0"].generation_tokens_s is None
    assert hang_text(record, 0, 999.0, CADENCES) == ""
