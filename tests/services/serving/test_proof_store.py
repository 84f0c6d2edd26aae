"""Consoles of one state directory share what they saw of completions, and nothing that is old, foreign or broken."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from console.model.snapshot import Grade, HealthCheck
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.service_state import PROOF_S
from console.services.serving.proof_store import OTHER, ProofStore, proofs_path
from tests.services.monitoring.test_monitor import READY_LOG, Scene, key, running

PROXY = key("proxy")


def console(state: Path, where: Path) -> tuple[Monitor, ProofStore]:
    """A console on a cluster whose proxy is ready, with a state directory that others may share."""
    scene = Scene(where)
    for name in ("p0", "p1", "d0", "d1"):
        scene.up(name)
    scene.runs("p0", replace(running("proxy"), key=PROXY))
    run_record = scene.monitor.run_record(PROXY)
    run_record.http_checks = (
        HealthCheck("http", Grade.OK, "/healthcheck 200"),
        HealthCheck("model", Grade.SKIPPED, ""),
    )
    run_record.log.feed(READY_LOG, time.time())
    scene.monitor.publish()
    return scene.monitor, ProofStore(scene.monitor, proofs_path(state, "lab"))


def works(monitor: Monitor) -> HealthCheck | None:
    """What is known of the proxy's completions."""
    return monitor.run_record(PROXY).works


async def test_what_one_console_has_seen_another_knows_at_its_first_look(tmp_path: Path) -> None:
    first, its = console(tmp_path, tmp_path / "a")
    second, others = console(tmp_path, tmp_path / "b")
    its.update(first.snapshot)
    others.update(second.snapshot)
    assert works(second) is None
    at = time.time() - 5.0
    first.run_record(PROXY).works = HealthCheck("works", Grade.OK, "4 tokens in 9 ms", at)
    its.update(first.snapshot)
    others.update(second.snapshot)
    assert works(second) == HealthCheck("works", Grade.OK, f"4 tokens in 9 ms{OTHER}", at)
    stamp = proofs_path(tmp_path, "lab").stat().st_mtime_ns
    others.update(second.snapshot)
    assert proofs_path(tmp_path, "lab").stat().st_mtime_ns == stamp, "what was taken over is not told on"
    assert proofs_path(tmp_path, "lab").stat().st_mode & 0o777 == 0o600
    second.run_record(PROXY).works = HealthCheck("works", Grade.FAIL, "500", at + 1.0)
    others.update(second.snapshot)
    its.update(first.snapshot)
    assert works(first) == HealthCheck("works", Grade.FAIL, f"500{OTHER}", at + 1.0)


async def test_a_hang_that_is_over_is_taken_back(tmp_path: Path) -> None:
    first, its = console(tmp_path, tmp_path / "a")
    second, others = console(tmp_path, tmp_path / "b")
    first.run_record(PROXY).hang = HealthCheck("works", Grade.FAIL, "hangs: 3 requests run", time.time())
    its.update(first.snapshot)
    others.update(second.snapshot)
    assert works(second) is not None
    first.run_record(PROXY).hang = None
    first.publish()
    its.update(first.snapshot)
    others.update(second.snapshot)
    assert works(second) is None


def entry(**change: object) -> dict[str, object]:
    """One proof as it lies in the file."""
    named = {"deployment": PROXY.deployment, "engine": PROXY.engine, "run": PROXY.run}
    return {**named, "grade": "ok", "at": time.time() - 1.0, "evidence": "4 tokens", **change}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "{}",
        '[1, null, ["x"]]',
        json.dumps([entry(at=time.time() - PROOF_S - 5.0)]),
        json.dumps([entry(at=time.time() + 3600.0)]),
        json.dumps([entry(at=float("nan"))]),
        json.dumps([entry(at="now")]),
        json.dumps([entry(grade="splendid")]),
        json.dumps([entry(run="another")]),
        json.dumps([entry(evidence="x" * 2_000_000)]),
    ],
    ids=["empty", "cut", "deep", "mapping", "mixed", "old", "future", "nan", "word", "grade", "other-run", "huge"],
)
async def test_what_is_old_of_another_run_or_no_proof_is_left_out(tmp_path: Path, text: str) -> None:
    path = proofs_path(tmp_path, "lab")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monitor, store = console(tmp_path, tmp_path / "a")
    store.update(monitor.snapshot)
    assert works(monitor) is None


async def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "proofs").write_text("no directory")
    monitor, store = console(tmp_path, tmp_path / "a")
    monitor.run_record(PROXY).works = HealthCheck("works", Grade.OK, "4 tokens", time.time())
    store.update(monitor.snapshot)
    assert works(monitor) is not None


def test_a_name_of_a_cluster_makes_no_other_path(tmp_path: Path) -> None:
    assert proofs_path(tmp_path, "../../x").parent == tmp_path / "proofs"
