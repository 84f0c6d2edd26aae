"""Real nodes and consoles that are killed between two launches, have no disk to write to, or come eight at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Lab, lab
from tests.e2e.test_restarts import LAYOUT, layout
from tests.sshd import needs_sshd
from tests.waiting import until_blocking

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(500)]

SPEED = 6.0
"""Slow enough that ranks wait 50 s for their peers."""
DIES_BETWEEN_LAUNCHES = """
import asyncio, os, signal, sys
from console.cli.main import main
from console.remote.link import NodeLink

commit, launched = NodeLink.commit, asyncio.Event()

async def dies(self, key):
    if self.node.name == "p1":
        await launched.wait()
        os.kill(os.getpid(), signal.SIGKILL)
    state = await commit(self, key)
    launched.set()
    return state

NodeLink.commit = dies
sys.exit(main(sys.argv[1:]))
"""
"""A console whose power fails when p0 has launched and p1 has not."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes that carry one group; nothing runs."""
    with lab(tmp_path_factory.mktemp("broken"), names=("p0", "p1"), speed=SPEED) as made:
        text = "".join(line for line in LAYOUT.splitlines(keepends=True) if "restart:" not in line)
        made.file.with_name("two.yaml").write_text(text)
        yield made


def states(made: Lab) -> dict[str, str]:
    """Engine id → state."""
    done = made.console("status", *layout(made), "-o", "json")
    return {each["id"]: each["state"] for each in json.loads(done.stdout)["engines"]}


def test_a_start_whose_console_died_between_two_launches_is_continued(pair: Lab) -> None:
    words = ["start", "--cluster", str(pair.file), *layout(pair), "--yes"]
    died = subprocess.run(
        [sys.executable, "-c", DIES_BETWEEN_LAUNCHES, *words],
        env=pair.environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    first = [path.name for path in pair.node("p0").base.glob("two/all-0/runs/*")]
    assert len(first) == 1
    assert pair.marked(), "the first rank runs and waits"
    done = pair.console("start", *layout(pair), "--yes", timeout_s=300.0)
    assert done.returncode == 0, done.stderr
    assert "waits for the rest of all; the rest can join within" in done.stderr
    assert "start all-1 on p1" in done.stderr
    assert "2 ready after" in done.stderr
    assert [path.name for path in pair.node("p0").base.glob("two/all-0/runs/*")] == first, (
        "it was joined, not restarted"
    )
    assert states(pair) == {"all-0": "ready", "all-1": "ready"}


@contextlib.contextmanager
def _state_on(place: Path, made: Lab, *options: str) -> Iterator[None]:
    """The consoles of the lab keep their files on a disk of their own that takes nothing more."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no mount here: {mounted.stderr.strip()}")
    before, made.state = made.state, place
    try:
        with contextlib.suppress(OSError), (place / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        if options:
            subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(place)], check=True)
        yield
    finally:
        made.state = before
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize(("verb", "options"), [("stop", ()), ("kill", ("ro",))], ids=["full disk", "read-only disk"])
def test_an_emergency_needs_no_disk_here(pair: Lab, tmp_path: Path, verb: str, options: tuple[str, ...]) -> None:
    started = pair.console("start", *layout(pair), "--yes", "--no-wait")
    assert started.returncode == 0, started.stderr
    assert pair.marked()
    with _state_on(tmp_path / "disk", pair, *options):
        refused = pair.console("restart", *layout(pair), "--yes")
        assert refused.returncode == 1, "what starts engines leaves a record or is not done"
        assert "cannot be written" in refused.stderr
        assert pair.marked()
        done = pair.console(verb, *layout(pair), "--yes")
    assert done.returncode == 0, done.stderr
    assert "not recorded in the journal: " in done.stderr
    assert pair.marked() == []


def test_of_eight_consoles_that_start_the_same_one_wins_and_seven_are_told_who(pair: Lab) -> None:
    pair.fail("p0", "mixed-0", "hang-load")
    before = _launched(pair)
    consoles = [pair.begin("start", *layout(pair), "--yes") for _ in range(8)]
    try:
        until_blocking(lambda: sum(each.poll() is not None for each in consoles) == 7, 300.0, "seven gave up")
        winner = next(each for each in consoles if each.poll() is None)
        who = f"{os.environ.get('SUDO_USER') or os.environ.get('LOGNAME') or 'root'}@"
        for each in consoles:
            if each is not winner:
                assert each.stdout is not None
                said = each.stdout.read()
                assert each.returncode in (0, 4), said
                assert any(
                    words in said
                    for words in ("is at work on two (start", "start runs", "the start of ", "a start by ")
                ), said
                assert who in said, said
        assert _launched(pair) == before + 2, "one launch of each rank"
        journal = (pair.state / "dsv4-console/journal/lab.jsonl").read_text().splitlines()
        assert json.loads(journal[-1])["what"] == "begin"
    finally:
        (pair.node("p0").root / "fail" / "mixed-0").unlink()
        for each in consoles:
            each.kill()
            each.wait()
            if each.stdout is not None:
                each.stdout.close()
    assert pair.console("kill", *layout(pair), "--yes", "--takeover").returncode == 0
    assert pair.marked() == []


def _launched(made: Lab) -> int:
    """How many runs were launched on both nodes."""
    return sum(len(list(made.node(name).base.glob("two/*/runs/*/run.json"))) for name in ("p0", "p1"))
