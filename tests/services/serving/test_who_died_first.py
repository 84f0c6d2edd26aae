"""Who broke first, by the logs of real deaths: the one that was killed, in whatever order the processes end afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from calendar import timegm
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.model.run import LogChunk, RunState, RunVerdict
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineState, Exit, Grade, HealthCheck
from console.services.monitoring.intervals import Intervals
from console.services.serving.diagnosis import DiagnosisWatch
from tests.probes.captures import capture
from tests.services.monitoring.test_monitor import Scene, key
from tests.waiting import until

_STAMP = re.compile(rb"11-30 (\d\d):(\d\d):(\d\d)")
DEAD, PEER = "decode-0", "decode-1"
"""Both on node d0, of one group."""


def _pair(dead: str, peer: str, now: float) -> tuple[bytes, bytes]:
    """The logs of a killed rank and of its peer, moved in time so that the first blow fell 20 s ago."""
    logs = [capture("vllm/engine/deaths", name) for name in (dead, peer)]
    blow = min(_stamps(log, b"Parent process exited|died unexpectedly|Connection closed by peer") for log in logs)

    def moved(found: re.Match[bytes]) -> bytes:
        at = now - 20 + _second(found) - blow
        return time.strftime("%m-%d %H:%M:%S", time.gmtime(at)).encode()

    first, second = (_STAMP.sub(moved, log) for log in logs)
    return first, second


def _second(found: re.Match[bytes]) -> float:
    return float(timegm((2026, 11, 30, int(found[1]), int(found[2]), int(found[3]))))


def _stamps(log: bytes, words: bytes) -> float:
    line = re.search(rb"^.*(?:" + words + rb").*$", log, re.MULTILINE)
    assert line is not None
    stamp = _STAMP.search(line[0])
    assert stamp is not None
    return _second(stamp)


class Deaths:
    """Two ranks of a group with their logs; tells what the console makes of it."""

    def __init__(self, scene: Scene, logs: tuple[bytes, bytes], now: float) -> None:
        self._scene, self._logs, self._now = scene, dict(zip((DEAD, PEER), logs, strict=True)), now
        self._ends: dict[str, float] = {}
        self.watch = DiagnosisWatch(scene.monitor, scene.logs, Intervals(diagnosis_s=0.01))
        scene.up("d0")
        self._report()
        for name, log in self._logs.items():
            scene.monitor.on_log("d0", LogChunk(key(name), 0, log, len(log)))
        dead = scene.monitor.run_record(key(DEAD))
        dead.http_checks = (HealthCheck("http", Grade.OK), HealthCheck("model", Grade.OK))
        dead.works = HealthCheck("works", Grade.FAIL, "500 Internal Server Error")

    def ends(self, name: str, after_s: float) -> None:
        """The process of a rank ends with code 0, so many seconds after the blow."""
        self._ends[name] = self._now - 20 + after_s
        self._report()

    def _report(self) -> None:
        self._scene.runs("d0", *(self._state(name, log) for name, log in self._logs.items()))
        self._scene.monitor.publish()

    def _state(self, name: str, log: bytes) -> RunState:
        facts = {"log_size": len(log), "started_at": self._now - 90}
        if name in self._ends:
            return RunState(key(name), RunVerdict.EXITED, exit=Exit(0, at=self._ends[name]), **facts)  # type: ignore[arg-type]
        return RunState(key(name), RunVerdict.RUNNING, pid=4711, **facts)  # type: ignore[arg-type]

    async def settled(self) -> tuple[ClusterSnapshot, Diagnosis | None]:
        """The picture once nothing changes it any more, with the first cause."""
        seen: list[object] = []

        def same() -> bool:
            self._scene.monitor.publish()
            taken = self._scene.monitor.snapshot
            seen.append((taken.diagnoses, {each.id: (each.state, each.cause) for each in taken.engines.values()}))
            return len(seen) > 3 and seen[-1] == seen[-3] and self.watch.complete([DEAD, PEER])

        await until(same)
        taken = self._scene.monitor.snapshot
        return taken, next((each for each in taken.diagnoses if each.first), None)


@contextlib.asynccontextmanager
async def _deaths(root: Path, dead: str, peer: str) -> AsyncIterator[Deaths]:
    now = float(int(time.time()))
    made = Deaths(Scene(root), _pair(dead, peer, now), now)
    work = asyncio.create_task(made.watch.run())
    try:
        yield made
    finally:
        work.cancel()


ENDS = [[], [(PEER, 3.4)], [(PEER, 3.4), (DEAD, 15.3)], [(DEAD, 4.0), (PEER, 13.0)]]


@pytest.mark.parametrize(
    "ends", ENDS, ids=["both linger", "the peer ended", "the peer ended first", "the dead one ended first"]
)
@pytest.mark.parametrize(
    ("dead", "peer", "signature"),
    [
        ("core-kill-b.log", "core-kill-a.log", "F10"),
        ("core0-kill-a.log", "core0-kill-b.log", "F1"),
        ("worker-kill-b.log", "worker-kill-a.log", "F2"),
    ],
    ids=["the core of a headless rank", "the core of the serving rank", "a worker of a headless rank"],
)
async def test_the_killed_rank_is_first(
    dead: str, peer: str, signature: str, ends: list[tuple[str, float]], tmp_path: Path
) -> None:
    async with _deaths(tmp_path, dead, peer) as made:
        for name, after_s in ends:
            made.ends(name, after_s)
        taken, first = await made.settled()
    assert first is not None, taken.diagnoses
    assert (first.engine, first.signature) == (DEAD, signature), taken.diagnoses
    assert {taken.engines[name].state for name in (DEAD, PEER)} <= {EngineState.DEGRADED, EngineState.FAILED}
    assert taken.engines[PEER].after == DEAD, taken.engines[PEER].cause
    assert taken.engines[DEAD].after == ""
