"""The table of `npu-smi info` that the demo's servers keep is printed only while it tells the truth."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from console.demo.kept_npu_tables import RENEW_S, keep_table, table_file
from console.demo.tools import install_tools
from console.demo.tools.demo_node import DemoNode, this_node

KEPT = "kept by the servers"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return install_tools(tmp_path / "bin", tmp_path / "node", hardware="a2", address="127.0.0.1")


@pytest.fixture
def node(environment: dict[str, str]) -> DemoNode:
    return this_node(environment)


def printed(environment: dict[str, str], *words: str) -> str:
    return subprocess.run(
        ["npu-smi", *(words or ("info",))], env=environment, capture_output=True, text=True, check=False
    ).stdout


def mark(node: DemoNode) -> None:
    """Make the kept table recognizable, with its time as it was."""
    kept = table_file(node.directory)
    at = kept.stat()
    kept.write_text(f"{kept.read_text()}{KEPT}\n")
    os.utime(kept, ns=(at.st_atime_ns, at.st_mtime_ns))


def holder(node: DemoNode, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A process that holds HBM of device 0 until its input ends."""
    code = (
        "import sys; from console.demo.tools.demo_node import hold; from pathlib import Path;"
        f"hold(Path({str(node.directory)!r}), {{0: 40000}}); print('holds', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def test_the_kept_table_is_what_the_program_would_print(environment: dict[str, str], node: DemoNode) -> None:
    worked_out = printed(environment)
    keep_table(node, time.time())
    mark(node)
    kept = printed(environment)
    assert kept.endswith(f"{KEPT}\n")
    shape = [len(line) for line in worked_out.splitlines()]
    assert [len(line) for line in kept.removesuffix(f"{KEPT}\n").splitlines()] == shape
    assert KEPT not in printed(environment, "info", "-m")


def test_a_process_that_takes_memory_is_in_the_table_at_once(environment: dict[str, str], node: DemoNode) -> None:
    keep_table(node, time.time())
    process = holder(node, environment)
    try:
        assert str(process.pid) in printed(environment)
        keep_table(node, time.time())
        mark(node)
        assert KEPT in printed(environment)
        assert str(process.pid) in printed(environment)
    finally:
        process.kill()
        process.wait()
    after = printed(environment)
    assert KEPT not in after
    assert str(process.pid) not in after


def test_a_planted_fault_is_never_hidden_by_a_kept_table(environment: dict[str, str], node: DemoNode) -> None:
    keep_table(node, time.time())
    (node.directory / "fail" / "npu-smi").write_text("health 3 Critical\n")
    assert "Critical" in printed(environment)
    keep_table(node, time.time())
    assert not table_file(node.directory).exists()


def test_a_table_moves_on_with_time(node: DemoNode) -> None:
    now = time.time()
    keep_table(node, now)
    first = table_file(node.directory).stat().st_mtime_ns
    keep_table(node, now + RENEW_S / 2)
    assert table_file(node.directory).stat().st_mtime_ns == first
    keep_table(node, now + RENEW_S + 0.1)
    assert table_file(node.directory).stat().st_mtime_ns > first
