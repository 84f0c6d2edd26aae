"""Every pane at every width, with long and with wide names: no name in a tab is cut, no number is shortened, no line overruns."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from console.model.plan import Confirm, Plan, Stage, Step
from console.model.snapshot import (
    Device,
    EngineState,
    EventLevel,
    Exit,
    Grade,
    HealthCheck,
    Link,
    LinkState,
    Process,
    Serving,
)
from console.probes.check_types import Result, Verdict
from console.probes.hccn import Ping
from console.services.readiness.ping_matrix import PingResults, PingRoute
from console.services.readiness.preflight import Report
from screens.options import Options
from screens.panes.base import Pane
from screens.panes.plan import PlanPane
from screens.panes.table import PANES
from screens.styled_lines import plain
from tests.screens.fakes import FakeSession
from tests.screens.grid.test_grid import LargeSession
from tests.screens.seen import Seen, running

WIDTHS = (60, 67, 80, 93, 100, 119, 120, 121, 160, 179, 180, 200)
TALL = 150
"""Rows enough for every pane, so that nothing is left out for want of room below."""
WIDE = 400
NAMES = ("p0", "p1", "d0", "d1", "节点九", "rack-17-node-with-a-very-long-name-0042")
TAB_WORDS = {each.title for each in PANES} | {each.part.capitalize() for each in PANES} | {"YBJ"}
CHECKS = (
    HealthCheck("process", Grade.OK, "pid 4242 holds the lock"),
    HealthCheck("http", Grade.FAIL, "503 after 8123 ms"),
    HealthCheck("works", Grade.SKIPPED, "没有问过"),
)
_SPAN = re.compile(r"last \d+ min")
"""A curve of more cells tells of more minutes."""
_NUMBER = re.compile(r"(?<![\w.+])\d+(?:[.,]\d+)*(?![\w.]*\w)(?!\.~)")


def _serving(at: float, times: float) -> Serving:
    return Serving(
        at, running=int(1234 * times), waiting=int(56 * times), kv_usage=0.97, prompt_tokens_s=154321.0 * times,
        generation_tokens_s=2412.0 * times, preemptions_s=12.5, prefix_hit=0.52, acceptance=0.81,
        ttft_s=(0.25, 0.5, 12.5), itl_s=(0.021, 0.03, 0.155), history=tuple(100.0 * at for at in range(60)),
    )  # fmt: skip


def _report(nodes: tuple[str, ...]) -> Report:
    results = [Result("11", "devices", node, Verdict.PASS, "16 devices OK") for node in nodes]
    results.append(
        Result(
            "46", "swapping", "p0", Verdict.WARN, "vm.swappiness=60", "It costs latency.", "sysctl -w vm.swappiness=0"
        )
    )
    long = "/models/" + "很长的路径/" * 12 + "model-00001-of-00163.safetensors is missing"
    results.append(Result("37", "every shard", NAMES[-1], Verdict.FAIL, long, "It shows late.", "copy 163 files again"))
    pings = tuple(
        (PingRoute(node, 0, peer, 0, "29.1.0.4"), Ping(0, "29.1.0.4", 3, 2 if peer == "p1" else 3))
        for node in nodes for peer in nodes if node != peer
    )  # fmt: skip
    return Report(time.time(), 1.0, nodes, tuple(results), True, PingResults(nodes, pings, ()))


def busy_session(tmp_path: Path) -> FakeSession:
    """A cluster with something of everything, and names that are long or wide."""
    session = FakeSession(tmp_path, names=NAMES)
    now = session.snapshot.at
    for name in session.snapshot.engines:
        session.set_state(name, EngineState.READY, health=CHECKS, serving=_serving(now, 1), started_at=now - 7261)
    why = "decode-15 on d1 failed first: HBM is full, 61.20 of 64.00 GiB in use by 16 processes 内存已满"
    for rank in range(9, 15):
        session.set_state(f"decode-{rank}", EngineState.DEGRADED, cause=why, after="decode-15")
    session.set_state("decode-15", EngineState.FAILED, cause="NPU out of memory " * 9 + "4.02 GiB", exit=Exit(137))
    session.set_state("decode-3", EngineState.STARTING, phase="load", progress=0.42, progress_text="shard 12/64")
    devices = tuple(
        Device(
            id=at, card=at // 2, die=at % 2, health="Alarm" if at == 7 else "OK", aicore_percent=100 - at,
            hbm_used_mib=62912, hbm_total_mib=65536, temperature_c=101, power_w=415.0, rank=f"decode-{at}",
            processes=tuple(Process(3456000 + at * 16 + each, "VLLM::Worker_TP0", 61234) for each in range(16)),
        )
        for at in range(16)
    )  # fmt: skip
    session.set_node("p0", devices=devices)
    session.set_node(
        NAMES[-1], link=Link(LinkState.LOST, now - 60, f"{'connection refused ' * 6}10.0.0.4:22", "ssh it")
    )
    session.diagnosed("decode-15", "torch.OutOfMemoryError: NPU out of memory 4.02 GiB")
    session.event("decode-15 failed while loading 内存 " * 8 + "of 64 GiB", EventLevel.ERROR, "decode-15")
    session.more["serving"] = {"": _serving(now, 3), "prefill": _serving(now, 1), "decode": _serving(now, 2)}
    session.preflight.latest = _report(NAMES)
    session.publish()
    return session


def _texts(seen: Seen) -> tuple[str, str, list[str]]:
    """The line of the tabs, the title, and the rows of the open pane as they are on the screen."""
    main = seen.app.main
    strips = seen.app.screen._compositor.render_strips()
    assert all(strip.cell_length == cell_len(strip.text) == seen.app.size.width for strip in strips)
    tabs, title, pane = (
        [
            strips[y].crop(widget.region.x, widget.region.right).text
            for y in range(widget.region.y, widget.region.bottom)
        ]
        for widget in (main.tabs, main.pane_title, main.pane)
    )
    return tabs[0], title[0], pane


def _numbers(lines: list[str]) -> set[str]:
    return {found for line in lines for found in _NUMBER.findall(_SPAN.sub("", line))}


def _whole(seen: Seen, width: int, name: str) -> list[str]:
    """The rows of the open pane, which is of that name, after a look at what every pane must keep at every width."""
    tabs, title, rows = _texts(seen)
    drawn = set(re.findall(r"[^\W\d_]{2,}", tabs))
    assert drawn <= TAB_WORDS, (width, tabs)
    assert name in drawn, (width, tabs)
    assert title.strip(), (width, name)
    pane = seen.app.main.pane
    if isinstance(pane, Pane):
        full = _numbers([plain(line) for line in (pane.heading, *(row.line for row in pane.rows))])
        assert _numbers(rows) <= full, (width, name, _numbers(rows) - full)
    return rows


@pytest.mark.parametrize("ascii", [False, True], ids=["glyphs", "ascii"])
async def test_every_pane_at_every_width(tmp_path: Path, ascii: bool) -> None:
    session = busy_session(tmp_path)
    steps = tuple(Step(f"s{at}", "stop", f"stop decode-{at} 在节点", NAMES[-1], (f"decode-{at}",)) for at in range(20))
    async with running(session, (WIDE, TALL), options=Options(ascii=ascii)) as seen:
        main = seen.app.main
        plan = main.panes["plan"]
        assert isinstance(plan, PlanPane)
        plan.begin(Plan("stop", "lab", "a3-pd", (), (Stage("stop", steps),), Confirm("key", "y")))
        whole: dict[str, set[str]] = {}
        for width in (WIDE, *WIDTHS):
            await seen.pilot.resize_terminal(width, TALL)
            await seen.pilot.pause()
            for each in PANES:
                main.arrangement.go(each.id)
                await seen.pilot.pause()
                rows = _whole(seen, width, each.title)
                whole.setdefault(each.id, _numbers(rows))
                shortened = _numbers(rows) - whole[each.id]
                assert not shortened, (width, each.id, shortened, rows)


@pytest.mark.parametrize("state", [EngineState.READY, EngineState.FAILED], ids=str)
async def test_every_pane_of_a_large_cluster(tmp_path: Path, state: EngineState) -> None:
    """256 nodes, 16 groups, 1024 engines; each width with some of the panes, in either state others."""
    session = LargeSession(tmp_path, state)
    session.preflight.latest = _report(tuple(session.snapshot.nodes)[:24])
    ready = state is EngineState.READY
    async with running(session, (200, 40), options=Options(ascii=ready)) as seen:
        for at, width in enumerate((60, 80, 100, 120, 160, 200)):
            await seen.pilot.resize_terminal(width, 40)
            await seen.pilot.pause()
            for each in PANES[(at + 2 * ready) % 4 :: 4]:
                seen.app.main.arrangement.go(each.id)
                await seen.pilot.pause()
                _whole(seen, width, each.title)
                assert not re.search(r"\d~", seen.header()), (width, seen.header())
