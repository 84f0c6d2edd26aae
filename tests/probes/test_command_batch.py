"""One request runs many commands at once: real processes, each with its own limit, none able to hold up or garble the others."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from console.probes.check_types import Answer, NodeRequirements
from console.probes.command_batch import ANSWER_BYTES, Job, batch_argv, batch_timeout_s, jobs, parse_batch
from console.probes.preflight_checks import answered, asked


def _run(*batch: Job) -> dict[str, Answer]:
    done = subprocess.run(batch_argv(batch, sys.executable), capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    return parse_batch(done.stdout)


def _sh(name: str, script: str, timeout_s: float = 20.0, lane: str = "") -> Job:
    return Job(name, ("sh", "-c", script), timeout_s, lane)


def test_answers_come_back_as_they_were_printed() -> None:
    found = _run(
        _sh("text", "printf 'a\\n\\377\\033[1m'; exit 3"),
        _sh("both", "echo out; echo err >&2"),
        Job("none", ("/no/such/tool",), 5.0),
    )
    assert found["text"] == Answer(b"a\n\xff\x1b[1m", 3)
    assert found["both"] == Answer(b"out\n", 0, stderr=b"err\n")
    assert found["none"].exit_code == 127


def test_a_command_that_hangs_is_cut_off_with_its_children_and_alone() -> None:
    begin = time.monotonic()
    found = _run(_sh("hang", "sleep 600 & sleep 600; echo never", 0.5), _sh("well", "echo ok"))
    assert time.monotonic() - begin < 20
    assert (found["hang"].exit_code, found["hang"].whole) == (None, False)
    assert found["well"] == Answer(b"ok\n", 0)


def test_all_run_at_once_but_a_lane_runs_in_turn(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = _run(_sh("a", f"echo x > {pipe}"), _sh("b", f"read -r line < {pipe}; echo $line"))
    assert found["b"] == Answer(b"x\n", 0), "both had to be there at the same time"
    turn = f"mkdir {tmp_path}/lock && echo in && rmdir {tmp_path}/lock"
    found = _run(*(_sh(str(each), turn, lane="driver") for each in range(8)))
    assert {answer.stdout for answer in found.values()} == {b"in\n"}


def test_the_runner_is_python_3_7() -> None:
    ast.parse(batch_argv([])[2], feature_version=(3, 7))


def test_an_endless_answer_is_cut_and_said_to_be() -> None:
    found = _run(_sh("much", f"head -c {ANSWER_BYTES + 5} /dev/zero"), _sh("full", f"head -c {ANSWER_BYTES} /dev/zero"))
    assert (len(found["much"].stdout), found["much"].truncated, found["much"].whole) == (ANSWER_BYTES, True, False)
    assert (len(found["full"].stdout), found["full"].truncated) == (ANSWER_BYTES, False)


def test_no_word_reaches_a_shell_by_itself() -> None:
    nasty = "a b; echo 'x' $(id) \"q\" \n\\"
    assert _run(Job("echo", ("printf", "%s", nasty), 5.0))["echo"].stdout == nasty.encode()


def test_a_whole_preflight_is_one_request_that_runs_on_this_machine() -> None:
    wanted = NodeRequirements("here", "plain", 0, address="127.0.0.1", ports=((1, "nothing"),), engines=1)
    batch = jobs(asked(wanted), wanted)
    found = _run(*batch)
    assert set(found) == {job.name for job in batch}
    verdicts = {each.check: each.verdict for each in answered(wanted, found)}
    assert verdicts["31"] == "pass"
    assert verdicts["18"] != "unknown", "whether vllm is installed here can be told"


def test_only_inquiries_of_the_container_go_inside() -> None:
    wanted = NodeRequirements("n0", container="vllm", model="/w")
    inside = {
        job.name: job.argv[:3] == ("docker", "exec", "vllm")
        for job in jobs(asked(wanted), wanted, ("docker", "exec", "vllm"))
    }
    assert inside["weights"]
    assert not inside["npu"]


def test_the_limit_of_a_batch_is_that_of_its_slowest_lane() -> None:
    batch = [Job("a", ("a",), 10.0, "x"), Job("b", ("b",), 20.0, "x"), Job("c", ("c",), 25.0)]
    assert batch_timeout_s(batch) == 35.0


def test_a_cut_answer_lacks_the_last_job() -> None:
    done = subprocess.run(
        batch_argv([_sh("a", "echo 1", lane="x"), _sh("b", "echo 2", lane="x")], sys.executable),
        capture_output=True,
        check=True,
    )
    assert set(parse_batch(done.stdout)) == {"a", "b"}
    assert set(parse_batch(done.stdout[:-1])) == {"a"}


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"{}", b'{"name":1}', b'{"name":"a","out":"!","err":"","cut":false,"code":0}', b"[" * 3000]
            ),
        )
    )
)
def test_any_bytes_are_taken(lines: list[bytes]) -> None:
    assert all(isinstance(each, Answer) for each in parse_batch(b"\n".join(lines) + b"\n").values())
