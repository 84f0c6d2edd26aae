"""The look after a stop: what it says of ports and devices, and how often it asks the driver for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from console.model.errors import ConsoleError
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.run import Hello, Sample
from console.model.snapshot import Link, LinkState
from console.probes.npu_smi import info_probe
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor
from console.services.operations import ending
from console.services.operations.scope import Scope
from tests.probes.captures import capture
from tests.services.deployments import deployment

IDLE = "a3_info_25.5.0_card5_absent.txt"
STEP = Step("verify", "verify", "ports closed, devices idle", "d0", ("decode-0",))


class Node:
    """A link whose ports are closed and whose npu-smi answers as told."""

    def __init__(self, answers: Callable[[int], tuple[int, bytes]]) -> None:
        self.asked = 0
        self.answers = answers
        self.monitor: Monitor

    async def run_command(self, argv: object, timeout_s: float) -> Sample:
        """The listeners: none."""
        return Sample("", time.time(), 0.0, 0, b"")

    async def probe_now(self, name: str) -> None:
        """Answer a moment later, as nodes do."""
        code, text = self.answers(self.asked)
        self.asked += 1
        sample = Sample(info_probe().name, time.time(), 0.0, code, text)
        asyncio.get_running_loop().call_later(0.02, self.monitor.on_sample, "d0", sample)


async def _verify(state: Path, node: Node) -> tuple[str, list[str]]:
    links = cast(dict[str, NodeLink], {"d0": node})
    monitor = node.monitor = Monitor(deployment(), LogBook(state / "logs", lambda _: None), links, read_only=False)
    monitor.on_link("d0", Link(LinkState.UP, time.time()))
    monitor.on_hello("d0", Hello("d0", "boot", 0, "root", "3.11", time.time()))
    monitor.on_sample("d0", Sample(info_probe().name, time.time() - 9.0, 0.1, 127, b"npu-smi: command not found"))
    plan = Plan("stop", "lab", "pd", ("decode-0",), (Stage("verify", (STEP,)),), Confirm("key", "y"))
    drawing = asyncio.create_task(monitor.run())
    said: list[str] = []
    try:
        found = await ending.Ending(Scope(plan, monitor, links, "ann", asyncio.Event())).verify(STEP, said.append)
    except ConsoleError as error:
        found = str(error)
    finally:
        drawing.cancel()
    return found, said


async def test_a_node_without_npu_smi_is_told_at_once_and_not_asked_again(tmp_path: Path) -> None:
    node = Node(lambda _: (127, b"npu-smi: command not found\n"))
    found, said = await _verify(tmp_path, node)
    assert found == "d0: ports closed, devices unknown: npu-smi is not installed"
    assert (len(said), node.asked) == (1, 1)


async def test_an_old_failure_of_npu_smi_says_nothing_about_now(tmp_path: Path) -> None:
    found, said = await _verify(tmp_path, Node(lambda _: (0, capture("npu", IDLE))))
    assert (found, said) == ("ports closed, devices idle", [])


async def test_a_driver_that_fails_is_asked_rarely_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "LOOK_EVERY_S", 0.3)
    node = Node(
        lambda asked: (0, capture("npu", IDLE)) if asked == 3 else (1, b"dcmi model initialized failed, ret is -8005\n")
    )
    began = time.monotonic()
    found, said = await _verify(tmp_path, node)
    assert (found, node.asked) == ("ports closed, devices idle", 4)
    assert said == ["ports closed, devices unknown: the driver does not answer (dcmi -8005)"]
    assert time.monotonic() - began >= 0.9
