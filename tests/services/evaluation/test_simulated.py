"""The demo's `vllm bench serve` and `ais_bench` under our script and configuration: what they write is what we read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.commands import evaluation as commands
from console.commands.evaluation import AccuracyLoad, BenchLoad, Endpoint
from console.commands.script import cmd_sh
from console.demo.tools import install_tools
from console.evaluation import aisbench, vllm_bench
from console.evaluation.result_transfer import TransferredFiles, unpack
from console.model.cluster import Node
from tests.evaluation.slow_server import SlowServer
from tests.services.deployments import deployment

TOKEN = "ab12ab12ab12ab12"


@pytest.fixture
async def server() -> AsyncIterator[SlowServer]:
    running = await SlowServer(ttft_s=0.03, itl_s=0.005, tokens=8).start()
    yield running
    running.close()


async def run(work: Path, argv: tuple[str, ...], config: tuple[str, str] = ("", "")) -> TransferredFiles:
    """The whole script on a node's programs."""
    env = {**os.environ, **install_tools(work / "bin", work / "node", hardware="a3", address="127.0.0.1")}
    (work / "work").mkdir()
    script = cmd_sh(commands.run_command(TOKEN, argv, config), Node(name="n0", host="127.0.0.1"))
    with (work / "out.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, cwd=work / "work", env=env, stdout=log, stderr=log, start_new_session=True
        )
        code = await asyncio.wait_for(process.wait(), 60)
    text = (work / "out.log").read_bytes()
    assert code == 0, text.decode()
    return unpack(text, TOKEN)


async def test_vllm_bench_serve(server: SlowServer, tmp_path: Path) -> None:
    where = Endpoint("127.0.0.1", server.port, "n0", "")
    found = await run(tmp_path, commands.bench_argv(deployment(), where, "dsv4", BenchLoad(20, 8, 12, 3)))
    reading = vllm_bench.read_json(found.text("bench.json"))
    block = vllm_bench.read_block((tmp_path / "out.log").read_text(errors="replace").splitlines())
    assert (reading.failed_requests, reading.total_requests) == (0, 12)
    assert reading.numbers["output_tokens"].value == 96
    assert reading.numbers["ttft_mean"].value >= 30
    assert block.numbers["ttft_p99"].value == pytest.approx(reading.numbers["ttft_p99"].value, abs=0.01)
    assert server.most_at_once == 3


async def test_ais_bench_for_performance(server: SlowServer, tmp_path: Path) -> None:
    where = Endpoint("127.0.0.1", server.port, "n0", "")
    config = commands.model_config(deployment(), where, "dsv4", stream=True, max_out_tokens=8, concurrency=2)
    argv = commands.performance_argv(BenchLoad(requests=6))
    found = await run(tmp_path, argv, (commands.MODEL_CONFIGS[True], config))
    reading = aisbench.read_performance(found.text("performance.csv"), found.text("performance.json"))
    assert (reading.failed_requests, reading.total_requests, reading.warnings) == (0, 6, ())
    assert reading.numbers["ttft_mean"].value >= 30
    assert reading.numbers["output_throughput"].unit == "token/s"
    assert server.most_at_once == 2


@pytest.mark.parametrize(("dataset", "accuracy"), [("gsm8k", 96.21), ("gpqa", 89.90)])
async def test_ais_bench_for_accuracy(server: SlowServer, tmp_path: Path, dataset: str, accuracy: float) -> None:
    where = Endpoint("127.0.0.1", server.port, "n0", "")
    config = commands.model_config(deployment(), where, "dsv4", stream=False, max_out_tokens=8, concurrency=4)
    argv = commands.accuracy_argv(AccuracyLoad(dataset, requests=5))
    found = await run(tmp_path, argv, (commands.MODEL_CONFIGS[False], config))
    reading = aisbench.read_accuracy(found.text("summary.csv"), dataset)
    assert reading.numbers["accuracy"].value == pytest.approx(accuracy)
    assert found.facts["empty-answers"] == "0"


async def test_ais_bench_counts_the_answers_that_were_empty(server: SlowServer, tmp_path: Path) -> None:
    where = Endpoint("127.0.0.1", server.port, "n0", "")
    config = commands.model_config(deployment(), where, "wordless", stream=False, max_out_tokens=8, concurrency=4)
    argv = commands.accuracy_argv(AccuracyLoad("gsm8k", requests=5))
    found = await run(tmp_path, argv, (commands.MODEL_CONFIGS[False], config))
    assert found.facts["empty-answers"] == "5"
