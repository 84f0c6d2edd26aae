"""The life of an engine on its node, case by case: what was done to it, what its node then says, and that a stop leaves nothing.

Real processes under a real supervisor; no SSH.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.node.driver import Driver, Key, Refused, carriers, helper
from tests.waiting import until_blocking

KEY: Key = ("dep", "decode-5", "r1")
USER = pwd.getpwuid(os.geteuid()).pw_name

# A tree like vLLM's: API server, engine core, worker; the last two retitle themselves with their environment kept.
TREE = """
sleep 1000 &
echo $! > $DSV4_TEST_DIR/core
(sleep 1000 & echo $! > $DSV4_TEST_DIR/worker; wait) &
echo $! > $DSV4_TEST_DIR/parent
echo ready
wait
"""
DAEMON = "setsid sh -c 'sleep 1000' < /dev/null > /dev/null 2>&1 &\necho $! > $DSV4_TEST_DIR/core\nsleep 0.2; exit 3"
DEAF = "trap '' TERM INT HUP\necho ready\nwhile :; do sleep 1; done"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.setenv("DSV4_TEST_DIR", str(tmp_path))
    with helper(tmp_path / "base") as driver:
        yield driver


def run_dir(node: Driver, key: Key = KEY) -> Path:
    return node.base / key[0] / key[1] / "runs" / key[2]


def token(node: Driver, key: Key) -> str:
    record: dict[str, str] = json.loads((run_dir(node, key) / "spec.json").read_text())
    return record["token"]


def pid_in(node: Driver, name: str) -> int:
    path = node.base.parent / name
    until_blocking(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def kill_supervisor(node: Driver, state: dict[str, Any]) -> None:
    os.kill(state["supervisor"], signal.SIGKILL)


def kill_main(node: Driver, state: dict[str, Any]) -> None:
    os.kill(state["pid"], signal.SIGKILL)


def kill_core(node: Driver, state: dict[str, Any]) -> None:
    os.kill(pid_in(node, "core"), signal.SIGKILL)


def kill_worker(node: Driver, state: dict[str, Any]) -> None:
    os.kill(pid_in(node, "worker"), signal.SIGKILL)


def kill_supervisor_and_main(node: Driver, state: dict[str, Any]) -> None:
    pid_in(node, "worker")
    kill_supervisor(node, state)
    kill_main(node, state)


def kill_all(node: Driver, state: dict[str, Any]) -> None:
    pid_in(node, "worker")
    kill_supervisor(node, state)
    for pid in carriers(state["token"]):
        os.kill(pid, signal.SIGKILL)


def freeze(node: Driver, state: dict[str, Any]) -> None:
    """TERM waits for a CONT that never comes; KILL does not."""
    os.kill(state["pid"], signal.SIGSTOP)


def nothing(node: Driver, state: dict[str, Any]) -> None:
    """Let it be."""


def other_boot(node: Driver, state: dict[str, Any]) -> None:
    """As after a reboot: the files are there, the boot id is another, nothing lives."""
    kill_all(node, state)
    rewrite(run_dir(node) / "run.json", boot_id="another")


def reused_pid(node: Driver, state: dict[str, Any]) -> None:
    """The pid lives on as somebody else: here as this test, with another start time."""
    kill_all(node, state)
    rewrite(run_dir(node) / "run.json", pid=os.getpid(), supervisor=os.getpid())


def clock_back(node: Driver, state: dict[str, Any]) -> None:
    """As if the clock had been set back after the launch: started_at lies in the future."""
    rewrite(run_dir(node) / "run.json", started_at=state["started_at"] + 1e6)


def rewrite(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    script: str
    act: Callable[[Driver, dict[str, Any]], None]
    verdict: str
    code: int | None = None
    signal: int | None = None
    reason: str = ""
    stop: str = "stopped"


CASES = [
    Case("lives", TREE, nothing, "running"),
    Case("supervisor killed", TREE, kill_supervisor, "running"),
    Case("API server killed", TREE, kill_main, "orphans", signal=9),
    Case("engine core killed", TREE, kill_core, "running"),
    Case("worker killed", TREE, kill_worker, "running"),
    Case("supervisor and API server killed", TREE, kill_supervisor_and_main, "orphans", reason="without a record"),
    Case("all killed", TREE, kill_all, "lost", reason="supervisor ended before", stop="absent"),
    Case("ignores TERM", DEAF, nothing, "running"),
    Case("forks a daemon and ends", DAEMON, nothing, "orphans", code=3),
    Case("ends by itself with 0", "exit 0", nothing, "exited", code=0, stop="absent"),
    Case("ends with 7", "exit 7", nothing, "exited", code=7, stop="absent"),
    Case("crashes", "kill -SEGV $$", nothing, "exited", signal=11, stop="absent"),
    Case("missing program", "exec no-such-program", nothing, "exited", code=127, stop="absent"),
    Case("no permission", "exec /etc/passwd", nothing, "exited", code=126, stop="absent"),
    Case(
        "exec format error",
        "echo junk > x; chmod +x x; printf '\\177ELF' > x; exec ./x",
        nothing,
        "exited",
        code=126,
        stop="absent",
    ),
    Case("frozen by SIGSTOP", TREE, freeze, "running"),
    Case("other boot", TREE, other_boot, "lost", reason="rebooted", stop="absent"),
    Case("pid reused", TREE, reused_pid, "lost", reason="supervisor ended before", stop="absent"),
    Case("clock set back", TREE, clock_back, "running"),
]


def test_who_asked_for_an_end_is_told_with_the_run(node: Driver) -> None:
    node.prepare(KEY, TREE, by="ann@jump")
    node.ask("commit", key=KEY)
    seen = node.until(KEY, "running")
    assert (seen["owner"], seen["stop_by"], seen["stop_at"]) == ("ann@jump", "", None)
    before = time.time()
    node.ask("stop", keys=[KEY], grace_s=0.5, kill_s=5.0, by="alice@jump2")
    seen = node.until(KEY, "exited")
    assert seen["stop_by"] == "alice@jump2"
    assert before <= seen["stop_at"] <= time.time()


def test_when_a_log_grew_last_is_told(node: Driver) -> None:
    before = time.time()
    node.launch(KEY, "echo begun\nsleep 60")
    node.until(KEY, "running")
    until_blocking(lambda: node.runs[KEY]["log_size"] > 0)
    assert before - 1.0 <= node.runs[KEY]["log_at"] <= time.time() + 1.0
    node.stop(KEY, grace_s=0.5)


@pytest.mark.parametrize("note", [b"", b"[]", b'{"by": 5, "at": "soon"}'], ids=["empty", "list", "other kinds"])
def test_a_note_of_a_stop_that_cannot_be_read_is_still_a_stop(node: Driver, note: bytes) -> None:
    node.launch(KEY, TREE)
    node.until(KEY, "running")
    path = node.base.joinpath(*KEY[:2], "runs", KEY[2], "stop.json")
    path.write_bytes(note)
    until_blocking(lambda: node.runs[KEY]["stopping"])
    assert (node.runs[KEY]["stop_by"], node.runs[KEY]["stop_at"]) == ("", None)
    node.stop(KEY, grace_s=0.5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_end_has_its_state_and_a_stop_leaves_nothing(node: Driver, case: Case) -> None:
    state = node.launch(KEY, case.script)
    case.act(node, state)
    seen = node.until(KEY, case.verdict)
    if case.code is not None or case.signal is not None:
        until_blocking(lambda: node.runs[KEY]["exit"] is not None)
        seen = node.runs[KEY]
        assert (seen["exit"]["code"], seen["exit"]["signal"]) == (case.code, case.signal)
    assert case.reason in seen["reason"]
    result = node.stop(KEY, grace_s=0.5)[0]
    assert result["outcome"] == case.stop, result
    assert not result["processes"]
    assert not carriers(state["token"])
    assert node.launch(("dep", "decode-5", "r2"), "exit 0", "r1")["verdict"] in ("running", "exited"), (
        "the lock is free"
    )


def test_a_script_without_an_interpreter_is_an_exit_with_the_reason(node: Driver) -> None:
    node.ask("prepare", b"#!/no/such/shell\n", key=KEY, spec={}, expect_run=None)
    with pytest.raises(Refused, match="os: exec failed: No such file or directory"):
        node.ask("commit", key=KEY)
    seen = node.until(KEY, "exited")
    assert "exec failed" in seen["reason"]


def test_eight_simultaneous_launches_run_one_engine(node: Driver) -> None:
    keys: list[Key] = [("dep", "decode-5", f"r{number}") for number in range(8)]
    for key in keys:
        node.prepare(key, "exec sleep 1000", by=f"user-{key[2]}")

    def commit(key: Key) -> str:
        try:
            node.ask("commit", key=key)
        except Refused as refused:
            return str(refused)
        return "launched"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(commit, keys))
    assert said.count("launched") == 1
    winner = keys[said.index("launched")][2]
    refused = [text for text in said if text != "launched"]
    assert all(f"run {winner}, launched by user-{winner}" in text for text in refused), refused
    running = [key for key in keys if carriers(token(node, key))]
    assert [key[2] for key in running] == [winner]


def test_eight_helpers_launching_at_once_run_one_engine(node: Driver, tmp_path: Path) -> None:
    drivers = [Driver(tmp_path / "base") for _ in range(8)]

    def launch(place: int) -> str:
        try:
            drivers[place].launch(("dep", "decode-5", f"r{place}"), "exec sleep 1000")
        except Refused as refused:
            return refused.kind
        return "launched"

    try:
        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(launch, range(8)))
    finally:
        for driver in drivers:
            driver.close()
    assert said.count("launched") == 1, said
    assert set(said) <= {"launched", "busy", "changed"}


def test_a_launch_made_from_an_old_view_is_refused(node: Driver) -> None:
    node.launch(KEY, "exit 0")
    node.until(KEY, "exited")
    with pytest.raises(Refused, match="changed"):
        node.prepare(("dep", "decode-5", "r2"), "exit 0", None)
    node.prepare(("dep", "decode-5", "r2"), "exit 0", "r1")
    node.prepare(("dep", "decode-5", "r3"), "exit 0", "r1")
    node.ask("commit", key=("dep", "decode-5", "r2"))
    node.until(("dep", "decode-5", "r2"), "exited")
    with pytest.raises(Refused, match="changed"):
        node.ask("commit", key=("dep", "decode-5", "r3"))


def test_a_run_is_launched_once(node: Driver) -> None:
    node.launch(KEY, "exit 0")
    node.until(KEY, "exited")
    with pytest.raises(Refused, match="changed"):
        node.ask("commit", key=KEY)


def test_discard_takes_back_only_what_never_ran(node: Driver) -> None:
    node.prepare(KEY, "exit 0")
    node.ask("discard", key=KEY)
    assert not run_dir(node).exists()
    node.launch(("dep", "decode-5", "r2"), "exit 0")
    with pytest.raises(Refused, match="refused"):
        node.ask("discard", key=("dep", "decode-5", "r2"))


def test_a_group_is_termed_at_once(node: Driver) -> None:
    keys: list[Key] = [("dep", f"decode-{number}", "r1") for number in range(3)]
    states = [
        node.launch(key, "trap 'date +%s.%N; exit 0' TERM; echo ready; while :; do sleep 0.05; done") for key in keys
    ]
    for key in keys:
        node.notify("follow", key=key, offset=0)
    until_blocking(lambda: all(bytes(node.logs.get(key, b"")) == b"ready\n" for key in keys))
    results = node.stop(*keys)
    assert [result["outcome"] for result in results] == ["stopped"] * 3
    assert [result["killed"] for result in results] == [0] * 3
    until_blocking(lambda: all(node.logs[key].count(b"\n") == 2 for key in keys))
    times = [float(node.logs[key].split()[-1]) for key in keys]
    assert max(times) - min(times) < 1.0
    assert not any(carriers(state["token"]) for state in states)


def test_a_process_without_the_cookie_is_found_by_descent(node: Driver) -> None:
    """Some program may clear its environment: the supervisor has adopted it, so it is ours and is ended."""
    state = node.launch(KEY, "env -i setsid sh -c 'echo $$ > '$DSV4_TEST_DIR'/core; sleep 1000; true' &\nwait")
    escaped = pid_in(node, "core")
    assert escaped not in carriers(state["token"])
    assert node.stop(KEY, grace_s=0.3)[0]["outcome"] == "stopped"
    assert not Path(f"/proc/{escaped}").exists()


def waits_for_a_lock(pid: int) -> bool:
    """Whether the kernel lists the process among those that wait for a lock."""
    lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any("->" in words and str(pid) in words for words in lines)


def test_a_lock_held_by_a_stranger_is_stuck_and_said(node: Driver) -> None:
    node.launch(KEY, "exec sleep 1000")
    stranger = subprocess.Popen(["flock", str(run_dir(node) / "lock"), "sleep", "1000"], start_new_session=True)
    try:
        until_blocking(lambda: waits_for_a_lock(stranger.pid))
        result = node.stop(KEY, grace_s=1, kill_s=0.5)[0]
        assert result["outcome"] == "stuck"
        assert result["reason"] == "its lock is still held"
        seen = node.until(KEY, "foreign")
        assert seen["reason"]
    finally:
        os.killpg(stranger.pid, signal.SIGKILL)
        stranger.wait()
    node.until(KEY, "exited")


def test_the_cookie_survives_setproctitle(node: Driver) -> None:
    title = "VLLM::EngineCore" + "x" * 200
    code = (
        f"import setproctitle, time; setproctitle.setproctitle('{title}'); print('ready', flush=True); time.sleep(1000)"
    )
    state = node.launch(KEY, f'exec {sys.executable} -c "{code}"')
    node.notify("follow", key=KEY, offset=0)
    until_blocking(lambda: bytes(node.logs.get(KEY, b"")) == b"ready\n")
    assert carriers(state["token"]) == [state["pid"]]
    assert state["pid"] not in [each["pid"] for each in node.unmanaged]
    assert node.stop(KEY)[0]["outcome"] == "stopped"


def test_a_vllm_that_is_not_ours_is_reported_and_left_alone(node: Driver) -> None:
    code = "import setproctitle, time; setproctitle.setproctitle('VLLM::Worker_TP3'); print(1, flush=True); time.sleep(1000)"
    stranger = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"1\n"
        until_blocking(lambda: node.stranger(stranger.pid), 30)
        mine = node.stranger(stranger.pid)
        assert mine is not None
        assert (mine["owner"], mine["command"], mine["why"]) == (USER, "VLLM::Worker_TP3", "vllm")
        assert abs(mine["started_at"] - time.time()) < 60
        node.launch(KEY, "exec sleep 1000")
        node.stop(KEY)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_that_not_even_kill_ends_is_stuck_and_named(node: Driver) -> None:
    """State D, as a process that waits inside a driver: here in a frozen control group."""
    state = node.launch(KEY, "exec sleep 1000")
    with control_group("freezer") as group:
        (group / "cgroup.procs").write_text(str(state["pid"]))
        (group / "freezer.state").write_text("FROZEN")
        until_blocking(lambda: Path(f"/proc/{state['pid']}/stat").read_text().split()[2] == "D")
        result = node.stop(KEY, grace_s=0.3, kill_s=0.5)[0]
        assert result["outcome"] == "stuck"
        assert [each[:2] for each in result["processes"]] == [[state["pid"], "D"]]
        assert result["processes"][0][3] == "sleep"
        assert node.verdict(KEY) == "running", "it is there, whatever was sent"
        with pytest.raises(Refused, match="busy: the engine is held by run r1"):
            node.launch(("dep", "decode-5", "r2"), "exit 0", "r1")
        (group / "freezer.state").write_text("THAWED")
        assert node.until(KEY, "exited")["exit"]["signal"] in (signal.SIGTERM, signal.SIGKILL)


def test_an_engine_that_the_kernel_kills_for_memory_says_so(tmp_path: Path) -> None:
    with control_group("memory") as group, helper(tmp_path / "base") as node:
        (group / "memory.limit_in_bytes").write_text(str(160 * 2**20))
        (group / "memory.swappiness").write_text("0")
        (group / "cgroup.procs").write_text(str(node.process.pid))
        node.launch(KEY, f"exec {sys.executable} -S -c 'x = bytearray(400 * 2**20); print(len(x))'")
        seen = node.until(KEY, "exited")
        assert seen["exit"]["signal"] == 9
        assert (
            seen["reason"] == "the kernel killed 1 of its processes: the memory limit of its control group was reached"
        )
        node.launch(("dep", "decode-5", "r2"), "kill -KILL $$", "r1")
        assert node.until(("dep", "decode-5", "r2"), "exited")["reason"] == "", (
            "signal 9 alone proves no lack of memory"
        )


@contextlib.contextmanager
def control_group(controller: str) -> Iterator[Path]:
    """A group of version 1 of our own; what is left in it goes to the one above."""
    group = Path("/sys/fs/cgroup", controller, f"dsv4-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of {controller} can be made here: {error.strerror}")
    try:
        yield group
    finally:
        if controller == "freezer":
            (group / "freezer.state").write_text("THAWED")

        def gone() -> bool:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (group.parent / "cgroup.procs").write_text(pid)
            with contextlib.suppress(OSError):
                group.rmdir()
            return not group.exists()

        until_blocking(gone)


def test_a_full_disk_under_the_exit_still_records_it(tmp_path: Path) -> None:
    """The log fills the disk, then the engine ends: the room for its exit was taken before."""
    disk = tmp_path / "disk"
    with small_disk(disk), helper(disk / "base") as node:
        node.launch(KEY, "cat /dev/zero; exit 5")
        seen = node.until(KEY, "exited")
        assert (seen["exit"]["code"], os.statvfs(disk).f_bavail) == (5, 0)
        with pytest.raises(Refused, match=r"os: .*No space left") as refused:
            node.prepare(("dep", "decode-5", "r2"), "exit 0", "r1")
        assert "full" in refused.value.hint
        assert sorted(path.name for path in (disk / "base/dep/decode-5/runs").iterdir()) == ["r1"], (
            "nothing half-written"
        )


def test_a_stop_on_a_full_disk_is_noted_as_one(tmp_path: Path) -> None:
    """Without the note the end would be a failure that a restart policy undoes."""
    disk = tmp_path / "disk"
    with small_disk(disk), helper(disk / "base") as node:
        node.launch(KEY, "cat /dev/zero; sleep 1000")
        until_blocking(lambda: os.statvfs(disk).f_bavail == 0)
        assert node.stop(KEY)[0]["outcome"] == "stopped"
        seen = node.until(KEY, "exited")
        assert seen["stopping"]
        assert abs(seen["stop_at"] - time.time()) < 60.0


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of 1 MiB."""
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], check=False, capture_output=True
    )
    if done.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_process_that_a_signal_stopped_is_told_until_it_goes_on_and_ends_like_any(node: Driver) -> None:
    node.launch(KEY, TREE)
    node.until(KEY, "running")
    worker = pid_in(node, "worker")
    until_blocking(lambda: worker in node.runs[KEY]["pids"])
    assert node.runs[KEY]["halted"] == []
    os.kill(worker, signal.SIGSTOP)
    until_blocking(lambda: node.runs[KEY]["halted"] == [worker])
    os.kill(worker, signal.SIGCONT)
    until_blocking(lambda: node.runs[KEY]["halted"] == [])
    os.kill(worker, signal.SIGSTOP)
    assert node.stop(KEY, grace_s=0.5)[0]["outcome"] == "stopped"


def test_a_stop_whose_helper_was_killed_is_told_with_its_time_and_can_be_asked_again(tmp_path: Path) -> None:
    with helper(tmp_path / "base") as first:
        first.launch(KEY, DEAF)
        until_blocking(lambda: (run_dir(first) / "out.log").read_bytes() == b"ready\n")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(first.stop, KEY, grace_s=600.0)
            until_blocking((run_dir(first) / "stop.json").exists)
            first.process.kill()
            with pytest.raises((KeyError, OSError)):
                asked.result(30)
        with helper(tmp_path / "base") as second:
            state = second.until(KEY, "running")
            assert state["stopping"]
            assert 0.0 <= time.time() - state["stop_at"] < 60.0
            assert second.stop(KEY, grace_s=0.2)[0]["outcome"] == "stopped"


def test_a_run_whose_preparer_was_killed_is_told_as_abandoned_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    with helper(tmp_path / "base") as first:
        first.prepare(KEY, "echo never")
        assert not first.until(KEY, "prepared")["abandoned"]
        first.process.kill()
        first.process.wait()
        with helper(tmp_path / "base") as second:
            assert second.until(KEY, "prepared")["abandoned"]
            second.launch((KEY[0], KEY[1], "r2"), TREE)
