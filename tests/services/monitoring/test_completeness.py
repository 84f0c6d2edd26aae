"""Until the first sample of a node is complete it is `connecting`, and nothing else is claimed of it or its engines."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from console.cli.watch import Printer
from console.model.run import LogChunk, RunState, RunVerdict
from console.model.service import ServiceState
from console.model.snapshot import EngineState, Exit, Grade, HealthCheck, Link, LinkState, NodeSnapshot
from console.services.monitoring.completeness import LIMIT_S
from tests.services.monitoring.test_monitor import LOADING, READY_LOG, Scene, key, running

SERVES = (HealthCheck("http", Grade.OK, "/health 200"), HealthCheck("model", Grade.OK, "dsv4"))


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def node(scene: Scene, name: str = "d0") -> NodeSnapshot:
    """The node as it is shown now."""
    scene.monitor.publish()
    return scene.monitor.snapshot.nodes[name]


def log(scene: Scene, data: bytes, engine: str = "decode-0") -> None:
    """A whole log arrives."""
    scene.monitor.on_log("d0", LogChunk(key(engine), 0, data, len(data)))


async def test_each_part_of_the_first_sample_is_waited_for_and_named(scene: Scene) -> None:
    reasons = []
    scene.linked("d0")
    reasons.append(node(scene).link.reason)
    scene.runs("d0", running("decode-0", size=len(READY_LOG)))
    reasons.append(node(scene).link.reason)
    scene.probed("d0")
    reasons.append(node(scene).link.reason)
    log(scene, READY_LOG)
    reasons.append(node(scene).link.reason)
    assert node(scene).link.state is LinkState.CONNECTING
    assert not scene.monitor.snapshot.complete
    assert reasons == [
        "waits for its list of runs",
        "waits for the data of its host",
        "waits for the log of decode-0",
        "waits for the health of decode-0",
    ]
    scene.monitor.run_record(key("decode-0")).http_checks = SERVES
    assert node(scene).link.state is LinkState.UP
    assert scene.state("decode-0") is EngineState.READY


async def test_an_engine_that_serves_is_never_seen_to_start_and_nothing_is_told_of_it(scene: Scene) -> None:
    seen = []
    scene.monitor.subscribe(lambda picture: seen.append(picture.engines["decode-0"]))
    scene.linked("d0")
    scene.runs("d0", running("decode-0", size=len(READY_LOG)))
    scene.monitor.publish()
    scene.probed("d0")
    log(scene, READY_LOG)
    scene.monitor.publish()
    scene.monitor.run_record(key("decode-0")).http_checks = SERVES
    scene.monitor.publish()
    scene.monitor.publish()
    assert {each.state for each in seen} == {EngineState.UNREACHABLE, EngineState.READY}
    early = [each for each in seen if each.state is EngineState.UNREACHABLE]
    assert all(each.connecting and not each.bad and not each.health and not each.phase for each in early)
    assert [event.text for event in scene.monitor.snapshot.events if event.engine] == []


async def test_what_is_down_when_a_node_is_first_heard_is_shown_and_is_no_news(scene: Scene) -> None:
    scene.linked("d0")
    scene.probed("d0")
    scene.runs("d0", RunState(key("decode-0"), RunVerdict.EXITED, exit=Exit(1)))
    assert scene.state("decode-0") is EngineState.FAILED
    scene.monitor.publish()
    assert [event.text for event in scene.monitor.snapshot.events if event.engine] == []
    scene.runs("d0", running("decode-0"))
    assert scene.state("decode-0") is EngineState.STARTING, "a run that comes later starts in sight"


async def test_the_service_is_unknown_until_the_nodes_it_depends_on_are_known(scene: Scene) -> None:
    for name in ("p0", "p1"):
        scene.linked(name)
        scene.probed(name)
    scene.runs("p0", running("prefill-0"), replace(running("proxy"), key=key("proxy")))
    scene.runs("p1", running("prefill-1"))
    for each in ("prefill-0", "prefill-1", "proxy"):
        scene.monitor.run_record(key(each)).http_checks = SERVES
        scene.monitor.run_record(key(each)).log.feed(READY_LOG, time.time())
    scene.monitor.publish()
    told = scene.monitor.snapshot.service
    assert told is not None
    assert (told.state, told.reason) == (ServiceState.UNKNOWN, "connecting to d0, d1")


async def test_a_first_answer_that_fails_is_asked_again_before_anything_is_said(scene: Scene) -> None:
    scene.linked("d0")
    scene.probed("d0")
    scene.runs("d0", running("decode-0", size=len(READY_LOG)))
    scene.monitor.run_record(key("decode-0")).http_checks = (HealthCheck("http", Grade.WAIT, "no answer in 5 s"),)
    log(scene, READY_LOG)
    assert node(scene).link.state is LinkState.CONNECTING, "it was ready by its log: one failure says nothing"
    scene.monitor.run_record(key("decode-0")).http_checks = (HealthCheck("http", Grade.FAIL, "no answer in 5 s"),)
    assert scene.state("decode-0") is EngineState.DEGRADED


async def test_a_log_that_takes_long_hides_one_engine_and_not_its_node(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("p0", "p1", "d1"):
        scene.up(name)
    scene.linked("d0")
    scene.probed("d0")
    scene.runs("d0", running("decode-0", size=10**9), running("decode-1"))
    scene.monitor.run_record(key("decode-1")).http_checks = SERVES
    log(scene, LOADING)
    assert node(scene).link.state is LinkState.CONNECTING
    late = time.time() + LIMIT_S
    monkeypatch.setattr(time, "time", lambda: late)
    assert node(scene).link.state is LinkState.UP
    engine = scene.monitor.snapshot.engines["decode-0"]
    assert (engine.state, engine.connecting) == (EngineState.UNREACHABLE, True)
    assert not engine.out_of_reach, "it can be ended all the same"
    assert not scene.monitor.snapshot.complete
    scene.monitor.run_record(key("decode-0")).http_checks = SERVES
    assert scene.state("decode-0") is EngineState.READY
    assert scene.monitor.snapshot.complete


async def test_after_a_cut_the_last_state_is_kept_until_the_sample_is_complete_again(scene: Scene) -> None:
    scene.up("d0")
    scene.runs("d0", running("decode-0"))
    scene.monitor.run_record(key("decode-0")).http_checks = SERVES
    scene.monitor.run_record(key("decode-0")).log.feed(READY_LOG, time.time())
    assert scene.state("decode-0") is EngineState.READY
    scene.monitor.on_link("d0", Link(LinkState.LOST, time.time(), "timed out"))
    scene.monitor.publish()
    scene.linked("d0")
    scene.monitor.publish()
    engine = scene.monitor.snapshot.engines["decode-0"]
    assert (engine.connecting, engine.stale_of) == (True, EngineState.READY)
    scene.runs("d0", RunState(key("decode-0"), RunVerdict.EXITED, exit=Exit(1)))
    assert scene.state("decode-0") is EngineState.FAILED
    scene.monitor.publish()
    assert any(event.engine == "decode-0" and "failed" in event.text for event in scene.monitor.snapshot.events)


async def test_a_watch_says_how_it_is_and_then_only_what_happens(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("p0", "p1", "d0", "d1"):
        scene.up(name)
    scene.runs("d0", running("decode-0"))
    scene.monitor.run_record(key("decode-0")).http_checks = SERVES
    scene.monitor.note(scene.monitor.snapshot.events[0].level, "before the watch")
    scene.monitor.publish()
    printer = Printer("table", events=True)
    printer.begin(scene.monitor.snapshot)
    first = capsys.readouterr().out.splitlines()
    assert len(first) == 1
    assert "now: DOWN: no prefill; 1 starting, 6 idle; 4 of 4 nodes reached" in first[0]
    scene.monitor.note(scene.monitor.snapshot.events[0].level, "after it began")
    scene.monitor.publish()
    printer.take(scene.monitor.snapshot)
    assert [line.rpartition(" info     ")[2] for line in capsys.readouterr().out.splitlines()] == ["after it began"]
