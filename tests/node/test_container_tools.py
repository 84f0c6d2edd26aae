"""What is made of a container tool that runs and does not help: its daemon is down, or nobody may ask it."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.node.engine_containers import look
from console.node.request_error import RequestError
from console.node.runtimes import inspect, last_words
from tests.node.driver import Key, helper
from tests.node.driver import Refused as NodeRefused

KEY: Key = ("dep", "decode-5", "r1")
DOWN = "Cannot connect to the Docker daemon at unix:///run/x.sock. Is the docker daemon running?"
ADVICE = "Run 'docker run --help' for more information"


def tool(place: Path, says: str, code: int = 1) -> list[str]:
    """The words of a tool that always says that on standard error."""
    program = place / "docker"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{says}\nEND\nexit {code}\n")
    program.chmod(0o755)
    return [str(program)]


def test_nothing_is_known_of_containers_while_the_daemon_is_down(tmp_path: Path) -> None:
    words = tool(tmp_path, DOWN)
    with pytest.raises(
        RequestError, match="container x cannot be inspected: Cannot connect to the Docker daemon"
    ) as refused:
        look(words, "x")
    assert "check that its daemon runs" in refused.value.hint


@pytest.mark.parametrize(
    "says",
    ["Error: No such object: x", "Error response from daemon: No such container: x", "Error: no such container x"],
)
def test_a_container_that_is_not_there_is_known_not_to_be(tmp_path: Path, says: str) -> None:
    assert inspect(tool(tmp_path, says), "{{.State.Pid}}", "x") is None


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (f"docker: {DOWN}\n\n{ADVICE}\n", f"docker: {DOWN}"),
        (f"unknown flag: --x\n\nUsage:  docker run [OPTIONS] IMAGE\n\n{ADVICE}", "unknown flag: --x"),
        ("docker: no.\nSee 'docker run --help'.", "docker: no."),
        ("\n \n", "it said nothing"),
    ],
)
def test_advice_on_options_is_not_what_went_wrong(says: str, words: str) -> None:
    assert last_words(says.encode()) == words


def test_a_launch_says_why_the_container_cannot_be_used(tmp_path: Path) -> None:
    runtime = {"words": tool(tmp_path, DOWN), "container": "x", "python": "python3"}
    with helper(tmp_path / "base", runtime=runtime) as node:
        with pytest.raises(NodeRefused, match="container x cannot be inspected: Cannot connect"):
            node.prepare(KEY, "exit 0")
        assert node.error == "", "what is on the host is listed all the same"


def test_a_launch_in_a_container_of_its_own_says_so_too(tmp_path: Path) -> None:
    runtime = {"words": tool(tmp_path, DOWN), "per": "engine", "container": "none", "python": "python3"}
    box = {"name": "mine", "flags": [], "image": "some:1"}
    with helper(tmp_path / "base", runtime=runtime) as node:
        node.ask("prepare", b"#!/bin/bash\n", key=KEY, spec={}, expect_run=None, container=box)
        with pytest.raises(NodeRefused, match="container mine cannot be inspected: Cannot connect"):
            node.ask("commit", key=KEY)
