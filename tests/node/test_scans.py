"""Walks over /proc are shared by those who asked before one began, and by nobody else."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from console.node import verdicts
from console.node.processes import Scan, looks_like_vllm
from console.node.verdicts import Scans


def test_of_many_who_ask_at_once_two_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []
    first, go_on = threading.Event(), threading.Event()

    def walk() -> Scan:
        walks.append(len(walks))
        first.set()
        assert go_on.wait(30)
        return Scan()

    monkeypatch.setattr(verdicts, "scan", walk)
    scans = Scans()
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
    monkeypatch.setattr(verdicts, "scan", Scan)
    scans = Scans()
    asked = time.monotonic()
    before = scans.since(asked)
    assert scans.since(asked) is before
    assert scans.since(time.monotonic()) is not before, "something may have begun since that walk"


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
