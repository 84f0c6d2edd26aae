"""The whole path from the command line, with the console killed in the middle: engines live on and are found again."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.e2e.cluster import Lab
from tests.sshd import needs_sshd
from tests.waiting import until_blocking

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(300)]

ROLES = ("--layout", "a3-pd", "--assign", "prefill=p0,p1", "--assign", "decode=d0,d1")


def status(lab: Lab) -> dict[str, Any]:
    """The status document; whatever the exit code."""
    done = lab.console("status", *ROLES, "-o", "json")
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def states(document: dict[str, Any]) -> dict[str, str]:
    """Engine id → state."""
    return {engine["id"]: engine["state"] for engine in document["engines"]}


def test_a_dry_run_shows_the_plan_and_starts_nothing(a3: Lab) -> None:
    done = a3.console("start", *ROLES, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "start decode-0..15 on d0, d1 (same but port, rank, devices, address)" in done.stdout
    assert "--data-parallel-rank" not in done.stdout
    done = a3.console("start", *ROLES, "--dry-run", "--verbose")
    assert "--data-parallel-rank 15" in done.stdout
    assert "--data-parallel-rank" not in done.stderr
    assert a3.marked() == []
    assert set(states(status(a3)).values()) == {"idle"}


def test_an_act_without_confirmation_is_refused(a3: Lab) -> None:
    done = a3.console("start", *ROLES)
    assert done.returncode == 4
    assert a3.marked() == []
    assert a3.console("start", *ROLES, "--readonly", "--yes").returncode == 4


def test_killed_in_the_middle_of_a_start_the_engines_go_on_and_the_next_console_sees_them(a3: Lab) -> None:
    starting = a3.begin("start", *ROLES, "--yes")
    assert starting.stdout is not None
    for line in starting.stdout:
        if "0/16 ready" in line:
            break
    starting.send_signal(signal.SIGKILL)
    starting.wait()
    starting.stdout.close()
    engines = [f"prefill-{rank}" for rank in range(2)] + [f"decode-{rank}" for rank in range(16)]

    def all_ready() -> bool:
        seen = states(status(a3))
        assert not {"failed", "lost", "stuck"} & set(seen.values()), seen
        return all(seen[engine] == "ready" for engine in engines)

    until_blocking(all_ready, timeout_s=90.0)
    document = status(a3)
    assert [engine["id"] for engine in document["engines"]] == [*engines, "proxy"]
    assert document["engines"][-1]["state"] == "idle"
    device = document["nodes"]["d0"]["devices"][3]
    assert device["rank"] == "decode-1"
    assert device["hbm_used_mib"] > 50_000
    assert device["processes"]
    again = a3.console("start", *ROLES, "--yes", "prefill-0")
    assert again.returncode == 0
    assert "nothing to do: all engines run already" in again.stderr
    told = json.loads(a3.console("start", *ROLES, "--yes", "prefill-0", "-o", "json").stdout)
    assert (told["plan"]["stages"], told["outcomes"]) == ([], {})
    assert "all engines run already" in told["plan"]["findings"][0]["message"]
    dry = a3.console("start", *ROLES, "prefill-0", "--dry-run", "-o", "json")
    assert (dry.returncode, json.loads(dry.stdout)["stages"]) == (0, [])


def test_logs_come_whole_and_merge_by_time(a3: Lab) -> None:
    one = a3.console("logs", *ROLES, "decode-3")
    assert one.returncode == 0, one.stderr
    assert "Application startup complete." in one.stdout
    on_node = next(a3.node("d0").base.glob("a3-pd/decode-3/runs/*/out.log")).read_bytes()
    copy = next(a3.state.glob("dsv4-console/logs/lab/a3-pd/decode-3/*.log")).read_bytes()
    assert on_node.startswith(copy)
    assert len(copy) > 1000
    two = a3.console("logs", *ROLES, "decode-3", "decode-8", "--grep", "startup complete", "-o", "jsonl")
    assert {json.loads(line)["engine"] for line in two.stdout.splitlines()} == {"decode-3", "decode-8"}


def test_the_rest_is_started_and_all_of_it_stops_and_leaves_nothing(a3: Lab) -> None:
    proxy = a3.console("start", *ROLES, "--yes", "proxy")
    assert proxy.returncode == 0, proxy.stderr
    assert states(status(a3))["proxy"] == "ready"
    bare = json.loads(a3.console("status", "-o", "json").stdout)
    assert set(states(bare)) == set(states(status(a3))), "layout and nodes of a start are kept for who says neither"
    a3.node("d1").stop()
    try:
        part = a3.console("stop", "--yes", "decode-0")
        assert part.returncode == 3, part.stderr
        assert (
            "Warning     REACH: d1 is unreachable, so decode-8, decode-9, decode-10 +5 more cannot be stopped"
            in part.stderr
        )
        rest = a3.console("stop", "--yes", "decode-8")
        assert rest.returncode == 3
        assert "d1 cannot be reached, so what runs there is unknown" in rest.stderr
    finally:
        a3.node("d1").start()
    words = "the half of its group that was ended takes it down"
    until_blocking(lambda: states(status(a3))["decode-9"] == "degraded", timeout_s=30.0, what=words)
    done = a3.console("stop", *ROLES, "--yes")
    assert done.returncode == 0, done.stderr
    assert a3.marked() == []
    again = a3.console("stop", *ROLES, "--yes")
    assert (again.returncode, "nothing to do: no engine runs" in again.stderr) == (0, True)
    document = status(a3)
    assert set(states(document).values()) == {"exited"}
    for node in document["nodes"].values():
        assert all(device["processes"] == [] and device["hbm_used_mib"] < 4096 for device in node["devices"])
    journal = (a3.state / "dsv4-console" / "journal" / "lab.jsonl").read_text().splitlines()
    assert [json.loads(line)["what"] for line in journal][-2:] == ["begin", "end"]


def test_an_engine_that_fails_while_loading_says_why_and_condemns_its_group(a3: Lab) -> None:
    a3.fail("d0", "decode-5", "memory")
    try:
        done = a3.console("start", *ROLES, "--yes", "decode-0")
        assert done.returncode == 1
        assert "decode-5 on d0 failed" in done.stderr
        assert "C1 HBM is full: Lower gpu-memory-utilization" in done.stderr
        assert "See decode in a3-pd (shipped): gpu-memory-utilization 0.9 (line " in done.stderr
        assert "; read the log: dsv4-console logs decode-5" in done.stderr
        again = a3.console("restart", *ROLES, "--dry-run", "decode-0")
        assert (
            "Last run    decode-5 failed with C1 HBM is full, and its settings have not changed"
            in again.stdout + again.stderr
        )
        document = status(a3)
        failed = next(engine for engine in document["engines"] if engine["id"] == "decode-5")
        assert failed["state"] == "failed"
        assert failed["exit"]["code"] == 1
        assert "out of memory" in failed["cause"]
        other = next(engine for engine in document["engines"] if engine["id"] == "decode-9")
        assert other["state"] in ("degraded", "failed")
        assert "decode-5" in other["cause"] or other["state"] == "failed"
    finally:
        (a3.node("d0").root / "fail" / "decode-5").unlink()
        assert a3.console("stop", *ROLES, "--yes").returncode == 0
    assert a3.marked() == []


def test_a_node_whose_sshd_is_stopped_is_unreachable_while_the_others_go_on(a3: Lab) -> None:
    a3.node("p1").stop()
    try:
        done = a3.console("status", *ROLES, "-o", "json")
        assert done.returncode == 3
        document = json.loads(done.stdout)
        assert document["nodes"]["p1"]["link"] == "lost"
        assert document["nodes"]["p1"]["reason"]
        assert document["nodes"]["p1"]["devices"] == []
        assert states(document)["prefill-1"] == "unreachable"
        assert document["nodes"]["d0"]["link"] == "up"
        refused = a3.console("start", *ROLES, "--yes", "prefill-0")
        assert refused.returncode == 1
        assert "p1 is not connected" in refused.stderr
        assert a3.marked() == []
    finally:
        a3.node("p1").start()
    assert states(status(a3))["prefill-1"] != "unreachable"


def test_two_operators_the_second_is_told_who_is_at_work_and_a_takeover_is_journaled(a3: Lab) -> None:
    a3.fail("p0", "prefill-0", "hang-load")
    first = a3.begin("start", *ROLES, "--yes", "prefill-0")
    assert first.stdout is not None
    for line in first.stdout:
        if "0/2 ready" in line:
            break
    second = a3.console("stop", *ROLES, "--yes", "prefill-0")
    assert second.returncode == 4, second.stderr
    assert "is at work on a3-pd (start" in second.stderr
    (a3.node("p0").root / "fail" / "prefill-0").unlink()
    third = a3.console("stop", *ROLES, "--yes", "--takeover", "prefill-0")
    assert third.returncode == 0, third.stderr
    first.stdout.read()
    first.wait(timeout=60)
    assert first.returncode == 1
    first.stdout.close()
    journal = [
        json.loads(line) for line in (a3.state / "dsv4-console" / "journal" / "lab.jsonl").read_text().splitlines()
    ]
    assert [entry.get("takeover") for entry in journal if entry["what"] == "begin"][-1] is True
    assert a3.marked() == []


def test_with_no_node_assigned_a_start_says_so(a3: Lab) -> None:
    done = a3.console("start", "--layout", "a3-pd", "--assign", "prefill=", "--assign", "decode=", "--yes")
    assert done.returncode == 4
    assert "no node is assigned" in done.stderr
