"""Processes that are no run of this base: who is reported and as what, and that a node ends only what was shown."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.node.processes import Scan, boot_id
from console.node.unmanaged_processes import look
from tests.node.driver import Driver, Key, Refused, carriers, helper
from tests.waiting import until_blocking

KEY: Key = ("dep", "decode-5", "r1")
USER = pwd.getpwuid(os.geteuid()).pw_name
TITLED = "import setproctitle, time; setproctitle.setproctitle({title!r}); print(1, flush=True); time.sleep(1000)"
TREE = (
    "import os, signal, time\n"
    "if os.fork() == 0:\n"
    "    if os.fork() == 0:\n"
    "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "        print(1, flush=True)\n"
    "    time.sleep(1000)\n"
    "{ending}time.sleep(1000)\n"
)
"""A process with a child and a grandchild; only the grandchild is deaf. `ending` is put before the parent's sleep."""
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "


@contextlib.contextmanager
def stranger(code: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else that has said that it is up; its whole session is killed at the end."""
    words = [sys.executable, "-c", code]
    env = {**os.environ, "SPT_NOENV": "1", **environment}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True, env=env)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def listed(node: Driver, pid: int) -> dict[str, Any]:
    until_blocking(lambda: node.stranger(pid), 30, f"{pid} in the list")
    found = node.stranger(pid)
    assert found is not None
    return found


def end(node: Driver, seen: dict[str, Any], **changed: Any) -> dict[str, Any]:
    request = {"pid": seen["pid"], "start": seen["start"], "boot_id": boot_id(), "kill": False, "limit_s": 0.5}
    result: dict[str, Any] = node.ask("end", **{**request, **changed})[0]["result"]
    return result


def test_an_engine_of_another_base_is_reported_with_that_base(tmp_path: Path) -> None:
    with helper(tmp_path / "one") as one, helper(tmp_path / "two") as two:
        state = two.launch(KEY, "sleep 1000 & exec sleep 1000")
        seen = listed(one, state["pid"])
        assert (seen["why"], seen["base"], seen["owner"]) == ("other-base", str(tmp_path / "two"), USER)
        until_blocking(lambda: len(carriers(state["token"])) == 2)
        assert [each for each in one.unmanaged if each["pid"] in carriers(state["token"])] == [seen], "one entry"
        assert two.stranger(state["pid"]) is None, "its own console keeps it"
        assert end(one, seen, kill=True, limit_s=5)["outcome"] == "stopped"
        ended = two.until(KEY, "exited")
        assert (ended["exit"]["signal"], ended["stopping"]) == (9, False), "the other console never asked for it"


def test_a_tree_is_one_entry(tmp_path: Path) -> None:
    code = (
        "import os, setproctitle, time\n"
        "child = os.fork()\n"
        "setproctitle.setproctitle('VLLM::EngineCore' if child else 'VLLM::Worker_TP0')\n"
        "print(child, flush=True) if child else None\n"
        "time.sleep(1000)"
    )
    words = [sys.executable, "-c", code]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True, text=True)
    try:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        with helper(tmp_path / "base") as node:
            until_blocking(lambda: (node.stranger(process.pid) or {}).get("below") == [child], 30)
            assert node.stranger(child) is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_holder_of_hbm_is_described_and_one_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with stranger("print(1, flush=True); import time; time.sleep(1000)") as holder, helper(tmp_path / "base") as node:
        ours = node.launch(KEY, "exec sleep 1000")
        node.notify("watch-holders", pids=[holder.pid, gone.pid, ours["pid"]])
        assert listed(node, holder.pid)["why"] == "hbm"
        assert listed(node, gone.pid)["why"] == "gone"
        assert node.stranger(ours["pid"]) is None
        node.notify("watch-holders", pids=[])
        until_blocking(lambda: node.stranger(holder.pid) is None)


def test_a_worker_forked_since_the_last_walk_over_proc_is_ours() -> None:
    with stranger("import time; print(1, flush=True); time.sleep(1000)", DSV4_RUN="abc") as worker:
        assert look(Scan(), {"abc"}, {worker.pid}) == []
        assert [each.pid for each in look(Scan(), set(), {worker.pid})] == [worker.pid]


def test_only_the_process_that_was_shown_is_signalled(tmp_path: Path) -> None:
    with stranger(TITLED.format(title="VLLM::EngineCore")) as shown, helper(tmp_path / "base") as node:
        seen = listed(node, shown.pid)
        ours = node.launch(KEY, "exec sleep 1000")
        with stranger("print(1, flush=True); import time; time.sleep(1000)") as bystander:
            other = {"pid": bystander.pid, "start": start_of(bystander.pid)}
            for wrong, words in (
                ({"start": seen["start"] + 1}, "changed: pid .* is now another process"),
                ({"boot_id": "another"}, "changed: the node was rebooted"),
                (other, "refused: .* not in the list"),
                ({"pid": ours["pid"], "start": start_of(ours["pid"])}, "refused: .* not in the list"),
                ({"pid": 1, "start": start_of(1)}, "refused: .* not in the list"),
            ):
                with pytest.raises(Refused, match=words):
                    end(node, seen, **{"kill": True, **wrong})
            assert (bystander.poll(), shown.poll()) == (None, None)
            assert carriers(ours["token"])
        assert end(node, seen, limit_s=5)["outcome"] == "stopped"
        assert shown.wait(5) == -signal.SIGTERM
        assert end(node, seen)["outcome"] == "absent"


def test_term_never_becomes_kill_and_force_takes_the_whole_tree(tmp_path: Path) -> None:
    with stranger(TREE.format(ending=DEAF)) as shown, helper(tmp_path / "base") as node:
        node.notify("watch-holders", pids=[shown.pid])
        seen = listed(node, shown.pid)
        stuck = end(node, seen)
        assert (stuck["outcome"], stuck["killed"], len(stuck["processes"])) == ("stuck", 0, 3)
        forced = end(node, seen, kill=True, limit_s=5)
        assert (forced["outcome"], forced["killed"]) == ("stopped", 3)
        assert shown.wait(5) == -signal.SIGKILL


def test_nodes_that_share_a_machine_see_only_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    title = TITLED.format(title="VLLM::Worker")
    monkeypatch.setenv("DSV4_SCOPE", "here")
    with (
        stranger(title) as mine,
        stranger(title, DSV4_SCOPE="elsewhere") as others,
        helper(tmp_path / "base") as node,
    ):
        listed(node, mine.pid)
        assert node.stranger(others.pid) is None


def start_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
