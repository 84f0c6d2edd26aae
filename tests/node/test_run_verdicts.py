"""Walks over /proc are shared by those who asked before one started, and by nobody else; a signal meets exactly who was meant."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from console.node import run_verdicts
from console.node.processes import Scan, alive, looks_like_vllm, read_stat, send, token_of
from console.node.run_verdicts import SharedScans
from tests.waiting import until_blocking


def test_of_many_who_ask_at_once_two_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []
    first, go_on = threading.Event(), threading.Event()

    def walk() -> Scan:
        walks.append(len(walks))
        first.set()
        assert go_on.wait(30)
        return Scan()

    monkeypatch.setattr(run_verdicts, "scan", walk)
    scans = SharedScans()
    with ThreadPoolExecutor(8) as pool:
        early = pool.submit(scans.since, time.monotonic())
        assert first.wait(30)
        asked = time.monotonic()
        late = [pool.submit(scans.since, asked) for _ in range(7)]
        go_on.set()
        answers = {id(each.result()) for each in late}
    assert len(walks) == 2
    assert answers.isdisjoint({id(early.result())})
    assert len(answers) == 1


def test_a_walk_answers_only_who_asked_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_verdicts, "scan", Scan)
    scans = SharedScans()
    asked = time.monotonic()
    before = scans.since(asked)
    assert scans.since(asked) is before
    assert scans.since(time.monotonic()) is not before, "something may have started since that walk"


@pytest.mark.parametrize(
    ("title", "is_vllm"),
    [
        (b"/usr/bin/python3\0/usr/local/bin/vllm\0serve\0/models/v4\0--port\x008000\0", True),
        (b"python\0-m\0vllm.entrypoints.openai.api_server\0", True),
        (b"VLLM::EngineCore", True),
        (b"/usr/bin/python3\0/usr/local/bin/vllm\0serve\0--help=all\0", False),
        (b"vllm\0serve\0-h\0", False),
        (b"vllm\0bench\0serve\0", False),
    ],
)
def test_what_asks_vllm_for_its_flags_serves_nothing(title: bytes, is_vllm: bool) -> None:
    assert looks_like_vllm(title) is is_vllm


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the cookie of run abc."""
    with subprocess.Popen(["sleep", "1000"], env={**os.environ, "DSV4_RUN": "abc"}) as started:
        until_blocking(lambda: token_of(started.pid) == "abc")
        yield started
        started.kill()


@pytest.fixture(params=["pidfd", "kill"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a signal is sent: by a descriptor of the process, or by its pid where Python or the kernel knows no such thing."""
    if request.param == "kill":
        monkeypatch.delattr(os, "pidfd_open")
    else:
        monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("the pid may be another process by now"))
    return str(request.param)


@pytest.mark.parametrize("token", ["abc", None])
def test_a_signal_reaches_the_process_that_was_meant_and_leaves_nothing_open(
    process: subprocess.Popen[bytes], way: str, token: str | None
) -> None:
    seen = read_stat(process.pid)
    assert seen is not None
    before = os.listdir("/proc/self/fd")
    assert send(seen, signal.SIGTERM, token)
    assert process.wait(10) == -signal.SIGTERM
    assert not send(seen, signal.SIGTERM, token), "it is gone"
    assert os.listdir("/proc/self/fd") == before


def test_a_pid_that_another_process_has_by_now_or_that_carries_another_cookie_is_not_signalled(
    process: subprocess.Popen[bytes], way: str
) -> None:
    seen = read_stat(process.pid)
    assert seen is not None
    before = os.listdir("/proc/self/fd")
    assert not alive(seen.pid, seen.start + 1)
    assert not send(seen._replace(start=seen.start + 1), signal.SIGKILL)
    assert not send(seen._replace(start=seen.start + 1), signal.SIGKILL, "abc")
    assert not send(seen, signal.SIGKILL, "another run")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    assert os.listdir("/proc/self/fd") == before


def test_what_has_ended_and_was_not_waited_for_does_not_live(process: subprocess.Popen[bytes]) -> None:
    seen = read_stat(process.pid)
    assert seen is not None
    assert alive(seen.pid, seen.start)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert read_stat(process.pid) is not None
    assert not alive(seen.pid, seen.start)
