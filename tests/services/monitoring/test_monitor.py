"""From what a node pushes to the picture: states, logs in order, and the truth about a node that went away."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from console.model.run import Hello, LogChunk, RunKey, RunState, RunVerdict, Sample
from console.model.snapshot import EngineState, Exit, Grade, HealthCheck, Link, LinkState, NodeSnapshot
from console.model.unmanaged_process import UnmanagedProcess
from console.probes.host import host_probe
from console.probes.npu_smi import info_probe
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook
from console.services.logs.quota import Quota
from console.services.monitoring import snapshot_events
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.publishing import is_due
from console.services.operations.plan_maker import PlanMaker
from tests.services.deployments import deployment

RUN = "20260101T000000Z-0000"
READY_LOG = (
    b"(APIServer pid=1) INFO 11-23 21:14:00 [api_server.py:617] Starting vLLM server on http://0.0.0.0:7100\n"
    b"(APIServer pid=1) INFO:     Application startup complete.\n"
)
LOADING = b"(Worker_TP0 pid=1) INFO 11-23 21:14:00 [model_runner_v1.py:1] Starting to load model /m\n"


class FakeLink:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.link = Link(LinkState.CONNECTING, time.time())
        self.followed: list[tuple[RunKey, int]] = []
        self.credits: dict[RunKey, int] = {}
        self.unfollowed: list[RunKey] = []

    def follow(self, key: RunKey, offset: int, fingerprint: bytes = b"") -> None:
        self.followed.append((key, offset))

    def unfollow(self, key: RunKey) -> None:
        self.unfollowed.append(key)

    def credit(self, key: RunKey, count: int) -> None:
        self.credits[key] = self.credits.get(key, 0) + count


def probed(monitor: Monitor, node: str) -> None:
    """The probes of a node's host and NPUs have ended, without a word."""
    offset = monitor.nodes[node].clock_offset_s or 0.0
    for probe in (host_probe("/b"), info_probe()):
        monitor.on_sample(node, Sample(probe.name, time.time() + offset, 0.1, None, b""))


class Scene:
    """A monitor with fake links."""

    def __init__(self, state: Path) -> None:
        self.links = {name: FakeLink() for name in ("p0", "p1", "d0", "d1")}
        self.logs = LogBook(state / "logs", self._current)
        self.monitor = Monitor(deployment(), self.logs, cast(dict[str, NodeLink], self.links), read_only=False)

    def _current(self, engine: str) -> RunKey | None:
        return self.monitor.current(engine)

    def up(self, node: str, clock: float = 0.0) -> None:
        """Its link is up, and its first sample is complete: nothing new runs there, and npu-smi told nothing."""
        self.linked(node, clock)
        self.probed(node)
        self.runs(node, *self.monitor.nodes[node].runs.values(), clock=clock)
        self.monitor.publish()

    def linked(self, node: str, clock: float = 0.0) -> None:
        self.monitor.on_link(node, Link(LinkState.UP, time.time()))
        self.monitor.on_hello(node, Hello(node, "boot", 0, "root", "3.11", time.time() + clock))

    def probed(self, node: str) -> None:
        """The probes of its host and its NPUs have ended, without a word."""
        probed(self.monitor, node)

    def runs(self, node: str, *runs: RunState, clock: float = 0.0) -> None:
        self.monitor.on_runs(node, runs, (), time.time() + clock)

    def state(self, engine: str) -> EngineState:
        self.monitor.publish()
        return self.monitor.snapshot.engines[engine].state


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def key(engine: str, run: str = RUN) -> RunKey:
    return RunKey("pd", engine, run)


def running(engine: str, *, size: int = 0) -> RunState:
    return RunState(key(engine), RunVerdict.RUNNING, pid=4711, log_size=size, started_at=time.time())


async def test_before_any_answer_nothing_is_claimed(scene: Scene) -> None:
    assert scene.state("decode-0") is EngineState.UNREACHABLE
    scene.linked("d0")
    scene.runs("d0")
    assert scene.state("decode-0") is EngineState.UNREACHABLE
    scene.probed("d0")
    assert scene.state("decode-0") is EngineState.IDLE
    assert scene.state("decode-2") is EngineState.UNREACHABLE


async def test_a_start_goes_from_loading_to_ready_with_its_log(scene: Scene) -> None:
    scene.up("d0")
    scene.runs("d0", running("decode-0", size=len(READY_LOG)))
    assert scene.links["d0"].followed == [(key("decode-0"), 0)]
    half = len(READY_LOG) // 2
    scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, READY_LOG[:half], len(READY_LOG)))
    assert scene.state("decode-0") is EngineState.STARTING
    scene.monitor.on_log("d0", LogChunk(key("decode-0"), half, READY_LOG[half:], len(READY_LOG)))
    assert scene.links["d0"].credits == {key("decode-0"): len(READY_LOG)}
    assert scene.state("decode-0") is EngineState.STARTING
    scene.monitor.run_record(key("decode-0")).http_checks = (
        HealthCheck("http", Grade.OK),
        HealthCheck("model", Grade.OK),
    )
    assert scene.state("decode-0") is EngineState.READY
    copy = scene.logs.copy("decode-0")
    assert copy is not None
    assert copy.path.read_bytes() == READY_LOG


def due(monitor: Monitor, after_s: float, *, changed: bool = False) -> bool:
    """Whether a snapshot is due that long after the last one."""
    others = monitor.work, monitor.diagnoses, monitor.alerts, monitor.restarts
    return is_due(monitor.snapshot, others, monitor.snapshot.at + after_s, changed=changed)


async def test_at_rest_a_snapshot_follows_a_change_and_else_only_shows_ages(scene: Scene) -> None:
    for node in scene.links:
        scene.up(node)
    scene.monitor.publish()
    assert [due(scene.monitor, after_s) for after_s in (1.0, 4.9, 5.1)] == [False, False, True]
    assert [due(scene.monitor, after_s, changed=True) for after_s in (1.0, 2.1)] == [False, True]
    scene.monitor._dirty.clear()
    link = scene.monitor.nodes["d0"].link
    scene.monitor.on_link("d0", replace(link, round_trip_s=0.5))
    assert not scene.monitor._dirty.is_set(), "a measured round trip waits for the next snapshot"
    scene.monitor.on_link("d0", replace(link, state=LinkState.STALE))
    assert scene.monitor._dirty.is_set()


async def test_while_something_goes_on_every_second_has_a_snapshot(scene: Scene) -> None:
    for node in scene.links:
        scene.up(node)
    scene.runs("d0", running("decode-0", size=len(READY_LOG)))
    scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, READY_LOG, len(READY_LOG)))
    assert scene.state("decode-0") is EngineState.STARTING
    assert due(scene.monitor, 1.0)
    scene.monitor.run_record(key("decode-0")).http_checks = (
        HealthCheck("http", Grade.OK),
        HealthCheck("model", Grade.OK),
    )
    assert scene.state("decode-0") is EngineState.READY
    assert not due(scene.monitor, 1.0)


async def test_a_lost_link_keeps_the_last_state_and_counts_nothing_dead(scene: Scene) -> None:
    scene.up("d0")
    scene.runs("d0", running("decode-0"))
    assert scene.state("decode-0") is EngineState.STARTING
    scene.monitor.run_record(key("decode-0")).http_checks = (HealthCheck("http", Grade.WAIT, "refused"),)
    scene.monitor.on_link("d0", Link(LinkState.LOST, time.time(), "timed out"))
    assert scene.state("decode-0") is EngineState.UNREACHABLE
    scene.monitor.publish()
    seen = scene.monitor.snapshot.engines["decode-0"]
    assert seen.stale_of is EngineState.STARTING
    assert seen.cause == "timed out"
    assert scene.state("decode-1") is EngineState.UNREACHABLE
    scene.up("d0")
    scene.runs("d0", running("decode-0"))
    assert scene.state("decode-0") is EngineState.STARTING
    texts = [event.text for event in scene.monitor.snapshot.events if event.node == "d0"]
    assert "unreachable: timed out" in texts
    assert not any("failed" in text for text in texts)


@pytest.mark.parametrize("gone", ["process", "link"])
async def test_answers_of_before_are_not_shown_as_true_once_the_process_is_gone_or_out_of_sight(
    scene: Scene, gone: str
) -> None:
    scene.up("d0")
    scene.runs("d0", running("decode-0"))
    scene.monitor.run_record(key("decode-0")).http_checks = (
        HealthCheck("http", Grade.OK, "/health 200"),
        HealthCheck("model", Grade.FAIL),
    )
    if gone == "process":
        scene.runs("d0", RunState(key("decode-0"), RunVerdict.EXITED, exit=Exit(0)))
    else:
        scene.monitor.on_link("d0", Link(LinkState.LOST, time.time(), "timed out"))
    scene.monitor.publish()
    checks = {check.name: check for check in scene.monitor.snapshot.engines["decode-0"].health}
    assert (checks["http"].grade, checks["http"].evidence) == (Grade.UNKNOWN, "before: /health 200")
    assert checks["model"].grade is Grade.FAIL, "what was wrong may be why"


async def test_a_second_console_reads_the_copy_it_finds_and_resumes_at_its_end(tmp_path: Path) -> None:
    first = Scene(tmp_path)
    first.up("d0")
    first.runs("d0", running("decode-0", size=len(READY_LOG)))
    first.monitor.on_log("d0", LogChunk(key("decode-0"), 0, READY_LOG, len(READY_LOG)))
    second = Scene(tmp_path)
    second.up("d0")
    second.runs("d0", running("decode-0", size=len(READY_LOG) + 5))
    assert second.links["d0"].followed == [(key("decode-0"), len(READY_LOG))]
    second.monitor.on_log("d0", LogChunk(key("decode-0"), len(READY_LOG), b"more\n", len(READY_LOG) + 5))
    assert second.monitor.following.read_behind(1.0)
    assert second.monitor.run_record(key("decode-0")).log_state.ready


async def test_an_exit_nobody_asked_for_condemns_the_group(scene: Scene) -> None:
    scene.up("d0", clock=100.0)
    scene.runs("d0", running("decode-0"), running("decode-1"), clock=100.0)
    scene.state("decode-0")
    ended = replace(running("decode-1"), verdict=RunVerdict.EXITED, exit=Exit(0, at=time.time() + 100.0))
    scene.runs("d0", running("decode-0"), ended, clock=100.0)
    assert scene.state("decode-1") is EngineState.FAILED
    assert scene.state("decode-0") is EngineState.DEGRADED
    assert scene.monitor.snapshot.engines["decode-0"].cause.startswith("decode-1 on d0 failed first")
    errors = [event for event in scene.monitor.snapshot.events if event.engine == "decode-1"]
    assert [event.level for event in errors][-1] == "error"


async def test_a_run_that_is_no_engine_is_a_task_and_never_an_engine(scene: Scene) -> None:
    scene.up("d0")
    bench = RunState(RunKey("pd", "bench-vllm", RUN), RunVerdict.RUNNING, pid=9, spec={"role": "evaluation"})
    ended = RunState(RunKey("pd", "eval-gsm8k", RUN), RunVerdict.EXITED, spec={"role": "evaluation"})
    scene.runs("d0", running("decode-0"), bench, ended)
    scene.monitor.publish()
    picture = scene.monitor.snapshot
    assert [(task.name, task.node, task.kind, task.pid) for task in picture.tasks] == [
        ("bench-vllm", "d0", "evaluation", 9)
    ]
    assert not [name for name in picture.engines if "@" in name]


async def test_the_newest_live_run_counts_and_strays_are_shown(scene: Scene) -> None:
    scene.up("d0")
    old = RunState(key("decode-0", "20250101T000000Z-0000"), RunVerdict.EXITED, exit=Exit(1))
    stray = RunState(RunKey("pd", "decode-3", RUN), RunVerdict.RUNNING, pid=9)
    other = RunState(RunKey("other", "mixed-0", RUN), RunVerdict.RUNNING, pid=10)
    scene.runs("d0", old, running("decode-0"), stray, other)
    assert scene.state("decode-0") is EngineState.STARTING
    assert scene.monitor.snapshot.engines["decode-3@d0"].pid == 9
    assert scene.monitor.snapshot.engines["other/mixed-0@d0"].pid == 10
    assert scene.monitor.current("decode-3@d0") == stray.key
    assert scene.monitor.current("other/mixed-0@d0") == other.key
    assert scene.state("other/mixed-0@d0") is EngineState.STARTING
    scene.runs("d0", replace(other, log_size=len(READY_LOG)))
    scene.monitor.on_log("d0", LogChunk(other.key, 0, READY_LOG, len(READY_LOG)))
    assert scene.state("other/mixed-0@d0") is EngineState.READY, "its port is not known: its log alone can tell"


async def test_an_engine_of_another_deployment_is_of_no_group_of_ours_whatever_its_names(scene: Scene) -> None:
    scene.up("d0")
    spec = {"group": "decode"}
    other = RunState(RunKey("decode", "decode-0", RUN), RunVerdict.RUNNING, pid=10, spec=spec)
    stray = RunState(RunKey("pd", "decode-3", RUN), RunVerdict.RUNNING, pid=9, spec=spec)
    scene.runs("d0", other, stray)
    scene.monitor.publish()
    engines = scene.monitor.snapshot.engines
    assert engines["decode/decode-0@d0"].group == "decode/decode"
    assert engines["decode-3@d0"].group == "decode"
    plan = PlanMaker(deployment(), scene.monitor.snapshot).make("stop", ("decode-3@d0",))
    assert plan.engines == ("decode-3@d0",)


async def test_processes_that_are_not_ours_are_the_nodes_business(scene: Scene) -> None:
    scene.up("d0")
    scene.monitor.on_runs("d0", (), (UnmanagedProcess(77, command="VLLM::EngineCore"),), time.time())
    scene.monitor.publish()
    assert scene.monitor.snapshot.nodes["d0"].unmanaged == (UnmanagedProcess(77, command="VLLM::EngineCore"),)


@pytest.mark.parametrize(
    ("code", "stdout", "word"),
    [
        (None, b"", "did not answer"),
        (0, b"+----", "npu-smi"),
        (127, b"", "npu-smi"),
        (0, b"\xff\x00\x1b[2J", "npu-smi"),
    ],
)
async def test_an_npu_smi_that_hangs_or_lies_leaves_unknown_not_idle(
    scene: Scene, code: int | None, stdout: bytes, word: str
) -> None:
    scene.up("d0")
    scene.monitor.on_sample("d0", Sample(info_probe().name, time.time(), 10.0, code, stdout))
    scene.monitor.publish()
    node = scene.monitor.snapshot.nodes["d0"]
    assert node.devices == ()
    assert node.sampled_at is None
    assert word in node.devices_error


ROWS = b"""+--------------------------------------------------------------------------------------------+
| npu-smi 25.5.0                   Version: 25.5.0                                           |
+---------------------------+---------------+------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)   Hugepages-Usage(page)    |
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)    |
+===========================+===============+================================================+
| 0     910B3               | OK            | 92.1        41        0    / 0                 |
| 0                         | 0000:C1:00.0  | 7           0    / 0          3411 / 65536     |
+===========================+===============+================================================+
"""
HOLDERS = b"""+---------------------------+---------------+------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)  |
+===========================+===============+================================================+
| 0       0                 | 4711          | VLLMWorker_TP            | 60000               |
+===========================+===============+================================================+
"""


async def test_a_table_without_its_processes_is_shown_as_far_as_it_goes_and_replaces_no_whole_one(scene: Scene) -> None:
    def seen(stdout: bytes) -> NodeSnapshot:
        scene.monitor.on_sample("d0", Sample(info_probe().name, time.time(), 0.4, 0, stdout))
        scene.monitor.publish()
        return scene.monitor.snapshot.nodes["d0"]

    scene.up("d0")
    part = seen(ROWS)
    assert [(each.id, each.health, each.hbm_used_mib, each.processes_known) for each in part.devices] == [
        (0, "OK", 3411, False)
    ]
    assert "no process table" in part.devices_error
    assert not part.devices_whole, "what it does not list may be there"
    whole = seen(ROWS + HOLDERS)
    assert (whole.devices_error, whole.devices_whole) == ("", True)
    cut = seen(ROWS)
    assert cut.devices == whole.devices, "the last whole one counts, with its age"
    assert "no process table" in cut.devices_error


async def test_a_disk_that_is_full_here_is_said_and_no_credit_is_given(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.up("d0")
    scene.runs("d0", running("decode-0", size=4))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, b"abcd", 4))
    assert not scene.links["d0"].credits
    scene.monitor.publish()
    assert any("No space left" in event.text for event in scene.monitor.snapshot.events)
    scene.runs("d0", running("decode-0", size=4))
    assert scene.links["d0"].followed[-1] == (key("decode-0"), 0)


async def test_a_node_known_by_name_serves_at_the_address_it_reports(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    named = scene.monitor.deployment.cluster.nodes["d0"].model_copy(update={"host": "d0.lab"})
    scene.monitor.nodes["d0"].node = named
    cluster = scene.monitor.deployment.cluster
    nodes = {**cluster.nodes, "d0": named}
    made = replace(scene.monitor.deployment, cluster=cluster.model_copy(update={"nodes": nodes}))
    scene.monitor.current_deployment.change(made)
    scene.up("d0")
    text = b"== ssh\n10.9.9.9 50000 192.168.3.3 22\n== end\n"
    scene.monitor.on_sample("d0", Sample(host_probe().name, time.time(), 0.1, 0, text))
    ranks = [rank for rank in scene.monitor.deployment.ranks() if rank.group == "decode"]
    assert {rank.dp_address for rank in ranks} == {"192.168.3.3"}
    assert scene.monitor.deployment.cluster.nodes["p0"].ip is None


LATER = key("decode-2", "20260102T000000Z-0000")


def _stopped(engine: str, by: str, at: float, **more: object) -> RunState:
    ended = replace(running(engine), verdict=RunVerdict.EXITED, exit=Exit(0, at=at), stopping=True)
    return replace(ended, started_at=at - 500.0, stop_at=at, stop_by=by, **more)  # type: ignore[arg-type]


async def test_an_end_that_somebody_asked_for_says_who_and_when(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.up("d0", clock=100.0)
    scene.runs("d0", running("decode-0"), running("decode-1"), clock=100.0)
    scene.state("decode-0")
    now = time.time()
    theirs = _stopped("decode-0", "alice@jump2\x1b[2J", now + 100.0 - 40.0)
    monkeypatch.setattr(snapshot_events, "GATHER_S", 0.0)
    scene.runs("d0", theirs, _stopped("decode-1", "", now + 60.0), clock=100.0)
    assert scene.state("decode-0") is EngineState.EXITED
    engines = scene.monitor.snapshot.engines
    assert engines["decode-0"].why(now) == "stopped by alice@jump2, 40 s ago"
    assert engines["decode-1"].why(now) == "stopped on request, 40 s ago"
    told = [event.text for event in scene.monitor.snapshot.events]
    assert told[-1] == "2 ranks of decode exited (exit 0): stopped by alice@jump2 (1 of them)"


async def test_while_it_ends_it_says_for_whom(scene: Scene) -> None:
    scene.up("d0")
    scene.runs("d0", replace(running("decode-0"), stopping=True, stop_at=time.time() - 5.0, stop_by="alice@jump2"))
    assert scene.state("decode-0") is EngineState.STOPPING
    engine = scene.monitor.snapshot.engines["decode-0"]
    assert engine.why(time.time()).startswith("asked to stop by alice@jump2, ")


async def test_a_console_that_is_opened_late_knows_how_long_a_log_has_been_silent(scene: Scene) -> None:
    scene.up("d0", clock=100.0)
    now = time.time()
    silent = replace(running("decode-0", size=len(LOADING)), started_at=now - 900.0, log_at=now + 100.0 - 500.0)
    scene.runs("d0", silent, clock=100.0)
    scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, LOADING, len(LOADING)))
    assert scene.state("decode-0") is EngineState.STARTING
    engine = scene.monitor.snapshot.engines["decode-0"]
    assert (engine.phase, engine.held_up) == ("load", "silent 8m")
    assert engine.silent_since == pytest.approx(now - 500.0, abs=2.0)
    scene.monitor.log_gaps = {"decode": {"load": 400.0}}
    scene.state("decode-0")
    assert not scene.monitor.snapshot.engines["decode-0"].held_up, "it was so before"


async def test_acts_are_what_one_person_did_within_a_minute(scene: Scene) -> None:
    scene.up("d0")
    scene.up("d1")
    at = time.time() - 1000.0
    began = {"owner": "ann@jump"}
    scene.runs("d0", _stopped("decode-0", "alice@jump2", at, **began), _stopped("decode-1", "bob@j", at, **began))
    again = _stopped("decode-3", "alice@jump2", at + 200.0), _stopped("decode-2", "alice@jump2", at + 203.0, key=LATER)
    scene.runs("d1", _stopped("decode-2", "alice@jump2", at + 30.0), *again)
    scene.monitor.publish()
    told = [(each.who, each.verb, each.engines) for each in scene.monitor.snapshot.observed_operations]
    assert told == [
        ("ann@jump", "start", ("decode-0", "decode-1")),
        ("alice@jump2", "stop", ("decode-0", "decode-2")),
        ("bob@j", "stop", ("decode-1",)),
        ("alice@jump2", "stop", ("decode-2", "decode-3")),
    ]


async def test_that_parts_of_a_nodes_log_copies_had_to_go_is_an_event_of_the_node(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quota, "take", lambda *_: "log copies are over their share of this disk")
    scene.up("d0")
    scene.runs("d0", running("decode-0", size=len(READY_LOG)))
    scene.monitor.on_log("d0", LogChunk(key("decode-0"), 0, READY_LOG, len(READY_LOG)))
    scene.monitor.publish()
    (event,) = [each for each in scene.monitor.snapshot.events if "their share of this disk" in each.text]
    assert (event.node, event.level) == ("d0", "warning")
