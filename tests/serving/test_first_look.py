"""A one-shot look waits until it knows what is known of an engine that serves badly, as a screen shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from console.model.run import LogChunk, RunState, RunVerdict
from console.model.snapshot import EngineState, Grade, Rung
from console.services.monitoring.cadences import Cadences
from console.services.serving.diagnosis import DiagnosisWatch
from tests.services.test_monitor import Scene, key
from tests.waiting import until

LOG = b"(APIServer pid=1) INFO:     Application startup complete.\n"


async def test_the_failure_of_an_engine_that_serves_another_model_is_waited_for(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    watch = DiagnosisWatch(scene.monitor, scene.logs, Cadences(diagnosis_s=0.01))
    work = asyncio.create_task(watch.run())
    try:
        scene.up("d0")
        scene.runs("d0", RunState(key("decode-0"), RunVerdict.RUNNING, pid=7, log_size=len(LOG)))
        scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, LOG, len(LOG)))
        scene.monitor.publish()
        await until(watch.ordered)
        learnt = scene.monitor.learnt(key("decode-0"))
        learnt.rungs = (Rung("http", Grade.OK), Rung("model", Grade.FAIL, "serves other, not dsv4"))
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
