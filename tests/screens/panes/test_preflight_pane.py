"""The preflight pane shows the last report, the worst first, with cause and remedy, and asks when it is told to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from console.model.errors import ConsoleError
from console.probes.check_types import Result, Verdict
from console.probes.hccn import Ping
from console.services.readiness.ping_matrix import PingResults, PingRoute
from console.services.readiness.preflight import Report
from screens.panes.preflight import matrix_rows, report_rows
from screens.styled_lines import Pen, plain
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, running

RESULTS = (
    Result("11", "devices", "p0", Verdict.PASS, "16 devices OK"),
    Result("11", "devices", "p1", Verdict.PASS, "16 devices OK"),
    Result("46", "swapping", "p0", Verdict.WARN, "vm.swappiness=60", "It costs latency.", "sysctl -w vm.swappiness=0"),
    Result(
        "37", "all shards", "p1", Verdict.FAIL, "[red]x.safetensors[/] is \x1b[31mmissing", "It shows late.", "copy"
    ),
)
WAYS = tuple(
    (PingRoute(node, device, peer, device, f"29.1.0.{device}"), Ping(device, f"29.1.0.{device}", 3, 3 if device else 2))
    for node, peer in (("p0", "p1"), ("p1", "p0"))
    for device in range(2)
)
REPORT = Report(time.time(), 1.0, ("p0", "p1"), RESULTS)


def test_the_worst_comes_first_and_equal_answers_are_one_line() -> None:
    lines = [plain(row.line) for row in report_rows(REPORT.folds, REPORT, 100, Pen())]
    heads = [line.split()[1] for line in lines if not line.startswith(" ")]
    assert heads == ["fail", "warn", "pass"]
    assert sum("16 devices OK" in line for line in lines) == 1
    assert any("(all nodes)" in line for line in lines)
    assert any("fix: sysctl -w vm.swappiness=0" in line for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert all(len(plain(row.line)) <= 40 for row in report_rows(REPORT.folds, REPORT, 40, Pen()))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_a_key_asks_the_nodes_and_the_pane_shows_what_was_found(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.preflight.next = REPORT
    async with running(session, size) as seen:
        await seen.press("0")
        await seen.sees("not run; P checks all nodes")
        await seen.press("P")
        await seen.sees("all shards (p1)")
        await seen.sees("[red]x.safetensors")
        await seen.sees("✗ 1 fail")
        await seen.sees("✗ not ready to start: 1 of 2 nodes has a failed check")
        await seen.sees("▸ p1 ")
        assert "16 devices OK" not in seen.text()
        await seen.press("G", "enter")
        await seen.sees("devices (all nodes): 16 devices OK")


def test_the_matrix_goes_on_below_where_it_is_wider_than_the_screen() -> None:
    names = tuple(f"node-{number}" for number in range(8))
    crossing = PingResults(names, WAYS, ())
    for cells in (24, 40, 80):
        lines = [plain(row.line).rstrip() for row in matrix_rows(crossing, cells)]
        assert all(len(line) <= cells for line in lines)
        assert sum(line.split().count(name) for line in lines for name in names) >= 2 * len(names)
    rows = matrix_rows(PingResults(("p0", "p1"), WAYS, ()), 80)
    assert [plain(row.line).split() for row in rows[:3]] == [
        ["from", "\\", "to", "p0", "p1"], ["p0", "-", "1/2"], ["p1", "1/2", "-"]
    ]  # fmt: skip
    assert rows[1].line[2][1] == "fail"


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_a_survey_shows_how_far_it_is_its_matrix_and_can_be_stopped(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    session = FakeSession(tmp_path)
    checks = session.preflight
    checks.next = replace(REPORT, crossing=PingResults(("p0", "p1"), WAYS, ()), network=True)
    checks.gate = asyncio.Event()
    async with running(session, size) as seen:
        await seen.press("0", "n")
        await seen.sees("so far; c stops it.")
        checks.progress = "[b]16 of 96 pings, about 4 s left"
        await seen.sees("[b]16 of 96 pings")
        await seen.press("c")
        await seen.sees("stopped before all nodes answered")
        checks.gate.set()
        await seen.press("N")
        await seen.sees("✗ network: 2 of 4 pings answered  each NPU to those with the same number")
        await seen.sees("p0: 1/2 answered by p1")
        assert [(each.network, each.full_mesh) for each in checks.asked if each] == [(True, False), (True, True)]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_what_nodes_lack_is_planned_confirmed_and_run_from_the_pane(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    session = FakeSession(tmp_path)
    async with running(session, size) as seen:
        await seen.press("0", "C")
        await seen.sees("CONTAINERS 2 nodes")
        await seen.sees("[red]IMAGE[/]")
        await seen.press("enter")
        assert session.maintenance.ran == [], "Enter alone never does it"
        await seen.press("C")
        await seen.sees("CONTAINERS 2 nodes")
        await seen.press("y")
        await seen.sees("containers 2/2 steps")
        assert [confirmed for _, confirmed in session.maintenance.ran] == ["y"]
        await seen.press("colon")
        await seen.type("weights p0 p1")
        await seen.press("enter")
        await seen.sees("COPY WEIGHTS 1 node")
        assert session.maintenance.asked[-2:] == [("source", "p0"), ("weights", "p1")]
        await seen.press("escape", "colon")
        await seen.type("tune p0")
        await seen.press("enter")
        await seen.sees("TUNE 1 node")
        await seen.press("y")
        await seen.press("escape")
        assert len(session.maintenance.ran) == 1, "tuning asks for the cluster's name"


async def test_why_there_is_no_plan_is_told(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.maintenance.refusal = ConsoleError("nothing to do: every container runs", hint="look at the differences")
    async with running(session) as seen:
        await seen.press("0", "C")
        await seen.sees("nothing to do: every container runs")
        await seen.sees("look at the differences")
