"""What a look tells is true now: it waits for what is known of an engine that serves badly, and leaves out what is over."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from console.model.run import LogChunk, RunState, RunVerdict
from console.model.snapshot import EngineState, Grade, HealthCheck
from console.services.monitoring.intervals import Intervals
from console.services.serving.diagnosis import DiagnosisWatch
from tests.services.test_monitor import Scene, key
from tests.waiting import until

WAITS = (
    b"(EngineCore pid=2) INFO %s [shm_broadcast.py:681] No available shared memory broadcast block found in 60 seconds. This "
    b"typically happens when some processes are hanging or doing some time-consuming work.\n"
)
LOG = b"(APIServer pid=1) INFO:     Application startup complete.\n"


async def test_the_failure_of_an_engine_that_serves_another_model_is_waited_for(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    watch = DiagnosisWatch(scene.monitor, scene.logs, Intervals(diagnosis_s=0.01))
    work = asyncio.create_task(watch.run())
    try:
        scene.up("d0")
        scene.runs("d0", RunState(key("decode-0"), RunVerdict.RUNNING, pid=7, log_size=len(LOG)))
        scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, LOG, len(LOG)))
        scene.monitor.publish()
        await until(watch.ordered)
        learnt = scene.monitor.learnt(key("decode-0"))
        learnt.rungs = (HealthCheck("http", Grade.OK), HealthCheck("model", Grade.FAIL, "serves other, not dsv4"))
        scene.monitor.publish()
        assert scene.monitor.snapshot.engines["decode-0"].state is EngineState.DEGRADED
        assert not watch.ordered(), "nobody has looked into it yet"

        def known() -> bool:
            scene.monitor.publish()
            return watch.ordered()

        await until(known)
        assert [each.signature for each in scene.monitor.snapshot.diagnoses] == ["S4"]
    finally:
        work.cancel()


@pytest.mark.parametrize(("ago_s", "named"), [((130.0, 70.0), ["F4"]), ((200.0, 140.0), [])])
async def test_workers_that_answered_again_are_not_said_to_keep_their_engine_waiting(
    tmp_path: Path, ago_s: tuple[float, ...], named: list[str]
) -> None:
    now = time.time()
    stamps = [time.strftime("%m-%d %H:%M:%S", time.gmtime(now - ago)).encode() for ago in ago_s]
    log = LOG + b"".join(WAITS % stamp for stamp in stamps)
    scene = Scene(tmp_path)
    watch = DiagnosisWatch(scene.monitor, scene.logs, Intervals(diagnosis_s=0.01))
    work = asyncio.create_task(watch.run())
    try:
        scene.up("d0")
        scene.runs("d0", RunState(key("decode-0"), RunVerdict.RUNNING, pid=7, log_size=len(log), started_at=now - 900))
        scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, log, len(log)))
        scene.monitor.publish()
        await until(lambda: watch.complete(["decode-0"]))
        assert [each.signature for each in scene.monitor.diagnoses] == named
    finally:
        work.cancel()
