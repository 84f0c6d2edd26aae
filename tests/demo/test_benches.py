"""The simulated benchmark programs send real requests and write the real tools' files."""

from __future__ import annotations

import csv
import json
import re

import pytest

from tests.demo.bench import Bench, Engine

READY = "Application startup complete."
CHAT = ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions", "--served-model-name", "dsv4"]
KEYS = (
    "date endpoint_type backend label model_id tokenizer_id num_prompts request_rate burstiness max_concurrency"
    " duration completed failed"
    " total_input_tokens total_output_tokens request_throughput request_goodput output_throughput"
    " total_token_throughput"
    " max_output_tokens_per_s max_concurrent_requests mean_ttft_ms median_ttft_ms p99_ttft_ms mean_tpot_ms"
    " p50_itl_ms std_itl_ms"
)


async def _engine(bench: Bench, *words: str) -> Engine:
    engine = bench.serve(0, "-tp", "1", *words)
    await engine.says(READY)
    return engine


def _words(bench: Bench, *more: str) -> list[str]:
    size = ["--random-input-len", "100", "--random-output-len", "10", "--num-prompts", "12", "--max-concurrency", "4"]
    return ["vllm", "bench", "serve", "--host", bench.addresses[0], "--port", "7100", *size, *more]


async def test_bench_serve_measures_what_the_server_did(bench: Bench) -> None:
    engine = await _engine(bench)
    path = bench.root / "result.json"
    done = bench.run(
        0, *_words(bench, *CHAT, "--metric-percentiles", "50,99", "--save-result", "--result-filename", str(path))
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    assert set(KEYS.split()) <= set(result)
    assert (result["completed"], result["failed"], result["total_output_tokens"]) == (12, 0, 120)
    assert result["max_concurrent_requests"] == 4
    assert result["request_rate"] == "inf"
    assert 25 <= result["mean_ttft_ms"] <= result["p99_ttft_ms"]
    counted = re.search(r"vllm:generation_tokens_total\{.*\} (\S+)", (await engine.get("/metrics"))[1])
    assert counted
    assert float(counted[1]) == 130  # its own test request too
    lines = done.stdout.splitlines()
    assert "============ Serving Benchmark Result ============" in lines
    assert any(re.fullmatch(r"Successful requests: +12 +", line) for line in lines)
    assert lines[-1] == "=" * 50


async def test_bench_serve_says_when_nothing_is_there(bench: Bench) -> None:
    refused = bench.run(0, *_words(bench, *CHAT))
    assert refused.returncode == 1
    assert "Initial test run failed" in refused.stderr
    blind = bench.run(0, *_words(bench, *CHAT, "--ready-check-timeout-sec", "0"))
    assert blind.returncode == 0
    assert "All requests failed. This is likely due to a misconfiguration" in blind.stdout
    assert re.search(r"Failed requests: +12", blind.stdout)


async def test_bench_serve_does_not_look_whether_there_is_text(bench: Bench) -> None:
    bench.fail(0, "all", "bad-answer")
    await _engine(bench)
    path = bench.root / "result.json"
    done = bench.run(0, *_words(bench, *CHAT, "--save-result", "--save-detailed", "--result-filename", str(path)))
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    assert (result["completed"], set(result["generated_texts"])) == (12, {""})


CONFIGURATION = """
from ais_bench.benchmark.models import VLLMCustomAPIChat

models = [
    dict(
        attr="service",
        type=VLLMCustomAPIChat,
        abbr="dsv4",
        path="/model",
        model="dsv4",
        stream={stream},
        host_ip="{host}",
        host_port=7100,
        max_out_len=16,
        batch_size=4,
        generation_kwargs=dict(temperature=0.0),
    )
]
"""


def _configure(bench: Bench, stream: bool) -> list[str]:
    folder = bench.root / "configs" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(CONFIGURATION.format(stream=stream, host=bench.addresses[0]))
    return [
        "ais_bench",
        "--config-dir",
        str(bench.root / "configs"),
        "--models",
        "mine",
        "--work-dir",
        str(bench.root / "out"),
    ]


async def test_aisbench_accuracy_writes_the_summary(bench: Bench) -> None:
    await _engine(bench)
    words = ["--datasets", "gsm8k_gen_0_shot_cot_chat_prompt.py", "--mode", "all", "--dump-eval-details", "--merge-ds"]
    done = bench.run(0, *_configure(bench, False), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Current exp folder: " in done.stdout
    table = next((bench.root / "out").glob("*/summary/summary_*.csv"))
    assert f"write csv to {table}" in done.stdout
    head, row = list(csv.reader(table.open()))
    assert head == ["dataset", "version", "metric", "mode", "dsv4"]
    assert (row[0], row[2], row[3], row[4]) == ("gsm8k", "accuracy", "gen", "96.21")


LAID_OVER = """
from mmengine.config import read_base

with read_base():
    from ais_bench.benchmark.configs.models.vllm_api.vllm_api_stream_chat import models

models[0].update(dict(
    path='/model', model='dsv4', request_rate=0, host_ip={host!r}, host_port=7100, max_out_len=16, batch_size=4,
))
models[0]['generation_kwargs'] = dict(models[0].get('generation_kwargs', {{}}), **{{'ignore_eos': True}})
"""
PERFORMANCE = [
    "--datasets",
    "gsm8k_gen_0_shot_cot_str_perf",
    "--summarizer",
    "default_perf",
    "--mode",
    "perf",
    "--num-prompts",
    "8",
]


async def test_aisbench_performance_writes_figures_with_units(bench: Bench) -> None:
    await _engine(bench)
    words = _configure(bench, False)
    (bench.root / "configs" / "models" / "mine.py").write_text(LAID_OVER.format(host=bench.addresses[0]))
    done = bench.run(0, *words, *PERFORMANCE, "--debug")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = next((bench.root / "out").glob("*/performances/vllm-api-stream-chat"))
    rows = {row["Performance Parameters"]: row for row in csv.DictReader((folder / "gsm8k.csv").open())}
    assert list(rows)[:4] == ["E2EL", "TTFT", "TPOT", "ITL"]
    assert re.fullmatch(r"[0-9.]+ ms", rows["TTFT"]["P99"])
    figures = json.loads((folder / "gsm8k.json").read_text())
    assert figures["Failed Requests"]["total"] == "0"
    assert figures["Total Generated Tokens"]["total"] == "128"


async def test_aisbench_without_streaming_knows_no_first_token(bench: Bench) -> None:
    await _engine(bench)
    done = bench.run(0, *_configure(bench, False), *PERFORMANCE)
    assert done.returncode == 0
    table = next((bench.root / "out").glob("*/performances/dsv4/gsm8k.csv"))
    assert [row["Performance Parameters"] for row in csv.DictReader(table.open())][:2] == ["E2EL", "InputTokens"]


def test_aisbench_without_a_server_says_so_and_has_no_figure(bench: Bench) -> None:
    done = bench.run(0, *_configure(bench, True), *PERFORMANCE)
    assert "[CALC-DATA-002] Failed to calculate performance data, all requests failed" in done.stdout
    assert not list((bench.root / "out").glob("*/performances/*/*"))


def test_aisbench_without_its_dataset_puts_dashes_into_the_summary(bench: Bench) -> None:
    words = ["--datasets", "gpqa_gen_0_shot_str.py", "--mode", "all"]
    done = bench.run(0, *_configure(bench, False), *words, AIS_BENCH_DATASETS_CACHE=str(bench.root / "nowhere"))
    assert done.returncode == 0
    assert re.search(r"FileNotFoundError: .*gpqa/gpqa_diamond.csv", done.stdout)
    assert "[TINFER-001] task dsv4/GPQA_diamond fail, see the log" in done.stdout
    table = next((bench.root / "out").glob("*/summary/summary_*.csv"))
    assert list(csv.reader(table.open()))[1] == ["GPQA_diamond", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("words", "text"),
    [(["--models", "none", "--datasets", "gsm8k_gen"], "TMAN-CFG-003"), (["--datasets", "nonsense"], "UTILS-CFG-001")],
)
def test_aisbench_refuses_what_it_has_no_configuration_for(bench: Bench, words: list[str], text: str) -> None:
    done = bench.run(0, *_configure(bench, False), *words)
    assert (done.returncode, text in done.stdout) == (1, True)
