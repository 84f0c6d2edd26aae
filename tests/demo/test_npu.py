"""`npu-smi` of a demo node looks as the real one and follows what really runs on the node."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace

import pytest

from console.demo.tools.npu_tables import Chip, Row, summary_950
from tests.demo.bench import Bench
from tests.probes.captures import HERE
from tests.shared import SHARED, needs_shared

CAPTURES = [
    ("a3", "25.5.0", "a3_info_25.5.0_idle_16chips.txt"),
    ("a3", "26.1.1", "a3_info_26.1.1_x86_half_loaded_16chips.txt"),
    ("a2", "25.3.rc1", "a2_info_25.3.rc1_910B3_vllm_loaded_8dev.txt"),
]


def _shape(line: str) -> str:
    """A line with every value replaced, its columns kept."""
    return re.sub(r"[0-9A-F.:]+", "0", re.sub(r"(?<=\| )-(?=  )", "0", line)).replace(" ", "")


@needs_shared
@pytest.mark.parametrize(("hardware", "driver", "capture"), CAPTURES)
def test_the_table_has_the_layout_of_a_capture(bench: Bench, hardware: str, driver: str, capture: str) -> None:
    bench.hardware = hardware
    real = (SHARED / "fixtures" / "npu" / capture).read_text().splitlines()
    ours = bench.run(0, "npu-smi", "info", DSV4_DEMO_DRIVER=driver).stdout.splitlines()
    devices = next(index for index, line in enumerate(real) if "Process id" in line) - 1
    assert {len(line) for line in ours} == {len(line) for line in real}
    assert [_shape(line) for line in ours[:devices]] == [_shape(line) for line in real[:devices]]
    headings = [line for line in real if "Process id" in line]
    assert [line for line in ours if "Process id" in line] == headings
    idle = [line for line in real if "No running processes" in line]
    assert [line for line in ours if "No running processes" in line][-len(idle) :] == idle or not idle


async def test_devices_follow_the_workers_and_only_eight_rows_are_shown(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "16")
    await engine.says("Application startup complete.")
    text = bench.run(0, "npu-smi", "info").stdout
    rows = re.findall(r"^\| (\d) +(\d) +\| (\d+) +\| VLLMWorker_TP\d* +\| (\d+) ", text, re.M)
    workers = engine.pids("VLLM::Worker")
    assert len(workers) == 16
    assert {int(pid) for _, _, pid, _ in rows} <= set(workers)
    assert sum(card == "0" and chip == "0" for card, chip, _, _ in rows) == 8
    assert sum(int(mib) > 50000 for _, _, _, mib in rows) == 15  # device 0's owner fell off the list
    used = [int(value) for value in re.findall(r"(\d+) ?/ 65536", text)]
    assert len(used) == 16
    assert all(mib > 50000 for mib in used)
    engine.process.kill()
    for pid in engine.pids("VLLM::"):
        os.kill(pid, signal.SIGKILL)


def test_faults_change_the_table(bench: Bench) -> None:
    bench.fail(0, "npu-smi", "health 5 Critical\nabsent 7")
    text = bench.run(0, "npu-smi", "info").stdout
    assert len(re.findall(r"^\| 2 +Ascend910 +\| Critical ", text, re.M)) == 1
    assert text.count("Ascend910") == 14
    bench.fail(0, "npu-smi", "dcmi")
    broken = bench.run(0, "npu-smi", "info")
    assert broken.stdout == "dcmi module initialize failed. ret is -8005\n"
    assert broken.returncode == 187  # what a shell sees of -8005's low byte


def test_a_card_that_is_not_there(bench: Bench) -> None:
    done = bench.run(0, "npu-smi", "info", "-t", "usages", "-i", "8")
    assert done.returncode == 1
    assert done.stdout.startswith("Invalid card id.\nError parameter of -i\n")


def test_the_950_is_drawn_by_the_table_that_was_seen() -> None:
    first = Chip(0, 0, 0, "Ascend950PR", "OK", 187.1, 46, "0000:01:00.0", 0, 6620, 131072, (Row(846718, "", 332),))
    second = replace(first, card=1, device=1, power_w=197.9, temperature_c=48, bus="0000:11:00.0")
    drawn = summary_950("25.7.rc1", (first, replace(second, hbm_used_mib=6056, processes=())))
    assert drawn == (HERE / "npu" / "a5_info_25.7.rc1_950PR.txt").read_text()
