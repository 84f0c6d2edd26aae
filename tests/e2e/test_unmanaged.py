"""A vLLM that somebody started by hand on a node: shown by `status`, ended only with its pid given, and nothing else with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from console.demo import processes
from tests.e2e.cluster import Lab, lab
from tests.sshd import needs_sshd
from tests.waiting import until_blocking

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(120)]

LAYOUT = ("--layout", "a3-pd")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One A3 node."""
    with lab(tmp_path_factory.mktemp("one"), names=("p0",)) as made:
        yield made


@pytest.fixture
def by_hand(small: Lab) -> Iterator[int]:
    """Pid of a simulated `vllm serve` that was started over plain ssh."""
    node = small.node("p0")
    words = ["ssh", "-F", str(small.nodes.config), "-i", str(small.nodes.identity), "-p", str(node.port)]
    words += ["-o", f"UserKnownHostsFile={small.nodes.known_hosts}", node.host]
    serve = "echo $$; exec vllm serve /models/dsv4 --tensor-parallel-size 2 --port 7999 > /dev/null 2>&1"
    session = subprocess.Popen([*words, serve], stdout=subprocess.PIPE, text=True)
    assert session.stdout is not None
    pid = int(session.stdout.readline())
    try:
        yield pid
    finally:
        processes.kill_all(lambda: processes.descendants(pid) | ({pid} if session.poll() is None else set()))
        session.wait(20)
        session.stdout.close()


def unmanaged(where: Lab) -> list[dict[str, Any]]:
    done = where.console("status", *LAYOUT, "-o", "json")
    found: list[dict[str, Any]] = json.loads(done.stdout)["nodes"]["p0"]["unmanaged"]
    return found


def test_what_was_started_by_hand_is_shown_and_ended_only_by_its_pid(small: Lab, by_hand: int) -> None:
    def shown() -> bool:
        found = unmanaged(small)
        return len(found) == 1 and bool(found[0]["devices"])

    until_blocking(shown, 60, "an entry with its workers' devices")
    entry = unmanaged(small)[0]
    assert (entry["pid"], entry["why"]) == (by_hand, "vllm")
    assert entry["owner"]
    assert entry["age_s"] is not None
    assert entry["hbm_mib"] > 1000
    assert "serve /models/dsv4 --tensor-parallel-size 2" in entry["command"]
    assert len(entry["below"]) >= 2
    table = small.console("status", *LAYOUT).stdout
    assert "UNMANAGED" in table
    assert str(by_hand) in table

    act = ("stop", *LAYOUT, "--unmanaged", f"p0:{by_hand}")
    for words in (("--yes",), ("--yes-stop", str(by_hand + 1))):
        refused = small.console(*act, *words)
        assert refused.returncode == 4, refused.stderr
    unknown = small.console("stop", *LAYOUT, "--unmanaged", "p0:1", "--yes-stop", "1")
    assert unknown.returncode == 2
    assert f"unmanaged on p0: {by_hand}" in unknown.stderr

    done = small.console(*act, "--yes-stop", str(by_hand))
    assert done.returncode == 0, done.stderr
    assert f"pid {by_hand} on p0 is gone" in done.stderr
    assert unmanaged(small) == []
    written = (small.state / "dsv4-console" / "journal" / "lab.jsonl").read_text().splitlines()
    begun = [json.loads(line) for line in written if '"process":' in line]
    assert {each["process"]["pid"] for each in begun} == {by_hand}
