"""The look after a stop: what it says of ports and devices, and how often it asks the driver for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import pytest

from console.model.errors import ConsoleError
from console.model.payload import EngineStop, EngineStops, ProcessEnd, ProcessId
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.run import Hello, LeftProcess, RunKey, RunState, RunVerdict, Sample, StopResult
from console.model.snapshot import Link, LinkState
from console.probes.npu_smi import info_probe
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook
from console.services.monitoring.intervals import GRACE_S, KILL_S
from console.services.monitoring.monitor import Monitor
from console.services.operations import stop_steps
from console.services.operations.payloads import engine_stops
from console.services.operations.step_context import StepContext
from tests.probes.captures import capture
from tests.services.deployments import deployment
from tests.waiting import until

IDLE = "a3_info_25.5.0_card5_absent.txt"


class Node:
    """A link whose ports are closed and whose npu-smi answers as told."""

    def __init__(self, answers: Callable[[int], tuple[int, bytes]]) -> None:
        self.asked = 0
        self.answers = answers
        self.monitor: Monitor
        self.result = StopResult("stopped")
        self.ended: list[object] = []
        self.listeners: list[bytes] = []
        self.mute = False

    async def run_command(self, argv: object, timeout_s: float) -> Sample:
        """The listeners, look by look: none at the end."""
        return Sample("", time.time(), 0.0, 0, self.listeners.pop(0) if self.listeners else b"")

    async def probe_now(self, name: str) -> None:
        """Answer a moment later, as nodes do."""
        code, text = self.answers(self.asked)
        self.asked += 1
        if self.mute:
            return
        sample = Sample(info_probe().name, time.time(), 0.0, code, text)
        asyncio.get_running_loop().call_later(0.02, self.monitor.on_sample, "d0", sample)

    def follow(self, key: RunKey, offset: int, fingerprint: bytes) -> None:
        """Its log does not grow."""

    async def stop(self, keys: Sequence[RunKey], grace_s: float, kill_s: float, by: str) -> Mapping[RunKey, StopResult]:
        """As the node was told to answer, for what it was asked to stop."""
        self.ended += keys
        return dict.fromkeys(keys, self.result)

    async def end(self, pid: int, start: int, boot_id: str, *, kill: bool, limit_s: float) -> StopResult:
        """The same for an unmanaged process."""
        self.ended.append((pid, start, boot_id, kill, limit_s))
        return self.result


LEFT = StopResult("stuck", (LeftProcess(77, "D", 1, "VLLM::Worker"),))


async def _scene(state: Path, node: Node, plan: Plan) -> StepContext:
    """A plan's scope on a cluster whose d0 says that decode-0 runs; its picture is drawn once."""
    links = cast(dict[str, NodeLink], {"d0": node})
    monitor = Monitor(deployment(), LogBook(state / "logs", lambda _: None), links, read_only=False)
    monitor.on_link("d0", Link(LinkState.UP, time.time()))
    monitor.on_runs("d0", (RunState(KEY, RunVerdict.RUNNING, pid=1),), (), time.time())
    drawing = asyncio.create_task(monitor.run())
    await until(lambda: monitor.current("decode-0") == KEY)
    drawing.cancel()
    return StepContext(plan, monitor, links, "ann", asyncio.Event())


KEY = RunKey("pd", "decode-0", "r1")
STOPS = EngineStops((EngineStop("decode-0", KEY, 1),), GRACE_S, KILL_S)
STOP = Step("stop", "stop", "TERM", "d0", ("decode-0",), STOPS)


@pytest.mark.parametrize(("result", "stuck"), [(LEFT, True), (StopResult("stopped"), False)])
async def test_a_stop_is_done_only_when_no_process_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: StopResult, stuck: bool
) -> None:
    monkeypatch.setattr(stop_steps, "SNAPSHOT_S", 0.0)
    node = Node(lambda _: (0, b""))
    node.result = result
    scope = await _scene(tmp_path, node, Plan("stop", "lab", "pd", ("decode-0",), (), Confirm("key", "y")))
    steps = stop_steps.StopSteps(scope)
    if stuck:
        with pytest.raises(ConsoleError, match=r"processes remain: decode-0: 77 VLLM::Worker \(state D, parent 1\)"):
            await steps.stop(STOP, print)
    else:
        assert await steps.stop(STOP, print) == "1 stopped, no process remains"
    assert node.ended == [KEY]
    assert scope.monitor.run_record(KEY).stuck is stuck


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (StopResult("absent"), "pid 77 on d0 had exited already"),
        (StopResult("stopped"), "pid 77 on d0 is gone"),
        (StopResult("stopped", killed=3), "pid 77 on d0 is gone, 3 killed"),
        (LEFT, "still there after"),
    ],
)
@pytest.mark.parametrize("verb", ["stop", "kill"])
async def test_a_process_that_is_not_ours_is_ended_by_its_identity_and_the_end_is_told(
    tmp_path: Path, verb: Literal["stop", "kill"], result: StopResult, told: str
) -> None:
    node = Node(lambda _: (0, b""))
    node.result = result
    limit_s = KILL_S if verb == "kill" else GRACE_S
    work = ProcessEnd(ProcessId("d0", 77, 5, "boot"), kill=verb == "kill", limit_s=limit_s)
    step = Step("end", "end", "", "d0", (), work)
    plan = Plan(verb, "lab", "pd", (), (Stage("end", (step,)),), Confirm("pid", "77"))
    steps = stop_steps.StopSteps(await _scene(tmp_path, node, plan))
    try:
        said = await steps.end(step, print)
    except ConsoleError as error:
        said = str(error)
    assert said.startswith(told)
    assert said == told or result is LEFT
    assert node.ended == [(77, 5, "boot", verb == "kill", limit_s)], "a stop never becomes a kill"


async def _verify(
    state: Path, node: Node, engines: tuple[str, ...] = ("decode-0",), *, cancelled: bool = False
) -> tuple[str, list[str]]:
    links = cast(dict[str, NodeLink], {"d0": node})
    monitor = node.monitor = Monitor(deployment(), LogBook(state / "logs", lambda _: None), links, read_only=False)
    monitor.on_link("d0", Link(LinkState.UP, time.time()))
    monitor.on_hello("d0", Hello("d0", "boot", 0, "root", "3.11", time.time()))
    monitor.on_sample("d0", Sample(info_probe().name, time.time() - 9.0, 0.1, 127, b"npu-smi: command not found"))
    ranks = {rank.id: rank for rank in monitor.deployment.ranks()}
    seen = [replace(monitor.snapshot.engines["decode-0"], id=name, run="r1") for name in engines]
    work = engine_stops(monitor.deployment, ranks, "verify", seen)
    step = Step("verify", "verify", "ports closed, devices idle", "d0", engines, work)
    plan = Plan("stop", "lab", "pd", engines, (Stage("verify", (step,)),), Confirm("key", "y"))
    leave = asyncio.Event()
    if cancelled:
        leave.set()
    drawing = asyncio.create_task(monitor.run())
    said: list[str] = []
    try:
        found = await stop_steps.StopSteps(StepContext(plan, monitor, links, "ann", leave)).verify(step, said.append)
    except ConsoleError as error:
        found = str(error)
    finally:
        drawing.cancel()
    return found, said


def _listening(port: int) -> bytes:
    return b"  0: 00000000:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1\n" % port


def _loaded(device: int, pid: int | None = None) -> bytes:
    """The idle table with one device that is full, and held by a process when one is given."""
    lines = capture("npu", IDLE).decode().splitlines(keepends=True)
    for at, line in enumerate(lines):
        words = line.split()
        if words[:1] == ["|"] and words[2:3] == [str(device)] and words[4][:5] == "0000:":
            lines[at] = line.replace(words[-4], "5000", 1)
        elif pid is not None and line.startswith(f"| No running processes found in NPU {device // 2} "):
            lines[at] = f"| {device // 2}       {device % 2}                 | {pid}   | VLLM     | 900          |\n"
    return "".join(lines).encode()


@pytest.mark.parametrize(
    ("engines", "port", "told"),
    [
        (("decode-0",), 7100, ["still a listener on port 7100"]),
        (("decode-0", "decode-1"), 7101, ["still a listener on port 7101"]),
        (("decode-0",), 7101, []),
        (("gone-0", "decode-0"), 7100, ["still a listener on port 7100"]),
    ],
)
async def test_a_stop_is_verified_only_when_the_ports_of_its_engines_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engines: tuple[str, ...], port: int, told: list[str]
) -> None:
    monkeypatch.setattr(stop_steps, "POLL_S", 0.01)
    node = Node(lambda _: (0, capture("npu", IDLE)))
    node.listeners = [_listening(port)] * 3
    found, said = await _verify(tmp_path, node, engines)
    lost = ", npu-smi reports nothing for 10, 11" if "decode-1" in engines else ""
    assert (found, said) == (f"ports closed, devices idle{lost}", told)
    assert node.asked == 1, "the driver is asked only once the ports are closed"


@pytest.mark.parametrize(
    ("device", "pid", "told"),
    [
        (7, None, ["still held: device 7 (5000 MiB, no process)"]),
        (7, 77, ["still held: device 7 (5000 MiB, pid 77)"]),
        (8, 77, []),
    ],
)
async def test_a_stop_is_verified_only_when_the_devices_of_its_engines_hold_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: int, pid: int | None, told: list[str]
) -> None:
    monkeypatch.setattr(stop_steps, "POLL_S", 0.01)
    node = Node(lambda asked: (0, capture("npu", IDLE) if asked else _loaded(device, pid)))
    found, said = await _verify(tmp_path, node)
    assert (found, said) == ("ports closed, devices idle", told)
    monkeypatch.setattr(stop_steps, "VERIFY_S", 0.2)
    found, said = await _verify(tmp_path, Node(lambda _: (0, _loaded(device, pid))))
    assert found == (f"d0: {told[0]}" if told else "ports closed, devices idle"), "what stays held is an error"


async def test_a_driver_that_never_answers_is_no_proof_of_idle_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_steps, "ANSWER_S", 0.0)
    node = Node(lambda _: (0, b""))
    node.mute = True
    monkeypatch.setattr(stop_steps, "VERIFY_S", 0.1)
    monkeypatch.setattr(stop_steps, "POLL_S", 0.2)
    found, _ = await _verify(tmp_path, node)
    assert found == "d0: ports closed, devices unknown: npu-smi has not answered in 0 s"


async def test_an_engine_without_devices_needs_no_driver(tmp_path: Path) -> None:
    node = Node(lambda _: (0, b""))
    assert await _verify(tmp_path, node, ("proxy",)) == ("ports closed", [])
    assert node.asked == 0


async def test_who_cancels_waits_no_longer_for_ports_and_is_told_what_is_open(tmp_path: Path) -> None:
    node = Node(lambda _: (0, b""))
    node.listeners = [_listening(7100)] * 2
    found, _ = await _verify(tmp_path, node, cancelled=True)
    assert found == "d0: still a listener on port 7100"
    assert len(node.listeners) == 1, "looked once"


async def test_a_node_without_npu_smi_is_told_at_once_and_fails_no_stop(tmp_path: Path) -> None:
    node = Node(lambda _: (127, b"npu-smi: command not found\n"))
    found, said = await _verify(tmp_path, node)
    assert found == "ports closed, devices unknown: npu-smi is not installed"
    assert (said, node.asked) == ([], 1)
    node.listeners = [_listening(7100)] * 2
    found, _ = await _verify(tmp_path, node, cancelled=True)
    assert found == "d0: still a listener on port 7100", "ports can be asked without it"


async def test_an_old_failure_of_npu_smi_says_nothing_about_now(tmp_path: Path) -> None:
    found, said = await _verify(tmp_path, Node(lambda _: (0, capture("npu", IDLE))))
    assert (found, said) == ("ports closed, devices idle", [])


async def test_a_driver_that_fails_is_asked_rarely_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_steps, "POLL_S", 0.3)
    node = Node(
        lambda asked: (0, capture("npu", IDLE)) if asked == 3 else (1, b"dcmi model initialized failed, ret is -8005\n")
    )
    began = time.monotonic()
    found, said = await _verify(tmp_path, node)
    assert (found, node.asked) == ("ports closed, devices idle", 4)
    assert said == ["ports closed, devices unknown: the driver does not answer (dcmi -8005)"]
    assert time.monotonic() - began >= 0.9
