"""Commands end in time with all they started, probes never overlap, and nothing they print is lost or grows without bound."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from console.node.sampling import Commands, Sampler, rest
from tests.node.driver import Driver, helper
from tests.waiting import until_blocking


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.mark.parametrize(
    ("argv", "code", "out"),
    [
        (["echo", "hi"], 0, b"hi\n"),
        (["sh", "-c", "echo out; echo err >&2; exit 3"], 3, b"out\nerr\n"),
        (["sh", "-c", "kill -9 $$"], -9, b""),
        (["no-such-program"], 127, b"no-such-program: No such file or directory"),
        (["/etc/passwd"], 127, b"/etc/passwd: Permission denied"),
        (["a\0b"], 127, b"a\0b: embedded null byte"),
        ([], 127, None),
    ],
)
def test_a_command_gives_its_code_and_output(argv: list[str], code: int, out: bytes | None) -> None:
    facts, output = Commands().run(argv, 5, 1000)
    assert facts["exit_code"] == code
    assert out is None or output == out


def test_a_deadline_ends_the_whole_tree(tmp_path: Path) -> None:
    script = f"echo begun; (sleep 1000 & echo $! > {tmp_path}/child; wait)"
    facts, output = Commands().run(["sh", "-c", script], 0.5, 1000)
    assert (facts["exit_code"], output) == (None, b"begun\n")
    child = int((tmp_path / "child").read_text())
    until_blocking(lambda: not alive(child))


def test_what_a_command_leaves_behind_goes_with_it_and_is_not_waited_for(tmp_path: Path) -> None:
    facts, output = Commands().run(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/child; echo done"], 30, 1000)
    assert (facts["exit_code"], output) == (0, b"done\n")
    assert facts["took_s"] < 10
    child = int((tmp_path / "child").read_text())
    until_blocking(lambda: not alive(child))


def test_output_over_the_limit_is_cut_and_the_command_ends_by_itself() -> None:
    facts, output = Commands().run(["head", "-c", "3000000", "/dev/zero"], 10, 1000)
    assert (facts["exit_code"], facts["truncated"], len(output)) == (0, True, 1000)


def test_large_input_and_output_do_not_block_each_other() -> None:
    data = os.urandom(2_000_000)
    facts, output = Commands().run(["cat"], 10, 4_000_000, data)
    assert (facts["exit_code"], output) == (0, data)


def test_closing_ends_what_runs(tmp_path: Path) -> None:
    commands = Commands()
    done: list[dict[str, Any]] = []
    path = tmp_path / "pid"
    runner = threading.Thread(
        target=lambda: done.append(commands.run(["sh", "-c", f"echo $$ > {path}; exec sleep 1000"], 900, 100)[0])
    )
    runner.start()
    until_blocking(lambda: path.exists() and path.read_text().strip())
    commands.close()
    runner.join(10)
    assert done[0]["exit_code"] == -9
    assert commands.run(["echo"], 5, 100)[0]["exit_code"] == 127, "nothing starts after the end"


def test_a_probe_that_hangs_never_runs_twice_at_once(tmp_path: Path) -> None:
    samples: list[dict[str, Any]] = []
    script = f"test -e {tmp_path}/lock && echo overlap; touch {tmp_path}/lock; sleep 0.3; rm {tmp_path}/lock"
    outputs: list[bytes] = []

    def push(header: dict[str, Any], payload: bytes) -> None:
        samples.append(header)
        outputs.append(payload)

    commands = Commands()
    Sampler(commands, push).start([{"name": "slow", "argv": ["sh", "-c", script], "every_s": 0.05, "timeout_s": 5}])
    until_blocking(lambda: len(samples) >= 3)
    commands.close()
    assert outputs[:3] == [b"", b"", b""]
    assert {each["probe"] for each in samples} == {"slow"}


def test_a_helper_ends_with_its_input_and_takes_its_commands_along(tmp_path: Path) -> None:
    with helper(tmp_path / "base") as node:
        path = tmp_path / "pid"
        asking = threading.Thread(target=ask_long, args=(node, path), daemon=True)
        asking.start()
        until_blocking(lambda: path.exists() and path.read_text().strip())
        pid = int(path.read_text())
        assert node.close() == 0
        until_blocking(lambda: not alive(pid))
        asking.join(10)


def ask_long(node: Driver, path: Path) -> None:
    with pytest.raises(KeyError):
        node.ask("exec", argv=["sh", "-c", f"echo $$ > {path}; exec sleep 1000"], timeout_s=900)


def test_a_command_that_was_cut_off_is_left_alone_longer_each_time() -> None:
    assert 1.25 < rest(5.0, 1.5, 0) <= 6.25
    assert rest(5.0, 9.0, 0) == 0.05, "slow is not cut off"
    assert [rest(5.0, 11.0, late) for late in (1, 2, 3, 4, 5, 400)] == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    assert rest(300.0, 11.0, 1) == 300.0
