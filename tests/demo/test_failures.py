"""Every failure on demand shows the text, the exit code and the leftovers of the real one."""

from __future__ import annotations

import asyncio
import os
import re
import signal

import pytest

from console.demo.engine.failures import KINDS, faults_of, selectors
from console.demo.tools.demo_node import holdings
from tests.demo.bench import Bench, Engine
from tests.waiting import until

READY = "Application startup complete."

STARTS = [
    ("port", "OSError: [Errno 98] Address already in use", 1),
    ("path", "HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/model'", 1),
    ("quantization", "Unknown quantization method: ascend. Must be one of ['awq', 'fp8'", 1),
    ("memory", "NPU out of memory. Tried to allocate", 1),
    ("held", "Free memory on device (6.97/64.00 GiB) on startup is less than desired GPU memory utilization (0.9,", 1),
    ("kv-memory", "No available memory for the cache blocks.", 1),
    ("hccl", "EI0006: Getting socket times out.", 1),
    ("graph", "207008", 1),
    (
        "ready-timeout",
        "Timed out waiting for engine core processes to start. This is often caused by slow weight loading",
        1,
    ),
]


@pytest.mark.parametrize(("kind", "text", "code"), STARTS)
async def test_a_start_fails_with_the_real_words(bench: Bench, kind: str, text: str, code: int) -> None:
    bench.fail(0, "mixed-0", kind)
    extra = ["--quantization", "ascend", "--gpu-memory-utilization", "0.9"]
    engine = bench.serve(0, "-tp", "2", *extra, HCCL_CONNECT_TIMEOUT="120")
    assert await engine.ends() == code
    assert text in engine.text()
    await until(lambda: not engine.pids("VLLM::"), what="workers outlive their server")
    assert holdings(bench.directory(0)) == ()


async def test_a_failed_worker_is_told_first_and_wrapped_last(bench: Bench) -> None:
    engine = bench.external(0, 1, DSV4_DEMO_FAIL="memory")
    assert await engine.ends() == 1
    order = [
        engine.text().index(text)
        for text in ("NPU out of memory", "EngineCore failed to start.", "Engine core initialization failed.")
    ]
    assert order == sorted(order)


WRONG_GROUPS = [
    (["-dpa", "{1}"], [], "zmq.error.ZMQError: Cannot assign requested address (addr='tcp://{1}:12321')"),
    (
        [],
        ["--data-parallel-start-rank", "1"],
        "RuntimeError: Remote engine 1 must use --headless unless in external or hybrid dp lb mode",
    ),
    (
        [],
        ["--headless", "--data-parallel-start-rank", "2"],
        "RuntimeError: Message from engine with unexpected data parallel rank: 2",
    ),
    (
        [],
        ["--headless", "--data-parallel-start-rank", "0"],
        "engine 0 in CoreEngineState.CONNECTED state.",
    ),
    (
        [],
        ["--headless", "--data-parallel-start-rank", "1", "-ep"],
        "RuntimeError: Configuration mismatch detected for engine 1.",
    ),
]


@pytest.mark.parametrize(("head", "peer", "text"), WRONG_GROUPS)
async def test_a_group_that_cannot_work_says_why_on_the_head_node(
    bench: Bench, head: list[str], peer: list[str], text: str
) -> None:
    names = {str(index): address for index, address in enumerate(bench.addresses)}
    common = ["-dp", "2", "-dpl", "1", "-dpp", "12321", "-tp", "1"]
    where = [word.format(*names.values()) for word in head] or ["-dpa", bench.addresses[0]]
    first = bench.serve(0, *common, *where, "--data-parallel-start-rank", "0")
    second = bench.serve(1, *common, "-dpa", bench.addresses[0], *peer) if peer else None
    assert await first.ends() == 1
    assert text.format(*names.values()) in first.text()
    if second is not None:
        assert second.process.poll() is None or second.process.returncode == 1


async def test_a_rank_without_its_head_gives_up(bench: Bench) -> None:
    bench.fail(1, "dp-1", "handshake")
    engine = bench.external(1, 2)
    assert await engine.ends() == 1
    assert "Did not receive response from front-end process within 5 minutes" in engine.text()


async def test_a_port_of_the_kv_connector_that_is_taken(bench: Bench) -> None:
    kv = '{"kv_connector": "MooncakeHybridConnector", "kv_role": "kv_producer", "kv_port": "30000", "engine_id": "0"}'
    first = bench.serve(0, "-tp", "1", "--kv-transfer-config", kv, ASCEND_RT_VISIBLE_DEVICES="0")
    await first.says("KVCacheSendingThread started listening on path: tcp://")
    second = bench.serve(0, "-tp", "1", "--kv-transfer-config", kv, port=7200, ASCEND_RT_VISIBLE_DEVICES="1")
    assert await second.ends() == 1
    assert f"zmq.error.ZMQError: Address already in use (addr='tcp://{bench.addresses[0]}:30000')" in second.text()


async def _serving(bench: Bench, kind: str) -> Engine:
    engine = bench.serve(0, "-tp", "2")
    await engine.says(READY)
    bench.fail(0, "port-7100", kind)
    return engine


async def test_a_crash_while_serving_is_503_then_exit_0(bench: Bench) -> None:
    engine = await _serving(bench, "crash")
    await engine.says("EngineCore encountered a fatal error.")
    await engine.says("EngineDeadError")
    assert (await engine.get("/health"))[0] == 503
    assert await engine.ends() == 0


async def test_a_killed_worker_on_demand(bench: Bench) -> None:
    engine = await _serving(bench, "worker")
    await engine.says("Worker proc VllmWorker-1 died unexpectedly, shutting down executor.")
    assert await engine.ends() == 0


async def test_a_hang_keeps_health_good_and_requests_running(bench: Bench) -> None:
    engine = await _serving(bench, "hang")
    asking = asyncio.ensure_future(engine.post("/v1/completions", {"prompt": "x", "max_tokens": 4000}))

    async def stalled() -> str:
        """The metrics once the token count has stood still for fifty looks."""
        text, same = "", 0
        while same < 50:
            before, text = text, (await engine.get("/metrics"))[1]
            counts = [re.findall(r"vllm:generation_tokens_total\{.*\} (\S+)", each) for each in (before, text)]
            same = same + 1 if counts[0] == counts[1] != [] else 0
        return text

    assert re.search(r"num_requests_running\{.*\} 1\.0", await asyncio.wait_for(stalled(), 30))
    assert (await engine.get("/health"))[0] == 200
    assert not asking.done()
    asking.cancel()
    engine.process.terminate()
    assert await engine.ends() == 0


async def test_the_oom_killer_leaves_core_and_workers(bench: Bench) -> None:
    engine = await _serving(bench, "oom-kill")
    assert await engine.ends() == -signal.SIGKILL
    assert len(engine.pids("VLLM::")) == 3


async def test_an_engine_that_ignores_term_goes_by_kill_only(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "1", DSV4_DEMO_FAIL="ignore-term")
    await engine.says(READY)
    engine.process.terminate()
    assert (await engine.get("/health"))[0] == 200
    assert engine.process.poll() is None


async def test_a_daemon_keeps_memory_after_a_clean_stop(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "1", DSV4_DEMO_FAIL="daemon")
    await engine.says(READY)
    engine.process.terminate()
    assert await engine.ends() == 0
    held = holdings(bench.directory(0))
    assert [dict(each.mib) for each in held] == [{0: 9216}]
    assert os.getsid(held[0].pid) != os.getsid(0)


async def test_a_flood_writes_many_lines(bench: Bench) -> None:
    engine = await _serving(bench, "flood 2000")
    await until(lambda: engine.text().count("Slow token processing") >= 4000, 20)


async def test_a_hang_while_loading_is_silent(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "2", DSV4_DEMO_FAIL="mixed-0:hang-load,decode:memory")
    await engine.says("Completed | 32/64")
    assert (await engine.get("/health"))[0] == 0
    engine.process.terminate()
    assert await engine.ends() != 0
    assert "KeyboardInterrupt: terminated" in engine.text()
    assert engine.pids("VLLM::Worker")  # as the real one: no parent watch before the load is done


async def test_an_answer_without_text(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "1", DSV4_DEMO_FAIL="bad-answer")
    await engine.says(READY)
    status, body = await engine.post("/v1/completions", {"prompt": "x", "max_tokens": 3})
    assert status == 200
    assert '"text":""' in body


@pytest.mark.parametrize(
    ("environment", "role", "rank", "wanted"),
    [
        ("memory", "decode", 3, {"memory"}),
        ("decode-3:memory", "decode", 3, {"memory"}),
        ("decode-3:memory", "decode", 4, set()),
        ("dp-4:slow 5,prefill:graph", "prefill", 4, {"slow", "graph"}),
        ("no-such-kind", "mixed", 0, set()),
    ],
)
def test_selectors_mean_the_right_engine(
    bench: Bench, environment: str, role: str, rank: int, wanted: set[str]
) -> None:
    found = faults_of(bench.directory(0), {"DSV4_DEMO_FAIL": environment}, selectors(role, rank, 7100 + rank))
    assert set(found.found) == wanted
    assert len(KINDS) >= 20
