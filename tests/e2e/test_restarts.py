"""A restart policy on real nodes: a failed group comes back by one of two consoles, and is given up once the budget is spent."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Lab, lab
from tests.sshd import needs_sshd
from tests.waiting import until_blocking

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(600)]

LAYOUT = """\
name: two
hardware: a3
version: v0.21.0rc1
model: {path: /root/.cache/modelscope/hub/models/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp, served_name: dsv4}
env: {HCCL_CONNECT_TIMEOUT: 1200}
args: {enable-expert-parallel: true, block-size: 128, quantization: ascend, tokenizer-mode: deepseek_v4}
groups:
  all:
    role: mixed
    nodes: 2
    tensor_parallel: 16
    data_parallel: {size: 2, per_node: 1, balance: external, rpc_port: 12321}
    port: 7100
    restart: {policy: on-failure, budget: 1, within: 1h, backoff: 1s}
assign: {all: [p0, p1]}
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes that carry one group, started."""
    with lab(tmp_path_factory.mktemp("restarts"), names=("p0", "p1")) as made:
        made.file.with_name("two.yaml").write_text(LAYOUT)
        done = made.console("start", *layout(made), "--yes")
        assert done.returncode == 0, done.stderr
        yield made


def layout(made: Lab, name: str = "two") -> tuple[str, str]:
    """The options that name the layout."""
    return "--layout", str(made.file.with_name(f"{name}.yaml"))


def standing(made: Lab, name: str = "two") -> dict[str, Any]:
    """Where the group stands, as a console says that has just been opened."""
    document = json.loads(made.console("status", *layout(made, name), "-o", "json").stdout)
    found: dict[str, Any] = document["restarts"]["all"]
    return found


def plans(made: Lab) -> list[dict[str, Any]]:
    """What started, from the journal, oldest first."""
    journal = (made.state / "dsv4-console/journal/lab.jsonl").read_text().splitlines()
    return [entry for line in journal if (entry := json.loads(line))["what"] == "begin"]


def newest(made: Lab, node: str) -> dict[str, Any]:
    """What the newest run on a node was launched with."""
    files = sorted(made.node(node).base.glob("two/*/runs/*/spec.json"))
    found: dict[str, Any] = json.loads(files[-1].read_text())["spec"]
    return found


def ended(made: Lab, node: str, name: str = "two") -> bool:
    """Whether the newest run on a node has ended."""
    return (sorted(made.node(node).base.glob(f"{name}/*/runs/*"))[-1] / "exit.json").exists()


class Guard:
    """A console without a screen that carries the policy out."""

    def __init__(self, made: Lab, out: Path, name: str = "two") -> None:
        self._file = out.open("w")
        self.out = out
        command = [sys.executable, "-m", "console", "auto-restart", "--cluster", str(made.file), *layout(made, name)]
        self.process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT, env=made.environment())

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._file.close()


def test_a_failed_group_comes_back_once_and_is_given_up_when_the_budget_is_spent(pair: Lab, tmp_path: Path) -> None:
    guards = [Guard(pair, tmp_path / f"guard{number}") for number in range(2)]
    try:
        until_blocking(lambda: all("connected" in guard.out.read_text() for guard in guards), 90.0)
        pair.fail("p1", "mixed-1", "crash")
        until_blocking(lambda: len(plans(pair)) == 2, 120.0, "a restart by policy")
        (pair.node("p1").root / "fail" / "mixed-1").unlink()
        back = "restart policy of all: on failure"
        until_blocking(lambda: any(back in guard.out.read_text() for guard in guards), 150.0, "the group serves again")
        assert plans(pair)[1]["verb"] == "restart"
        assert len(plans(pair)[1]["restarts"]) == 1
        assert len(plans(pair)) == 2, "two consoles watch, one of them acts"
        assert [len(newest(pair, node)["restarts"]) for node in ("p0", "p1")] == [1, 1]
        assert standing(pair)["used"] == 1
        for guard in guards:
            guard.kill()
        guards = [Guard(pair, tmp_path / "later")]
        pair.fail("p1", "mixed-1", "crash")
        until_blocking(lambda: "gave up after 1 restart in 1 h: " in guards[0].out.read_text(), 120.0)
        until_blocking(lambda: standing(pair)["state"] == "gave-up", 60.0, "any other console says so too")
        assert len(plans(pair)) == 2, "a console that was opened later goes on counting where the others were killed"
        (pair.node("p1").root / "fail" / "mixed-1").unlink()
        done = pair.console("restart", *layout(pair), "--yes")
        assert done.returncode == 0, done.stderr
        assert "start skew of all " in done.stderr
        assert re.search(r"0/2 ready, .* earlier start", done.stderr), "what is left is told from the starts before"
        assert "restarts" not in newest(pair, "p1")
        assert standing(pair)["state"] == "watching"
        assert standing(pair)["used"] == 0, "an operator's restart makes the budget whole"
    finally:
        for guard in guards:
            guard.kill()


def test_a_stop_that_was_asked_for_is_never_undone(pair: Lab, tmp_path: Path) -> None:
    pair.fail("p1", "mixed-1", "crash")
    until_blocking(lambda: ended(pair, "p1"), 90.0, "it failed, and nobody watches")
    until_blocking(lambda: standing(pair)["state"] == "waiting", 60.0, "the picture has its last process gone")
    assert pair.console("stop", *layout(pair), "--yes").returncode == 0
    before = len(plans(pair))
    guard = Guard(pair, tmp_path / "auto-restart")
    try:
        until_blocking(lambda: "part of it was stopped on request" in guard.out.read_text(), 90.0)
    finally:
        guard.kill()
    assert len(plans(pair)) == before
    assert pair.marked() == []


def test_a_restart_that_did_not_get_to_its_launch_is_left_alone_by_consoles_opened_later(
    pair: Lab, tmp_path: Path
) -> None:
    text = LAYOUT.replace("name: two", "name: one").replace("nodes: 2", "nodes: 1").replace("[p0, p1]", "[p0]")
    text = text.replace("{size: 2, per_node: 1, balance: external,", "{size: 1, per_node: 1, balance: internal,")
    pair.file.with_name("one.yaml").write_text(text)
    assert pair.console("start", *layout(pair, "one"), "--yes").returncode == 0
    pair.fail("p0", "mixed-0", "crash")
    until_blocking(lambda: ended(pair, "p0", "one"), 90.0)
    (pair.node("p0").root / "fail" / "mixed-0").unlink()
    vain = "its restart failed before the launch"
    with socket.create_server((pair.node("p0").host, 7100)):
        guard = Guard(pair, tmp_path / "first", "one")
        until_blocking(lambda: vain in guard.out.read_text(), 90.0, "the port is taken")
        guard.kill()
    before = len(plans(pair))
    told = standing(pair, "one")
    assert told["state"] == "held"
    assert vain in told["reason"]
    assert "port 7100" in told["reason"]
    guard = Guard(pair, tmp_path / "second", "one")
    try:
        until_blocking(lambda: vain in guard.out.read_text(), 90.0, "it knows what the first one tried")
    finally:
        guard.kill()
    assert len(plans(pair)) == before
    assert pair.console("restart", *layout(pair, "one"), "--yes").returncode == 0
    assert standing(pair, "one")["state"] == "watching"
    assert pair.console("stop", *layout(pair, "one"), "--yes").returncode == 0


def test_a_read_only_console_and_a_layout_without_a_policy_are_told_so(pair: Lab) -> None:
    refused = pair.console("auto-restart", *layout(pair), "--readonly")
    assert refused.returncode == 4
    assert "read-only console cannot restart engines" in refused.stderr
    without = pair.file.with_name("without.yaml")
    without.write_text("".join(line for line in LAYOUT.splitlines(keepends=True) if "restart:" not in line))
    told = pair.console("auto-restart", "--layout", str(without))
    assert told.returncode == 2
    assert "no group of two has a restart policy" in told.stderr
