"""The driver's tools run one at a time on a node, whoever calls them; a call that hangs is said to be in the way."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from console.model.run import Sample
from console.probes.check_types import NodeRequirements
from console.probes.checks_npu import PROBE_COMMANDS
from console.probes.command_batch import batch_argv, jobs
from console.probes.hccn import hccn_probe, parse_hccn, ping_probe
from console.probes.npu_smi import info_probe, read_info
from console.probes.tool_lock import BUSY, BUSY_CODE, turn_function
from tests.node.driver import helper

TOOL = """#!/bin/sh
echo "$0 $*" >> {folder}/calls
mkdir {folder}/driver || echo "$0 $*" >> {folder}/overlaps
sleep 0.05
rmdir {folder}/driver
echo done
"""
"""Notes when it runs while it, or the other one, runs already."""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both, first on PATH."""
    for name in ("npu-smi", "hccn_tool"):
        (tmp_path / name).write_text(TOOL.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, capture_output=True, timeout=60, check=False)


def test_the_table_the_survey_and_the_pings_of_any_caller_never_overlap(tools: Path) -> None:
    pings = ping_probe([(0, "10.9.0.2"), (1, "10.9.0.3")], hccs=True)
    wanted = NodeRequirements(node="n", devices=4, dies_per_card=2, hardware="a3")
    asked = jobs([each for each in PROBE_COMMANDS if each.name in ("super-pod", "npu")], wanted)
    calls = [info_probe().argv, hccn_probe([0, 1], ["link", "ip"]).argv, pings.argv]
    calls += [info_probe().argv, batch_argv(asked, sys.executable)]
    threads = [threading.Thread(target=_run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((tools / "calls").read_text().splitlines()) == 2 + 4 + 2 + 5
    assert not (tools / "overlaps").exists(), (tools / "overlaps").read_text()


def test_a_sample_of_the_helper_waits_for_a_command_that_was_asked_of_it(tools: Path) -> None:
    with helper(tools / "base") as node:
        threads = [
            threading.Thread(target=node.ask, args=("exec",), kwargs={"argv": [*each.argv], "timeout_s": 60})
            for each in (info_probe(), hccn_probe(range(3), ["link"]), info_probe())
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not (tools / "overlaps").exists(), (tools / "overlaps").read_text()


def test_a_call_that_does_not_end_is_told_and_the_tool_is_left_alone(tools: Path) -> None:
    script = f"{turn_function(0.1)}\nfor each in 1 2 3; do turn npu-smi info; echo $?; done"
    with (tools / "npu-smi").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = _run(["sh", "-c", script])
        assert done.stdout.decode().splitlines() == [BUSY, str(BUSY_CODE)] * 3
    assert not (tools / "calls").exists()
    assert _run(["sh", "-c", script]).stdout.splitlines() == [b"done", b"0"] * 3


def test_words_of_a_call_whose_turn_never_came() -> None:
    table = read_info(Sample("npu", 0.0, 15.0, BUSY_CODE, f"{BUSY}\n".encode(), b""))
    assert (table.devices, table.complete) == ((), False)
    assert BUSY in table.error
    devices = parse_hccn(f"== 0 link\n{BUSY}\n== rc {BUSY_CODE}\n".encode())
    assert devices[0].failures == {"link": BUSY}


def test_a_tool_that_hangs_after_its_caller_was_killed_is_still_waited_for(tools: Path) -> None:
    (tools / "npu-smi").write_text("#!/bin/sh\necho $$ > $0.pid; exec sleep 1000\n")
    os.mkfifo(tools / "npu-smi.pid")
    caller = subprocess.Popen(["sh", "-c", f"{turn_function()}\nturn npu-smi info"])
    hanging = int((tools / "npu-smi.pid").read_text())
    caller.kill()
    caller.wait()
    try:
        done = _run(["sh", "-c", f"{turn_function(0.1)}\nturn npu-smi info"])
        assert (done.returncode, done.stdout.decode().strip()) == (BUSY_CODE, BUSY)
    finally:
        os.kill(hanging, 9)


def test_without_a_lock_program_the_tool_is_asked_all_the_same(tools: Path) -> None:
    bare = tools / "bare"
    bare.mkdir()
    for name in ("sh", "sleep", "mkdir", "rmdir"):
        (bare / name).symlink_to(f"/bin/{name}")
    env = {"PATH": f"{tools}:{bare}"}
    done = subprocess.run(
        ["/bin/sh", "-c", f"{turn_function()}\nturn npu-smi info"], capture_output=True, env=env, timeout=60, check=True
    )
    assert done.stdout == b"done\n"
