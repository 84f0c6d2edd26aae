"""A stop whose console is gone half-way is said by every other console, from the lease that was never given back."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from console.cli.status import _print_table
from console.cli.status_data import status_data
from console.model.ongoing_work import OngoingPlan
from console.model.run import RunState, RunVerdict
from console.model.snapshot import Exit
from console.node import lease
from console.node.run_dirs import Base, read_json, write_json
from console.services.operations.lease import abandoned_plan, ongoing_plan
from tests.services.monitoring.test_monitor import Scene, key, running

ENDS = ["decode-0", "decode-1", "decode-2"]


def test_a_lease_that_was_never_given_back_tells_what_was_to_be_taken_down(tmp_path: Path) -> None:
    base = Base(str(tmp_path / "base"))
    lease.take(base, "pd", "ann@jump", "stop", "t1", False, ENDS)
    now = time.time()
    answer = {"lease": lease.look(base, "pd")}
    assert abandoned_plan(answer, now) is None, "it is at work"
    assert ongoing_plan(answer, now) is not None
    file = str(tmp_path / "base" / "pd" / "lease.json")
    write_json(file, {**(read_json(file) or {}), "pid": 0, "renewed": now - 60.0, "since": now - 65.0})
    answer = {"lease": lease.look(base, "pd")}
    found = abandoned_plan(answer, now)
    assert found is not None
    assert (found.holder, found.verb, found.ends) == ("ann@jump", "stop", frozenset(ENDS))
    assert found.since == pytest.approx(now - 65.0, abs=1.0)
    assert ongoing_plan(answer, now) is None
    lease.give_back(base, "pd", "t1")
    assert abandoned_plan({"lease": lease.look(base, "pd")}, now) is None


async def test_status_names_what_a_stop_left_until_it_is_ended_or_started_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene(tmp_path)
    for name in ("p0", "p1", "d0", "d1"):
        scene.up(name)
    now = time.time()
    old = [replace(running(name), started_at=now - 500.0) for name in ENDS]
    ended = RunState(key("decode-0"), RunVerdict.EXITED, exit=Exit(0), stopping=True, started_at=now - 500.0)
    scene.runs("d0", ended, old[1])
    scene.runs("d1", old[2], running("decode-3"))
    scene.monitor.abandoned = OngoingPlan("ann@jump", "stop", now - 120.0, frozenset(ENDS))
    scene.monitor.publish()
    words = (
        "the stop by ann@jump, started 2 min ago, was interrupted; of its 3 engines these still run: decode-1, decode-2"
    )
    _print_table(scene.monitor.snapshot)
    assert words in capsys.readouterr().out
    assert status_data(scene.monitor.snapshot)["interrupted_plan"] == {
        "verb": "stop",
        "by": "ann@jump",
        "age_s": 120,
        "left": ["decode-1", "decode-2"],
    }
    scene.runs("d0", ended, replace(old[1], started_at=now))
    scene.monitor.publish()
    interrupted = status_data(scene.monitor.snapshot)["interrupted_plan"]
    assert interrupted is not None
    assert interrupted["left"] == ["decode-2"], "the other was started anew"
    scene.monitor.work = OngoingPlan("bob@jump", "stop", now, frozenset(ENDS))
    scene.monitor.publish()
    assert status_data(scene.monitor.snapshot)["interrupted_plan"] is None, "somebody sees to it"
