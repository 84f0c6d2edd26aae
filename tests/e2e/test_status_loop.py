"""`status` beside an open session on a demo that serves: the same words, every time."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from console.cli.status_data import status_data
from console.model.service import Service, ServiceState
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from tests.bench.status_loop import contradictions, loop, untrue


@pytest.mark.sshd
@pytest.mark.timeout(400)
async def test_status_never_contradicts_the_screen_nor_the_processes(tmp_path: Path) -> None:
    assert await loop(3, "a3-mixed", 60.0, tmp_path) == []


def test_a_contradiction_would_be_seen() -> None:
    engine = EngineSnapshot("mixed-0", "n0", "mixed", "mixed", EngineState.READY)
    service = Service(ServiceState.UP, "http://10.0.0.1:7100", "dsv4")
    seen = ClusterSnapshot(0.0, "demo", "a3-mixed", service=service, engines={"mixed-0": engine})
    assert contradictions(status_data(seen), seen, seen) == []
    unproven = replace(seen, service=Service(ServiceState.UNPROVEN, "", "", "this console has seen no answer yet"))
    starting = replace(seen, engines={"mixed-0": replace(engine, state=EngineState.STARTING)})
    assert len(contradictions(status_data(unproven), seen, seen)) == 1
    assert len(contradictions(status_data(starting), seen, seen)) == 1
    assert contradictions(status_data(starting), seen, starting) == [], "it changed meanwhile"
    mine, gone = replace(engine, pid=os.getpid()), replace(engine, pid=2**22)
    for state, pid, wrong in (("ready", mine, 0), ("ready", gone, 1), ("failed", gone, 0), ("failed", mine, 1)):
        told = replace(seen, engines={"mixed-0": replace(pid, state=EngineState(state))})
        assert len(untrue(status_data(told))) == wrong
