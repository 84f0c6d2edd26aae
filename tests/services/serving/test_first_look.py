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
from tests.services.monitoring.test_monitor import Scene, key
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
        run_record = scene.monitor.run_record(key("decode-0"))
        run_record.http_checks = (
            HealthCheck("http", Grade.OK),
            HealthCheck("model", Grade.FAIL, "serves other, not dsv4"),
        )
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


async def test_the_logs_of_a_group_that_hangs_point_at_the_rank_whose_core_sleeps(tmp_path: Path) -> None:
    now = time.time()
    waits = LOG + WAITS % time.strftime("%m-%d %H:%M:%S", time.gmtime(now - 5)).encode()
    logs = {"decode-0": waits, "decode-1": LOG, "decode-2": waits, "decode-3": waits}
    scene = Scene(tmp_path)
    watch = DiagnosisWatch(scene.monitor, scene.logs, Intervals(diagnosis_s=0.01))
    for node, mine in (("d0", ("decode-0", "decode-1")), ("d1", ("decode-2", "decode-3"))):
        scene.up(node)
        scene.runs(
            node,
            *(
                RunState(key(each), RunVerdict.RUNNING, pid=7, log_size=len(logs[each]), started_at=now - 90)
                for each in mine
            ),
        )
        for each in mine:
            scene.monitor.on_log(node, LogChunk(key(each), 0, logs[each], len(logs[each])))
            scene.monitor.run_record(key(each)).http_checks = (
                HealthCheck("http", Grade.OK),
                HealthCheck("model", Grade.OK),
            )
    scene.monitor.run_record(key("decode-0")).hang = HealthCheck(
        "works", Grade.FAIL, "hangs: 1 request runs and no token came"
    )
    scene.monitor.publish()
    work = asyncio.create_task(watch.run())

    def told() -> str:
        scene.monitor.publish()
        return next((each.text for each in scene.monitor.diagnoses if each.signature == "S1"), "")

    try:
        await until(lambda: watch.complete([*logs]) and "check it first" in told(), what=told())
    finally:
        work.cancel()
    assert told() == (
        "1 request runs and no token came; of decode only decode-1 does not report that it waits for its workers: check it first"
    )
