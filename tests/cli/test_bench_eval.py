"""What the words of `bench` and `eval` come to, before any cluster is asked."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest

from console.cli import bench_eval
from console.commands.evaluation import AccuracyLoad, BenchLoad, Endpoint
from console.evaluation.records import Kind, Tool
from console.model.errors import UsageError
from console.model.run import RunKey
from console.services.evaluation import plans
from console.services.evaluation.evaluation_checks import length_findings
from console.services.evaluation.evaluation_options import parse_line
from console.services.evaluation.plans import EvaluationPlan, EvaluationRequest
from console.services.operations.plan_summary import plan_summary
from console.services.operations.step_text import step_commands
from tests.services.deployments import deployment


def asks(*words: str) -> tuple[EvaluationRequest, ...]:
    parser = argparse.ArgumentParser()
    bench_eval.add_parsers(parser.add_subparsers())
    args = parser.parse_args(words)
    found: tuple[EvaluationRequest, ...] = args.asks(args)
    return found


def test_bench_is_one_run_of_vllm_bench_serve() -> None:
    (ask,) = asks("bench", "--input-len", "3500", "--concurrency", "16", "--on", "d0", "--model", "dsv4")
    assert ask == EvaluationRequest(Tool.VLLM_BENCH, BenchLoad(3500, 256, 100, 16), "d0", "", "dsv4")
    assert (ask.kind, ask.subject, plans.engine_id(ask)) == (Kind.PERFORMANCE, "random 3500/256", "bench-vllm")


@pytest.mark.parametrize(
    ("words", "loads"),
    [
        (("--sweep", "1,2,4"), [(1, None), (2, None), (4, None)]),
        (("--sweep-rate", "0.5,2"), [(None, 0.5), (None, 2.0)]),
    ],
)
def test_a_sweep_is_a_run_for_each_load(words: tuple[str, ...], loads: list[tuple[int | None, float | None]]) -> None:
    found = [ask.load for ask in asks("bench", "--tool", "built-in", *words)]
    assert [(load.concurrency, load.rate) for load in found if isinstance(load, BenchLoad)] == loads


def test_eval_is_a_run_of_aisbench_with_its_sampling() -> None:
    (ask,) = asks("eval", "gsm8k", "--generation", '{"top_k": 5}', "--program", "/opt/ais_bench")
    assert (ask.tool, ask.program, ask.generation) == (Tool.AISBENCH, "/opt/ais_bench", {"top_k": 5})
    assert isinstance(ask.load, AccuracyLoad)
    assert plans.engine_id(ask) == "eval-gsm8k"
    assert plans.parameters(ask)["generation"] == {"top_k": 5}


@pytest.mark.parametrize(
    "words",
    [
        ("bench", "--sweep", "1,x"),
        ("bench", "--sweep", "1.5"),
        ("bench", "--sweep", "0"),
        ("bench", "--sweep", "1", "--sweep-rate", "1"),
        ("bench", "--request-rate", "0"),
        ("bench", "--num-prompts", "0"),
        ("bench", "--warmups", "-1"),
        ("eval",),
        ("eval", "gsm8k", "--generation", "{"),
        ("eval", "gsm8k", "--generation", "[1]"),
    ],
)
def test_words_that_cannot_be_meant_are_a_usage_error(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        asks(*words)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("10.0.0.1:8000", "10.0.0.1", 8000), ("[::1]:80", "::1", 80), ("gate.lab:1", "gate.lab", 1)],
)
def test_an_endpoint_by_hand(text: str, host: str, port: int) -> None:
    found = plans.address(text)
    assert (found.host, found.port, str(found)) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":80", "host:0", "host:65536", "ho st:80", "http://host:80", "h\n:80"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        plans.address(text)


def test_the_name_of_a_run_is_a_plain_one_whatever_the_dataset_is_called() -> None:
    ask = EvaluationRequest(Tool.AISBENCH, AccuracyLoad("../../My data!", "x"))
    assert plans.engine_id(ask) == "eval-..-..-My-data-"


@pytest.mark.parametrize("text", ["--tool none", "gsm8k 'open", "--no-such", "--input-len x", "--help"])
def test_a_typed_line_that_cannot_be_meant_says_so_and_ends_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        parse_line("bench", text)


def test_a_typed_line_means_what_the_same_words_mean_on_the_command_line() -> None:
    words = ("--tool", "built-in", "--sweep", "1,2", "--warmups", "3", "--model", "a b")
    assert parse_line("bench", "--tool built-in --sweep 1,2 --warmups 3 --model 'a b'") == asks("bench", *words)
    assert parse_line("eval", "gsm8k") == asks("eval", "gsm8k")


def test_aisbench_has_prompts_of_its_own_so_only_its_answers_can_be_too_long() -> None:
    (ask,) = asks("bench", "--tool", "aisbench", "--input-len", "4000", "--output-len", "100")
    assert "input_tokens" not in plans.parameters(ask)
    assert list(length_findings(ask.load, ask.tool, 1024, "here")) == []
    (found,) = length_findings(ask.load, ask.tool, 100, "here")
    assert (found.rule, found.fix) == ("EVAL-LEN", "give a smaller --output-len")
    (found,) = length_findings(ask.load, Tool.VLLM_BENCH, 1024, "here")
    assert "4000 input and 100 output tokens" in found.message


def _plan(*words: str) -> EvaluationPlan:
    (ask, *_) = asks(*words)
    key = RunKey("pd", plans.engine_id(ask), "r1")
    where = Endpoint("10.0.0.1", 8000, "p0", "proxy")
    return EvaluationPlan(ask, where, "p0", "dsv4", key, "", ("vllm", "bench"), (), {}, None, {})


def test_the_dialog_shows_what_runs_what_follows_and_who_suffers() -> None:
    several = asks("bench", "--sweep", "1,2,4")
    shown = plans.dialog_plan(_plan("bench", "--sweep", "1,2,4"), deployment(), several[1:], busy=7)
    assert (shown.confirm.kind, shown.blocked) == ("key", False)
    assert step_commands(shown.stages[0].steps[0]) == ("vllm bench",)
    assert [step.title.rpartition(", ")[2] for step in shown.steps] == [
        "concurrency 1",
        "concurrency 2",
        "concurrency 4",
    ]
    texts = [step_commands(stage.steps[0])[0] for stage in shown.stages]
    assert ["--max-concurrency 2" in texts[1], "--max-concurrency 4" in texts[2]] == [True, True]
    assert [len(stage.steps) for stage in shown.stages] == [1, 1, 1], "no two runs at the same time"
    summary = [(row.label, row.text, row.grade) for row in plan_summary(shown)]
    assert ("Requests", "to 10.0.0.1:8000, model dsv4", "plain") in summary
    assert ("Runs", "3, one after the other, as long as this console is open", "plain") in summary
    slower = "EVAL-USERS: 7 requests of users run now; both they and the measurement will be slower (10.0.0.1:8000)"
    assert ("Warning", slower, "warning") in summary
    assert not any(label == "Lost" for label, _, _ in summary)


def test_the_dialog_of_one_run_on_an_idle_deployment_says_nothing_of_others() -> None:
    shown = plans.dialog_plan(_plan("bench"), deployment())
    assert [row.label for row in plan_summary(shown)] == ["Engines", "Node", "Requests"]


def test_a_production_cluster_wants_its_name_typed() -> None:
    plain = deployment()
    cluster = plain.cluster.model_copy(update={"tags": ("production",)})
    shown = plans.dialog_plan(_plan("bench"), replace(plain, cluster=cluster))
    assert (shown.confirm.kind, shown.confirm.expected) == ("name", cluster.name)
