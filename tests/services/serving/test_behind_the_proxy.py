"""What is said of a proxy that is not asked, while the engines behind it come and go."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

from console.model.run import LogChunk, RunKey
from console.model.snapshot import EngineState, Grade, HealthCheck, Link, LinkState
from console.remote.link import NodeLink
from console.services.monitoring.intervals import Intervals
from console.services.serving.works_watch import NOT_ASKED, WorksWatch
from tests.services.monitoring.test_monitor import READY_LOG, Scene, key, running

PROXY_LOG = b"INFO:     Application startup complete.\n"


def serve(scene: Scene, engine: str, node: str, log: bytes = READY_LOG) -> None:
    """It runs, its log says that it serves, and its server answers."""
    scene.runs(node, *scene.monitor.nodes[node].runs.values(), running(engine, size=len(log)))
    scene.monitor.on_log(node, LogChunk(key(engine), 0, log, len(log)))
    scene.monitor.run_record(key(engine)).http_checks = tuple(
        HealthCheck(name, Grade.OK, "", time.time()) for name in ("http", "model")
    )


async def test_no_engine_is_called_missing_behind_the_proxy_once_all_roles_are_ready(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for node, link in scene.links.items():
        link.link = Link(LinkState.UP, time.time())
        scene.up(node)
    serve(scene, "proxy", "p0", PROXY_LOG)
    serve(scene, "prefill-0", "p0")
    scene.monitor.publish()
    watch = WorksWatch(scene.monitor, cast(dict[str, NodeLink], scene.links), Intervals(works_first_s=0.0))
    proxy = scene.monitor.snapshot.engines["proxy"]
    assert proxy.state is EngineState.READY
    run_record = scene.monitor.run_record(cast(RunKey, scene.monitor.current("proxy")))
    watch._visit(proxy, run_record.key)
    assert run_record.works is not None
    assert run_record.works.evidence == "no decode engine is ready behind it"
    serve(scene, "decode-0", "d0")
    scene.monitor.publish()
    watch._visit(scene.monitor.snapshot.engines["proxy"], run_record.key)
    assert (run_record.works.grade, run_record.works.evidence) == (Grade.SKIPPED, NOT_ASKED)
