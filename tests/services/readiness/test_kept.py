"""The last report outlives the console; a preflight that is waited for can be left; what cannot be asked is unknown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from console.model.payload import EngineLaunches
from console.model.plan import Step
from console.probes.check_types import Answer, NodeRequirements, Result, Verdict
from console.probes.hccn import Ping
from console.probes.preflight_checks import CHECKS, answered
from console.services.operations.start_steps import StartSteps
from console.services.operations.step_context import StepContext
from console.services.readiness.ping_matrix import PingResults, PingRoute
from console.services.readiness.preflight import REPORT, Preflight, Report, load
from tests.waiting import until

RESULTS = (Result("11", "devices", "p0", Verdict.FAIL, "3 is Alarm", "why", "fix", "x"),)
PINGS = ((PingRoute("p0", 1, "p1", 1, "29.1.1.11"), Ping(1, "29.1.1.11", 3, 2)),)
REPORT_1 = Report(1000.0, 1.5, ("p0", "p1"), RESULTS, True, PingResults(("p0", "p1"), PINGS, RESULTS, False))


def test_a_report_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(REPORT.dump_json(REPORT_1))
    assert load(path) == REPORT_1
    later = Preflight(cast(Any, None), {}, path)
    assert later.latest == REPORT_1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"at": "yesterday"}', '{"at": 1, "took_s": 1, "nodes": [], "results": [{}]}']
)
def test_a_file_that_is_no_report_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    assert load(path) is None
    path.write_text(text)
    assert load(path) is None


def test_without_ping_nothing_is_said_about_the_other_nodes() -> None:
    wanted = NodeRequirements("n0", peers=("10.0.0.2",))
    answers = {"reach": Answer(b"== no ping\n")}
    (found,) = [each for each in answered(wanted, answers) if each.check == "29"]
    assert (found.verdict, found.seen) == (Verdict.UNKNOWN, "ping is not installed")
    assert {each.id for each in CHECKS if each.inquiry == "reach"} == {"29"}


class SlowGate:
    """A preflight that takes for ever."""

    def __init__(self) -> None:
        self.dropped = False

    async def ask(self, node: str) -> str:
        await asyncio.Event().wait()
        return ""

    def cancel(self) -> None:
        self.dropped = True


async def test_a_start_that_waits_for_its_preflight_can_be_cancelled() -> None:
    gate, cancelled = SlowGate(), asyncio.Event()
    scope = cast(StepContext, SimpleNamespace(gate=gate, cancelled=cancelled))
    step = Step("check:p0", "check", "p0", "p0", ("all-0",), EngineLaunches((), preflight=True))
    told: list[str] = []
    asking = asyncio.create_task(StartSteps(scope)._preflight(step, told.append, "idle"))
    await until(lambda: told)
    cancelled.set()
    assert (await asking).startswith("stopped waiting")
    assert gate.dropped
