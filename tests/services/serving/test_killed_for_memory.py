"""An engine of which the kernel killed a part for lack of memory: that is the first cause, and what its log says follows."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from console.model.run import LogChunk, RunState, RunVerdict
from console.model.snapshot import Diagnosis, Exit
from console.node import oom_kills
from console.services.monitoring.intervals import Intervals
from console.services.serving.diagnosis import DiagnosisWatch
from tests.services.monitoring.test_monitor import Scene, key
from tests.waiting import until

REASON = oom_kills.words({"oom": {oom_kills.GROUP: 1}})


def _log(at: float) -> bytes:
    """What vLLM 0.21 printed when its worker was killed so, with times of this clock in UTC."""
    stamp, later = (time.strftime("%m-%d %H:%M:%S", time.gmtime(each)) for each in (at, at + 3))
    return (
        f"(EngineCore_DP1 pid=7) ERROR {stamp} [multiproc_executor.py:283] Worker proc VllmWorker-0 died unexpectedly, "
        "shutting down executor.\n"
        f"(APIServer pid=6) ERROR {later} [core.py:1140] RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {}\n"
    ).encode()


async def _told(scene: Scene, reason: str) -> list[Diagnosis]:
    """What is told of decode-0 once its log was read."""
    now = time.time()
    log = _log(now - 8)
    scene.up("d0")
    ended = RunState(
        key("decode-0"),
        RunVerdict.EXITED,
        exit=Exit(1, at=now - 4),
        log_size=len(log),
        started_at=now - 60,
        reason=reason,
    )
    scene.runs("d0", ended)
    scene.monitor.on_log("d0", LogChunk(ended.key, 0, log, len(log)))
    scene.monitor.publish()
    watch = DiagnosisWatch(scene.monitor, scene.logs, Intervals(diagnosis_s=0.01))
    work = asyncio.create_task(watch.run())
    try:
        await until(lambda: watch.complete(["decode-0"]))
    finally:
        work.cancel()
    return list(scene.monitor.diagnoses)


async def test_the_kill_comes_first_though_only_the_end_of_the_run_tells_of_it(tmp_path: Path) -> None:
    found = await _told(Scene(tmp_path), REASON)
    assert [(each.signature, each.first) for each in found if each.signature in ("S8", "F2", "A23")] == [
        ("F2", False),
        ("S8", True),
        ("A23", False),
    ]
    killed = next(each for each in found if each.first)
    assert killed.text == "the kernel killed 1 of its processes: the memory limit of its control group was reached"
    assert not killed.exact


@pytest.mark.parametrize("reason", ["", "exec failed: no such file"])
async def test_without_a_kill_the_dead_worker_is_the_cause(tmp_path: Path, reason: str) -> None:
    found = await _told(Scene(tmp_path), reason)
    assert [each.signature for each in found if each.first] == ["F2"]
