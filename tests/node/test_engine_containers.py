"""A container of its own for each engine, with real tools: made, adopted, read and removed; nothing is left of it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.container_tools import LIMITS, BoxTool, box_tool
from tests.node.driver import Driver, Key, Refused, carriers, helper
from tests.waiting import until_blocking

KEY: Key = ("dep", "decode-5", "r1")
LATER: Key = ("dep", "decode-5", "r2")
pytestmark = pytest.mark.timeout(180)


class Place:
    """A base directory and the name of an engine's container, unlike any other test's."""

    def __init__(self, directory: Path, tool: BoxTool) -> None:
        self.base = directory / "base"
        self.name = f"dsv4-test-{uuid.uuid4().hex[:8]}"
        self.tool = tool
        self.flags = ["--net=host", "-v", f"{self.base}:{self.base}", *tool.flags]

    def launch(self, node: Driver, script: str, key: Key = KEY, expect: str | None = None) -> dict[str, Any]:
        box = {"name": self.name, "flags": self.flags, "image": self.tool.image}
        payload = f"#!/bin/bash\n{script}\n".encode()
        node.ask("prepare", payload, key=key, spec={}, expect_run=expect, container=box)
        state: dict[str, Any] = node.ask("commit", key=key)[0]["state"]
        return state

    def inspect(self, what: str) -> str:
        """Empty when there is no such container."""
        return self.tool.inspect(self.name, what)


@pytest.fixture(scope="module", params=["podman", "docker"])
def tool(request: pytest.FixtureRequest) -> Iterator[BoxTool]:
    with box_tool(str(request.param)) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path, tool: BoxTool) -> Iterator[Place]:
    made = Place(tmp_path, tool)
    try:
        yield made
    finally:
        tool.remove(made.name)


@contextlib.contextmanager
def helper_on(place: Place) -> Iterator[Driver]:
    runtime = {"words": place.tool.words, "per": "engine", "container": "none", "python": "python3"}
    with helper(place.base, runtime=runtime) as node:
        yield node


def test_an_engine_has_its_own_container_from_start_to_stop(place: Place) -> None:
    with helper_on(place) as first:
        state = place.launch(first, "echo in $(cat /proc/self/cgroup | wc -l); (sleep 1000 & wait) &\necho $$\nwait")
        assert state["verdict"] == "running"
        assert state["pid"] in carriers(state["token"])
        assert place.inspect("{{.State.Running}}") == "true"
        first.notify("follow", key=KEY, offset=0)
        until_blocking(lambda: bytes(first.logs.get(KEY, b"")).count(b"\n") == 2)
        assert int(bytes(first.logs[KEY]).split()[-1]) != state["pid"], "it has pids of its own"
        with pytest.raises(Refused, match="busy: the engine is held by run r1"):
            place.launch(first, "exit 0", LATER, "r1")
        first.close()
        with helper_on(place) as later:
            adopted = later.until(KEY, "running")
            assert (adopted["pid"], adopted["token"]) == (state["pid"], state["token"])
            result = later.stop(KEY, grace_s=3)[0]
            assert result["outcome"] == "stopped", result
            assert later.until(KEY, "exited")["exit"]["signal"] == 15
            assert place.inspect("{{.State.Running}}") == "", "the container is gone"
            assert not carriers(state["token"])


def test_an_engine_that_fails_leaves_its_container_to_be_looked_at_until_the_next_start(place: Place) -> None:
    with helper_on(place) as node:
        place.launch(node, "echo evidence > /root/dsv4-evidence; exit 7")
        assert node.until(KEY, "exited")["exit"]["code"] == 7
        until_blocking(lambda: place.inspect("{{.State.Running}} {{.State.ExitCode}}") == "false 7")
        state = place.launch(node, "trap '' TERM; while :; do sleep 1; done", LATER, "r1")
        assert place.inspect("{{.State.Running}}") == "true"
        assert node.stop(LATER, grace_s=0.5)[0]["outcome"] == "stopped"
        assert place.inspect("{{.State.Running}}") == ""
        assert not carriers(state["token"])


def test_the_tool_s_own_stop_reaches_the_engine_and_a_killed_supervisor_takes_all_with_it(place: Place) -> None:
    with helper_on(place) as node:
        place.launch(node, "trap 'exit 3' TERM; while :; do sleep 0.1; done")
        place.tool("stop", "-t", "20", place.name)
        assert node.until(KEY, "exited")["exit"]["code"] == 3
        state = place.launch(node, "sleep 1000 & wait", LATER, "r1")
        place.tool("kill", "--signal", "KILL", place.name)
        assert "supervisor ended before" in node.until(LATER, "lost")["reason"]
        assert not carriers(state["token"])


def test_a_stranger_s_container_of_the_same_name_is_left_alone(place: Place) -> None:
    made = place.tool("create", "--name", place.name, *place.tool.flags, place.tool.image, "true")
    assert made.returncode == 0, made.stderr
    with helper_on(place) as node:
        with pytest.raises(Refused, match="exists already, and the console did not create it"):
            place.launch(node, "exit 0")
        assert place.inspect("{{.Name}}").lstrip("/") == place.name


def test_a_missing_image_is_said_with_what_to_do_and_leaves_nothing(place: Place) -> None:
    box = {"name": place.name, "flags": [*LIMITS], "image": "localhost/dsv4-no-such-image:1"}
    with helper_on(place) as node:
        node.ask("prepare", b"#!/bin/bash\n", key=KEY, spec={}, expect_run=None, container=box)
        with pytest.raises(Refused, match=r"was not created: .*(No such image|image not known)") as refused:
            node.ask("commit", key=KEY)
        assert "pull localhost/dsv4-no-such-image:1" in refused.value.hint
        assert place.inspect("{{.Name}}") == ""
        node.ask("discard", key=KEY)


def test_a_program_that_cannot_start_is_refused_and_its_container_removed(place: Place) -> None:
    with helper_on(place) as node:
        box = {"name": place.name, "flags": place.flags, "image": place.tool.image}
        node.ask("prepare", b"#!/no/such/shell\n", key=KEY, spec={}, expect_run=None, container=box)
        with pytest.raises(Refused, match="exec failed: No such file"):
            node.ask("commit", key=KEY)
        assert place.inspect("{{.Name}}") == ""
