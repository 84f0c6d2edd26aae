"""The check pane shows the last report, the worst first, with cause and remedy, and asks when it is told to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from console.probes.checks import Result, Verdict
from console.services.preflight import Report
from screens.lines import plain
from screens.panes.preflight import report_rows
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, running

RESULTS = (
    Result("11", "devices", "p0", Verdict.PASS, "16 devices OK"),
    Result("11", "devices", "p1", Verdict.PASS, "16 devices OK"),
    Result("46", "swapping", "p0", Verdict.WARN, "vm.swappiness=60", "It costs latency.", "sysctl -w vm.swappiness=0"),
    Result(
        "37", "every shard", "p1", Verdict.FAIL, "[red]x.safetensors[/] is \x1b[31mmissing", "It shows late.", "copy"
    ),
)
REPORT = Report(time.time(), 1.0, ("p0", "p1"), RESULTS)


def test_the_worst_comes_first_and_equal_answers_are_one_line() -> None:
    lines = [plain(row.line) for row in report_rows(REPORT, 100)]
    heads = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert heads == ["fail", "warn", "pass"]
    assert sum("16 devices OK" in line for line in lines) == 1
    assert any("(all nodes)" in line for line in lines)
    assert any("mend: sysctl -w vm.swappiness=0" in line for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert all(len(plain(row.line)) <= 40 for row in report_rows(REPORT, 40))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_a_key_asks_the_nodes_and_the_pane_shows_what_was_found(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.preflight.next = REPORT
    async with running(session, size) as seen:
        await seen.press("8")
        await seen.sees("not checked yet; P checks all nodes")
        await seen.press("P")
        await seen.sees("every shard (p1)")
        await seen.sees("[red]x.safetensors")
        await seen.sees("1 fail")
