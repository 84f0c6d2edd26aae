"""An engine over two nodes and a service beside it, through the console: started, broken, explained, stopped."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from console.model.snapshot import EngineState, Grade
from console.services.session import Session
from tests.e2e.cluster import Lab
from tests.services.serving.labs import named, small_lab, watched
from tests.sshd import needs_sshd
from tests.waiting import until

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(240)]

LAYOUT = """\
name: small
hardware: a3
version: v0.21.0rc1
model: {path: /root/.cache/modelscope/hub/models/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp, served_name: dsv4}
env: {HCCL_CONNECT_TIMEOUT: 1200, VLLM_ENGINE_READY_TIMEOUT_S: 3600}
args: {enable-expert-parallel: true, block-size: 128, quantization: ascend}
groups:
  mixed:
    role: mixed
    nodes: 2
    nodes_per_engine: 2
    tensor_parallel: 2
    data_parallel: {size: 1, per_node: 1}
    port: 8900
services:
  kv-master:
    command: [mooncake_master, --port, 9500]
    node: mixed/1
    port: 9500
assign: {mixed: [m0, m1]}
"""


def _pid(session: Session, engine: str) -> int:
    pid = session.snapshot.engines[engine].pid
    assert pid is not None
    return pid


def _is(session: Session, engine: str, state: EngineState) -> bool:
    seen = session.snapshot.engines.get(engine)
    return seen is not None and seen.state is state


def _log_grades(session: Session) -> list[Grade]:
    engines = (session.snapshot.engines[name] for name in ("mixed-0", "mixed-0.1"))
    return [check.grade for engine in engines for check in engine.health if check.name == "log"]


def _status(made: Lab) -> dict[str, Any]:
    done = made.console("status", "--layout", str(made.file.parent / "small.yaml"), "-o", "json")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


async def test_parts_and_services_live_die_are_named_and_stop_as_planned(tmp_path: Path) -> None:
    with small_lab(tmp_path, layout=LAYOUT, names=("m0", "m1")) as made:
        layout = str(tmp_path / "small.yaml")
        engines = {each["id"]: each for each in _status(made)["engines"]}
        assert {name: each["state"] for name, each in engines.items()} == dict.fromkeys(
            ("kv-master", "mixed-0", "mixed-0.1"), "ready"
        )
        dry = made.console("stop", "--layout", layout, "--dry-run").stdout
        assert 0 <= dry.find("1. stop mixed") < dry.find("2. stop kv-master"), dry
        assert "Graph capturing finished" in made.console("logs", "--layout", layout, "mixed-0.1").stdout
        async with watched(made) as session:
            await until(lambda: _is(session, "kv-master", EngineState.READY), 60.0, "the service is heard of")
            await until(
                lambda: _log_grades(session) == [Grade.OK, Grade.SKIPPED], 60.0, "only the first says that it is up"
            )
            os.kill(_pid(session, "kv-master"), signal.SIGKILL)
            await until(named(session, "S12", "kv-master"), 60.0, "the service is missed")
            assert session.snapshot.service is not None
            assert session.snapshot.service.reason == "kv-master failed"
            assert _is(session, "mixed-0", EngineState.READY)
            os.kill(_pid(session, "mixed-0.1"), signal.SIGKILL)
            await until(
                lambda: session.snapshot.engines["mixed-0"].after == "mixed-0.1", 60.0, "the dead part is named"
            )
            assert "mixed-0.1 on m1" in session.snapshot.engines["mixed-0"].cause
        done = made.console("start", "--layout", layout, "kv-master", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        done = made.console("stop", "--layout", layout, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert {each["state"] for each in _status(made)["engines"]} <= {"exited", "failed"}
