"""What two ranks of a group say and how long their processes live after a blow: the simulated ones as the real ones did."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

from tests.demo.bench import Bench, Engine
from tests.probes.captures import capture
from tests.waiting import until

MARKS = (
    "Worker proc VllmWorker-0 died unexpectedly, shutting down executor.",
    "WorkerProc hit an exception.",
    "Connection closed by peer [",
    "EngineCore encountered a fatal error.",
    "AsyncLLM output_handler failed.",
    "EngineDeadError: EngineCore encountered an issue",
    "Parent process exited, terminating worker queues",
    "WorkerProc shutting down.",
    "Process EngineCore_DP",
    "INFO:     Shutting down",
    "Finished server process",
    "Waiting up to 0 seconds for processes to exit",
    "Shutdown initiated (timeout=0)",
    "Shutdown complete",
    "] Shutting down.",
)


def _said(text: str) -> list[str]:
    """The marks of an end in the order in which a log says them first."""
    return sorted((mark for mark in MARKS if mark in text), key=text.index)


def _real(name: str, folder: str = "vllm/engine/deaths") -> list[str]:
    return _said(capture(folder, name).decode())


@contextlib.asynccontextmanager
async def _traffic(head: Engine) -> AsyncIterator[None]:
    async def ask() -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                await head.post("/v1/completions", {"prompt": "x", "max_tokens": 8})
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(ask(), name=f"asking {number}") for number in range(3)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _group(bench: Bench) -> tuple[Engine, Engine]:
    """A serving rank and a headless one, both up."""
    common = ["-dp", "2", "-dpl", "1", "-dpa", bench.addresses[0], "-dpp", "12321", "-tp", "1"]
    head = bench.serve(0, *common, "--data-parallel-start-rank", "0")
    peer = bench.serve(1, *common, "--headless", "--data-parallel-start-rank", "1")
    await head.says("Application startup complete.")
    return head, peer


async def test_a_headless_rank_whose_core_is_killed_lingers_longer_than_the_rank_that_follows(bench: Bench) -> None:
    head, peer = await _group(bench)
    async with _traffic(head):
        os.kill(peer.pids("VLLM::EngineCore")[0], signal.SIGKILL)
        assert await head.ends() == 0
        assert peer.process.poll() is None, "its parent has said its last word and lingers"
        assert "] Shutting down." in peer.text()
        assert await peer.ends() == 0
    assert _said(peer.text()) == _real("core-kill-b.log")
    assert set(_said(head.text())) == set(_real("core-kill-a.log"))
    assert _said(head.text())[0] == _real("core-kill-a.log")[0]


async def test_a_headless_rank_whose_worker_is_killed(bench: Bench) -> None:
    head, peer = await _group(bench)
    async with _traffic(head):
        os.kill(peer.pids("VLLM::Worker")[0], signal.SIGKILL)
        assert await head.ends() == 0
        assert peer.process.poll() is None
        assert await peer.ends() == 0
    assert _said(peer.text()) == _real("worker-kill-b.log")
    assert set(_said(head.text())) == set(_real("worker-kill-a.log"))


async def test_a_headless_rank_whose_peer_loses_its_core(bench: Bench) -> None:
    head, peer = await _group(bench)
    async with _traffic(head):
        await until(lambda: "200 OK" in head.text())
        os.kill(head.pids("VLLM::EngineCore")[0], signal.SIGKILL)
        assert await head.ends() == 0
        assert await peer.ends() == 0
    assert set(_said(head.text())) == set(_real("core0-kill-a.log"))


async def test_a_headless_rank_goes_on_serving_without_its_parent(bench: Bench) -> None:
    head, peer = await _group(bench)
    peer.process.kill()
    assert await peer.ends() == -signal.SIGKILL
    for _ in range(4):
        assert (await head.post("/v1/completions", {"prompt": "x", "max_tokens": 2}))[0] == 200
    assert head.process.poll() is None
    assert len(peer.pids("VLLM::")) == 2
    assert _said(peer.text()) == []


async def test_a_headless_rank_that_is_told_to_end_says_so_first(bench: Bench) -> None:
    _, peer = await _group(bench)
    peer.process.terminate()
    assert await peer.ends() == 0
    assert _said(peer.text()) == _real("hl_node1.log", "vllm/engine/dp")
