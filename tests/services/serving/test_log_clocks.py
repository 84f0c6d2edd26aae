"""Who broke first when the nodes are in different zones and their clocks are wrong: the console compares instants."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from console.model.run import LogChunk, RunState, RunVerdict
from console.services.monitoring.intervals import Intervals
from console.services.serving.diagnosis import DiagnosisWatch
from tests.services.monitoring.test_monitor import Scene, key
from tests.waiting import until

VLLM, ISO = "%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.000"


def _log(form: str, started: float, broke: float, shown_ahead: float) -> bytes:
    """A log that starts with its run and ends in an out-of-memory error."""
    first, last = (time.strftime(form, time.gmtime(at + shown_ahead)) for at in (started + 5, broke))
    return (
        f"INFO {first} [__init__.py:217] Platform plugin ascend is activated\n"
        f"(Worker_TP0 pid=3) ERROR {last} [a.py:1] RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\n"
    ).encode()


@pytest.mark.parametrize("form", [VLLM, ISO], ids=["vllm", "iso"])
@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
@pytest.mark.parametrize("first", ["prefill-0", "decode-0"])
async def test_the_earlier_instant_is_first_whatever_the_clocks_show(
    tmp_path: Path, first: str, told: bool, form: str
) -> None:
    now = float(int(time.time()))
    started = now - 900
    zones = {"prefill-0": ("p0", 8 * 3600.0, 120.0), "decode-0": ("d0", -7 * 3600.0, -3000.0)}
    scene = Scene(tmp_path)
    watch = DiagnosisWatch(scene.monitor, scene.logs, Intervals(diagnosis_s=0.01))
    for engine, (node, east, ahead) in zones.items():
        scene.up(node, ahead)
        broke = now - (300 if engine == first else 240)
        log = _log(form, started, broke, east + ahead)
        zone = ((0.0, east),) if told else ()
        state = RunState(
            key(engine), RunVerdict.RUNNING, pid=4711, log_size=len(log), started_at=started + ahead, zone=zone
        )
        scene.runs(node, state, clock=ahead)
        scene.monitor.publish()
        scene.monitor.on_log(node, LogChunk(key(engine), 0, log, len(log)))
    work = asyncio.create_task(watch.run())
    try:

        def told_of() -> list[tuple[str, float, bool]]:
            scene.monitor.publish()
            return [(each.engine, each.at, each.first) for each in scene.monitor.snapshot.diagnoses]

        await until(lambda: len(told_of()) == 2)
        other = next(name for name in zones if name != first)
        assert [(engine, leads) for engine, _, leads in told_of()] == [(first, True), (other, False)]
        assert [at for _, at, _ in told_of()] == pytest.approx([now - 300, now - 240], abs=2)
    finally:
        work.cancel()
