"""Simulated engines behave towards processes, signals, ports and HTTP as captured from vLLM 0.21."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket

from console.demo.tools.demo_node import holdings
from tests.demo.bench import Bench
from tests.waiting import until

READY = "Application startup complete."


async def test_an_external_group_is_ready_only_when_its_last_rank_is_there(bench: Bench) -> None:
    first = bench.external(0, 2)
    await first.says("Started DP Coordinator process")
    await until(lambda: bool(first.pids("VLLM::EngineCore_DP0")))
    assert "Initializing a V1 LLM engine" not in first.text()
    assert (await first.get("/health"))[0] == 0
    os.kill(first.process.pid, signal.SIGTERM)  # noted, not obeyed: it waits for its peer
    assert first.process.poll() is None
    for pid in (first.process.pid, *first.pids("VLLM::")):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not first.pids("VLLM::"))
    ranks = [bench.external(rank, 2) for rank in (1, 0)]
    for rank in ranks:
        await rank.says(READY)
        assert await rank.get("/health") == (200, "")
        status, body = await rank.get("/v1/models")
        assert status == 200
        assert '"id":"dsv4"' in body
        assert len(rank.pids(r"VLLM::Worker_DP\d_TP\d\b")) == 2


async def test_a_stopped_engine_says_so_and_leaves_nothing(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "4")
    await engine.says(READY)
    held = holdings(bench.directory(0))
    assert [sorted(each.mib) for each in held] == [[0], [1], [2], [3]]
    assert all(size > 50000 for each in held for size in each.mib.values())
    workers = engine.pids("VLLM::")
    engine.process.terminate()
    assert await engine.ends() == 0
    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
    assert holdings(bench.directory(0)) == ()
    for line in ("Shutdown initiated (timeout=0)", "WorkerProc shutting down.", "Finished server process"):
        assert line in engine.text()


async def test_an_engine_with_keys_answers_on_v1_only_who_shows_one(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "1", "--api-key", "one", "two")
    await engine.says(READY)
    refused = (401, '{"error":"Unauthorized"}')
    assert await engine.get("/v1/models") == refused
    assert await engine.get("/v1/models", {"authorization": "Bearer three"}) == refused
    assert (await engine.get("/v1/models", {"authorization": "Bearer two"}))[0] == 200
    assert (await engine.get("/health"))[0] == 200


async def test_headless_ranks_open_no_port_and_the_head_spreads_over_all(bench: Bench) -> None:
    common = ["-dp", "2", "-dpl", "1", "-dpa", bench.addresses[0], "-dpp", "13399", "-tp", "2"]
    peer = bench.serve(1, *common, "--headless", "--data-parallel-start-rank", "1")
    head = bench.serve(0, *common, "--data-parallel-start-rank", "0")
    await head.says(READY)
    await peer.says("init engine (profile, create kv cache, warmup model) took")
    assert (await peer.get("/health"))[0] == 0
    assert "Launching 1 data parallel engine(s) in headless mode, with head node address tcp://" in peer.text()
    for _ in range(4):
        assert (await head.post("/v1/completions", {"prompt": "x", "max_tokens": 1}))[0] == 200
    status, text = await head.get("/metrics")
    assert status == 200
    assert re.findall(r'vllm:num_requests_running\{engine="(\d)"', text) == ["0", "1"]
    peer.process.terminate()
    assert await peer.ends() == 0
    assert (await head.post("/v1/completions", {"prompt": "x", "max_tokens": 1}))[
        0
    ] != 200  # it notices in its next step
    assert await head.ends() == 0


async def test_the_parts_of_an_engine_load_together_and_a_dead_part_ends_it_in_its_next_step(bench: Bench) -> None:
    common = ["--nnodes", "2", "--master-addr", bench.addresses[0], "--master-port", "29501", "-tp", "4"]
    part = bench.serve(1, *common, "--node-rank", "1", "--headless")
    await part.says("headless multiproc executor, with head node address")
    assert not part.pids("VLLM::")
    head = bench.serve(0, *common, "--node-rank", "0")
    await head.says(READY)
    assert [len(each.pids(r"VLLM::Worker_TP\d")) for each in (head, part)] == [2, 2]
    assert (part.pids("VLLM::EngineCore"), (await part.get("/health"))[0]) == ([], 0)
    assert "init engine" not in part.text()
    assert (await head.post("/v1/completions", {"prompt": "x", "max_tokens": 1}))[0] == 200
    os.kill(part.pids("VLLM::Worker_TP3")[0], signal.SIGKILL)
    assert await part.ends() == 0
    assert "Worker proc VllmWorker-3 died unexpectedly, shutting down executor." in part.text()
    assert (await head.get("/health"))[0] == 200
    assert (await head.post("/v1/completions", {"prompt": "x", "max_tokens": 1}))[0] != 200
    assert await head.ends() == 0


async def test_a_part_outlives_the_first_and_ends_when_it_is_told_to(bench: Bench) -> None:
    common = ["--nnodes", "2", "--master-addr", bench.addresses[0], "--master-port", "29501", "-tp", "2"]
    head = bench.serve(0, *common, "--node-rank", "0")
    part = bench.serve(1, *common, "--node-rank", "1", "--headless")
    await head.says(READY)
    head.process.terminate()
    assert await head.ends() == 0
    assert part.process.poll() is None
    part.process.terminate()
    assert await part.ends() == 0
    assert holdings(bench.directory(1)) == ()


async def test_several_api_servers_share_the_port(bench: Bench) -> None:
    engine = bench.serve(0, "-dp", "2", "-tp", "1")
    await engine.says("Waiting for API servers to complete")
    await until(lambda: engine.text().count(READY) == 2)
    assert "Defaulting api_server_count to data_parallel_size (2)." in engine.text()
    assert len(engine.pids("VLLM::APIServer_")) == 2
    assert (await engine.post("/v1/completions", {"prompt": "x", "max_tokens": 2}))[0] == 200
    engine.process.terminate()
    assert await engine.ends() == 0
    assert not engine.pids("VLLM::")


async def test_a_killed_worker_ends_the_engine_with_503_and_exit_code_0(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "2")
    await engine.says(READY)
    os.kill(engine.pids("VLLM::Worker_TP1")[0], signal.SIGKILL)
    await engine.says("EngineDeadError")
    assert (await engine.get("/health"))[0] == 503
    assert await engine.ends() == 0
    assert "died unexpectedly, shutting down executor." in engine.text()
    assert not engine.pids("VLLM::")


async def test_a_killed_api_server_leaves_core_workers_and_memory(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "2")
    await engine.says(READY)
    engine.process.kill()
    assert await engine.ends() == -signal.SIGKILL
    assert (await engine.get("/health"))[0] == 0
    assert len(engine.pids("VLLM::")) == 3
    assert len(holdings(bench.directory(0))) == 2
    again = bench.serve(0, "-tp", "2", port=7200)
    assert await again.ends() == 1
    assert "is less than desired GPU memory utilization" in again.text()
    assert "Engine core initialization failed. See root cause above." in again.text()


async def test_a_frozen_worker_hangs_requests_while_health_stays_good(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "2")
    await engine.says(READY)
    os.kill(engine.pids("VLLM::Worker_TP1")[0], signal.SIGSTOP)
    asking = asyncio.create_task(engine.post("/v1/completions", {"prompt": "x", "max_tokens": 1}))
    await engine.says("No available shared memory broadcast block found in 60 seconds")
    assert not asking.done()
    assert (await engine.get("/health"))[0] == 200
    asking.cancel()


async def test_two_engines_share_a_port_and_a_stranger_is_refused(bench: Bench) -> None:
    first, second = bench.serve(0, "-tp", "1"), bench.serve(0, "-tp", "1", ASCEND_RT_VISIBLE_DEVICES="1")
    await first.says(READY)
    await second.says(READY)
    with socket.create_server((bench.addresses[0], 7300)):
        third = bench.serve(0, "-tp", "1", port=7300, ASCEND_RT_VISIBLE_DEVICES="2")
        assert await third.ends() == 1
    assert "OSError: [Errno 98] Address already in use" in third.text()


async def test_progress_bars_and_prefixes_are_those_of_the_real_log(bench: Bench) -> None:
    engine = bench.external(0, 1, "--model-loader-extra-config", '{"enable_multithread_load": true}', "-ep")
    await engine.says(READY)
    text = engine.text()
    assert re.search(
        r"^\(Worker_TP0_EP0 pid=\d+\) \rMulti-thread loading shards: 100% Completed \| 64/64 \[", text, re.M
    )
    assert re.search(r"^\(Worker_TP0_EP0 pid=\d+\) \rCapturing CUDA graphs", text, re.M)
    assert re.search(r"^\(EngineCore pid=\d+\) INFO \d\d-\d\d \d\d:\d\d:\d\d \[core.py:306\] init engine ", text, re.M)
    assert re.search(r"^\(APIServer pid=\d+\) INFO:     Started server process \[\d+\]$", text, re.M)
