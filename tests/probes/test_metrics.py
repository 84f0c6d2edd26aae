"""`/metrics` of real servers reads as a person reads it; rates and percentiles agree with a direct computation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from console.node.metrics_text import wanted_lines
from console.probes.metrics import EngineScrape, Load, Scrape, loads, together
from console.probes.metrics import Histogram as Latency
from tests.probes.captures import capture
from tests.probes.metric_pages import parse_metrics

TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)


class Server:
    """A metrics page as vLLM makes it, through the same library."""

    def __init__(self, engines: int = 1) -> None:
        self.registry = CollectorRegistry()
        labels = ["model_name", "engine"]
        self.labels = [("dsv4", str(engine)) for engine in range(engines)]
        self.running = Gauge("vllm:num_requests_running", "h", labels, registry=self.registry)
        self.kv = Gauge("vllm:kv_cache_usage_perc", "h", labels, registry=self.registry)
        self.generated = Counter("vllm:generation_tokens", "h", labels, registry=self.registry)
        self.queries = Counter("vllm:prefix_cache_queries", "h", labels, registry=self.registry)
        self.hits = Counter("vllm:prefix_cache_hits", "h", labels, registry=self.registry)
        self.draft_tokens = Counter("vllm:spec_decode_num_draft_tokens", "h", labels, registry=self.registry)
        self.accepted = Counter("vllm:spec_decode_num_accepted_tokens", "h", labels, registry=self.registry)
        self.finished = Counter("vllm:request_success", "h", [*labels, "finished_reason"], registry=self.registry)
        self.ttft = Histogram("vllm:time_to_first_token_seconds", "h", labels, buckets=TTFT, registry=self.registry)
        for each in self.labels:
            for metric in (self.running, self.kv, self.generated, self.queries, self.hits, self.ttft):
                metric.labels(*each)

    def scrape(self, at: float) -> Scrape:
        return parse_metrics(generate_latest(self.registry), at)


def _real(name: str, at: float) -> Scrape:
    folder, _, file = name.rpartition("/")
    return parse_metrics(capture(f"vllm/engine/{folder}", file), at)


def test_a_server_under_load() -> None:
    load = loads(_real("http/metrics_after.txt", 10.0), _real("http/metrics_under_load.txt", 14.0))["0"]
    assert (load.running, load.waiting, load.deferred) == (4, 2, 0)
    assert load.kv_usage == pytest.approx(0.000977, abs=1e-6)
    assert load.prompt_tokens_s == pytest.approx((76 - 72) / 4)
    assert load.generation_tokens_s == pytest.approx((357 - 19) / 4)
    assert load.requests_s == 0.0
    assert load.latency["ttft"].count == 4
    assert load.percentile("e2e", 0.5) is None, "nothing finished in between"
    assert not load.restarted


def test_a_server_before_and_after_four_requests() -> None:
    load = loads(_real("http/metrics_before.txt", 0.0), _real("http/metrics_after.txt", 4.0))["0"]
    assert (load.requests_s, load.failed_s, load.preemptions_s) == (1.0, 0.0, 0.0)
    assert load.prompt_tokens_s == 18.0
    assert load.prefix_hit == 0.0
    assert load.acceptance is None
    assert load.latency["ttft"].buckets[3:7] == ((0.02, 1.0), (0.04, 2.0), (0.06, 2.0), (0.08, 3.0))
    assert load.percentile("ttft", 0.5) == pytest.approx(0.04)
    assert load.percentile("ttft", 0.99) == pytest.approx(2.5 + 2.5 * 0.96)


@pytest.mark.parametrize(
    ("name", "generated"),
    [
        ("dp/metrics_ext_8201.txt", {"0": 5.0}),
        ("dp/metrics_ext_8202.txt", {"1": 5.0}),
        ("dp/metrics_hl.txt", {"0": 10.0, "1": 0.0}),
        ("dp/metrics_internal_dp2.txt", {"0": 5.0, "1": 15.0}),
    ],
)
def test_who_lists_which_engine(name: str, generated: dict[str, float]) -> None:
    found = _real(name, 0.0)
    assert found.model == "tiny"
    assert {engine: each.counters["generation"] for engine, each in found.engines.items()} == generated


def test_a_single_scrape_tells_the_moment_and_no_speed() -> None:
    load = loads(None, _real("http/metrics_under_load.txt", 14.0))["0"]
    assert (load.running, load.generation_tokens_s, load.prefix_hit, load.latency) == (4, None, None, {})


def test_lines_of_other_metrics_are_no_news() -> None:
    server = Server(2)
    page = generate_latest(server.registry)
    assert wanted_lines(page + b"process_cpu_seconds_total 7.0\n") == wanted_lines(page)
    server.running.labels(*server.labels[1]).set(3)
    assert wanted_lines(generate_latest(server.registry)) != wanted_lines(page)


def test_two_scrapes_at_the_same_time_make_no_rate() -> None:
    server = Server()
    assert loads(server.scrape(5.0), server.scrape(5.0))["0"].generation_tokens_s is None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.0005, 79.0), max_size=60),
    st.lists(st.floats(0.0005, 79.0), min_size=1, max_size=200),
    st.sampled_from([0.5, 0.9, 0.99]),
)
def test_percentiles_of_the_interval_agree_with_the_values_themselves(
    old: list[float], new: list[float], share: float
) -> None:
    server = Server()
    observe = server.ttft.labels(*server.labels[0]).observe
    for value in old:
        observe(value)
    before = server.scrape(0.0)
    for value in new:
        observe(value)
    found = loads(before, server.scrape(10.0))["0"].percentile("ttft", share)
    truth = sorted(new)[max(0, math.ceil(share * len(new)) - 1)]
    upper = next(bound for bound in TTFT if truth <= bound)
    lower = max((bound for bound in (0.0, *TTFT) if bound < truth), default=0.0)
    assert found is not None
    assert lower - 1e-9 <= found <= upper + 1e-9


def test_values_beyond_the_last_bound_show_the_bound() -> None:
    server = Server()
    before = server.scrape(0.0)
    server.ttft.labels(*server.labels[0]).observe(1000.0)
    assert loads(before, server.scrape(1.0))["0"].percentile("ttft", 0.5) == 80.0


def test_a_restart_in_between_counts_from_zero() -> None:
    one, other = Server(), Server()
    one.generated.labels(*one.labels[0]).inc(1000)
    for _ in range(50):
        one.ttft.labels(*one.labels[0]).observe(9.0)
    other.generated.labels(*other.labels[0]).inc(30)
    other.ttft.labels(*other.labels[0]).observe(0.03)
    load = loads(one.scrape(0.0), other.scrape(10.0))["0"]
    assert load.restarted
    assert load.generation_tokens_s == 3.0
    assert load.latency["ttft"].count == 1


def test_a_restart_is_seen_even_when_the_counter_is_larger_than_before() -> None:
    def scrape(at: float, tokens: float, created: float | None) -> Scrape:
        return Scrape(at, {"0": EngineScrape(counters={"generation": tokens}, created=created)})

    assert loads(scrape(0.0, 5.0, 100.0), scrape(10.0, 50.0, 200.0))["0"].generation_tokens_s == 5.0
    assert loads(scrape(0.0, 5.0, 100.0), scrape(10.0, 50.0, 100.0))["0"].generation_tokens_s == 4.5
    assert loads(scrape(0.0, 5.0, None), scrape(10.0, 50.0, None))["0"].generation_tokens_s == 4.5


def test_an_answer_without_the_time_of_its_start_is_no_restart() -> None:
    server = Server()
    server.generated.labels("dsv4", "0").inc(1_000_000)
    before, page = server.scrape(0.0), generate_latest(server.registry)
    cut = parse_metrics(page[: page.find(b"# HELP vllm:generation_tokens_created")], 10.0)
    assert loads(before, cut)["0"].generation_tokens_s == 0.0
    assert not loads(before, cut)["0"].restarted
    assert not loads(cut, server.scrape(20.0))["0"].restarted


def test_a_new_engine_has_no_rate_yet() -> None:
    load = loads(Server(1).scrape(0.0), Server(2).scrape(10.0))
    assert load["1"].generation_tokens_s is None
    assert load["1"].running == 0


def test_speculation_and_prefix_cache_shares() -> None:
    server = Server()
    label = server.labels[0]
    for metric in (server.draft_tokens, server.accepted):
        metric.labels(*label)
    before = server.scrape(0.0)
    for metric, amount in (
        (server.draft_tokens, 200), (server.accepted, 150), (server.queries, 400), (server.hits, 100),
    ):  # fmt: skip
        metric.labels(*label).inc(amount)
    load = loads(before, server.scrape(10.0))["0"]
    assert (load.acceptance, load.prefix_hit) == (0.75, 0.25)


def test_failed_requests_are_counted() -> None:
    server = Server()
    for reason in ("stop", "abort", "error"):
        server.finished.labels(*server.labels[0], reason)
    before = server.scrape(0.0)
    for reason, amount in (("stop", 6), ("abort", 1), ("error", 3)):
        server.finished.labels(*server.labels[0], reason).inc(amount)
    load = loads(before, server.scrape(10.0))["0"]
    assert (load.requests_s, load.failed_s) == (1.0, 0.4)


def test_requests_are_not_counted_by_some_of_the_reasons_for_which_they_end() -> None:
    server = Server()
    for reason in ("stop", "length", "error"):
        server.finished.labels("dsv4", "0", reason)
    before = server.scrape(0.0)
    for reason, count in (("stop", 3), ("length", 2), ("error", 1)):
        server.finished.labels("dsv4", "0", reason).inc(count)
    page = generate_latest(server.registry)
    whole, cut = parse_metrics(page, 1.0), parse_metrics(page[: page.find(b'finished_reason="error"')], 1.0)
    assert [loads(before, each)["0"].requests_s for each in (whole, cut)] == [6.0, None]
    assert [loads(before, each)["0"].failed_s for each in (whole, cut)] == [1.0, None]


def test_engines_together() -> None:
    server = Server(2)
    before = server.scrape(0.0)
    for label, tokens, kv, ttft in ((server.labels[0], 100, 0.2, 0.03), (server.labels[1], 300, 0.9, 3.0)):
        server.generated.labels(*label).inc(tokens)
        server.running.labels(*label).set(4)
        server.kv.labels(*label).set(kv)
        server.ttft.labels(*label).observe(ttft)
    whole = together(loads(before, server.scrape(10.0)).values())
    assert (whole.running, whole.generation_tokens_s, whole.kv_usage) == (8, 40.0, 0.9)
    assert whole.latency["ttft"].count == 2
    assert whole.percentile("ttft", 0.5) == pytest.approx(0.04)
    assert whole.waiting is None


def test_nothing_together_is_unknown() -> None:
    assert together([]) == Load()


def test_a_histogram_that_lost_buckets_is_unknown() -> None:
    text = generate_latest(Server().registry).decode()
    cut = "\n".join(line for line in text.split("\n") if 'le="+Inf"' not in line)
    assert parse_metrics(cut.encode(), 0.0).engines["0"].histograms == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "the answer contains no vLLM metrics"),
        (b"<html>502 Bad Gateway</html>\n", "the answer contains no vLLM metrics"),
        (b'vllm:num_requests_running{engine="0" 1.0\n', "the metrics cannot be read"),
        (b'vllm:num_requests_running{engine="0"} many\n', "the metrics cannot be read"),
    ],
)
def test_an_answer_that_is_none(text: bytes, error: str) -> None:
    found = parse_metrics(text, 0.0)
    assert found.engines == {}
    assert error in found.error


OLD = b"""vllm:num_requests_running{model_name="m"} 3.0
vllm:gpu_cache_usage_perc{model_name="m"} 0.25
vllm:gpu_prefix_cache_queries_total{model_name="m"} 40.0
vllm:gpu_prefix_cache_hits_total{model_name="m"} 10.0
vllm:time_per_output_token_seconds_bucket{le="0.05",model_name="m"} 1.0
vllm:time_per_output_token_seconds_bucket{le="+Inf",model_name="m"} 2.0
vllm:time_per_output_token_seconds_count{model_name="m"} 2.0
vllm:time_per_output_token_seconds_sum{model_name="m"} 0.3
"""


def test_the_names_of_older_releases_are_read() -> None:
    found = parse_metrics(OLD, 0.0).engines["0"]
    assert found.gauges == {"running": 3.0, "kv": 0.25}
    assert found.counters == {"prefix_queries": 40.0, "prefix_hits": 10.0}
    assert found.histograms["itl"].count == 2.0


def test_a_release_that_answers_with_both_names_is_not_counted_twice() -> None:
    text = OLD.replace(b'model_name="m"', b'engine="0",model_name="m"')
    today = text.replace(b":gpu_", b":").replace(b"cache_usage", b"kv_cache_usage")
    today = today.replace(b"time_per_output_token_seconds", b"inter_token_latency_seconds").replace(b":kv_kv_", b":kv_")
    assert parse_metrics(text + today, 0.0) == parse_metrics(today, 0.0) == parse_metrics(text, 0.0)


def test_the_page_of_a_router_is_no_engine() -> None:
    assert parse_metrics(b'vllm:num_requests_running{server="http://10.0.0.1:8000"} 3.0\n', 0.0).engines == {}


def test_a_last_line_without_end_is_left_out() -> None:
    found = parse_metrics(
        b'vllm:num_requests_running{engine="0"} 4.0\nvllm:generation_tokens_total{engine="0"} 10', 0.0
    )
    assert found.engines["0"].counters == {}


def test_a_page_that_is_there_twice_counts_once() -> None:
    server = Server(2)
    for number in range(2):
        server.running.labels("dsv4", str(number)).set(3)
        server.ttft.labels("dsv4", str(number)).observe(0.3)
    page = generate_latest(server.registry)
    assert parse_metrics(page + page, 1.0) == parse_metrics(page, 1.0)


def test_not_a_number_is_unknown() -> None:
    found = parse_metrics(b'vllm:num_requests_running{engine="0"} NaN\nvllm:kv_cache_usage_perc{engine="0"} 0.5\n', 0.0)
    assert found.engines["0"].gauges == {"kv": 0.5}


LINES = [line for line in generate_latest(Server(2).registry).split(b"\n") if line.startswith(b"vllm:")]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(LINES),
            st.binary(max_size=60),
            st.binary(max_size=40).map(lambda each: b"vllm:num_requests_running" + each),
        )
    )
)
def test_any_bytes_give_a_scrape(lines: list[bytes]) -> None:
    one = parse_metrics(b"\n".join(lines) + b"\n", 0.0)
    other = parse_metrics(b"\n".join(reversed(lines)) + b"\n", 1.0)
    together(loads(one, other).values())


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20), st.floats(0, 1))
def test_a_percentile_lies_within_the_bounds(counts: list[float], share: float) -> None:
    total, rows = 0.0, []
    for number, count in enumerate(counts):
        total += count
        rows.append((float(number + 1), total))
    found = Latency((*rows, (math.inf, total)), 0.0).percentile(share)
    assert found is None if not total else found is not None and 0.0 <= found <= len(counts) + 1e-6
