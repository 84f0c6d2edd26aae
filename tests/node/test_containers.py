"""Engines inside a real container: launched, seen, followed and stopped, with its own processes and its own files."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container_tools import BoxTool, box_tool
from tests.node.driver import Driver, Key, Refused, carriers, helper
from tests.waiting import until_blocking

KEY: Key = ("dep", "decode-5", "r1")
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=["podman", "docker"])
def tool(request: pytest.FixtureRequest) -> Iterator[BoxTool]:
    with box_tool(str(request.param)) as found:
        yield found


@contextlib.contextmanager
def container(tool: BoxTool, *flags: str) -> Iterator[str]:
    """A running container with processes of its own."""
    name = f"dsv4-test-{uuid.uuid4().hex[:8]}"
    try:
        made = tool("run", "-d", "--name", name, "--net=host", *flags, *tool.flags, tool.image, "sleep", "1000")
        assert made.returncode == 0, made.stderr
        yield name
    finally:
        tool.remove(name)


@pytest.fixture(params=["bind-mounted", "inside only"])
def place(request: pytest.FixtureRequest, tmp_path: Path, tool: BoxTool) -> Iterator[tuple[str, Path]]:
    """A container and a base directory that both sides share, or that only the container has."""
    if request.param == "bind-mounted":
        (tmp_path / "shared").mkdir()
        with container(tool, "-v", f"{tmp_path / 'shared'}:{tmp_path / 'shared'}") as name:
            yield name, tmp_path / "shared" / "base"
    else:
        with container(tool) as name:
            yield name, Path(f"/var/tmp/dsv4-test-{uuid.uuid4().hex[:8]}")


def inside(tool: BoxTool, name: str, base: Path) -> Driver:
    return Driver(base, runtime={"words": tool.words, "container": name, "python": "python3"})


@contextlib.contextmanager
def helper_in(tool: BoxTool, name: str, base: Path) -> Iterator[Driver]:
    driver = inside(tool, name, base)
    try:
        yield driver
    finally:
        driver.close()


def test_an_engine_in_a_container_lives_and_ends_like_any_other(place: tuple[str, Path], tool: BoxTool) -> None:
    name, base = place
    tree = "echo pid $$\n(sleep 1000 & echo worker; wait) &\nwait"
    with helper_in(tool, name, base) as node:
        state = node.launch(KEY, tree)
        assert state["verdict"] == "running"
        assert state["pid"] in carriers(state["token"]), "the pid is the host's"
        node.notify("follow", key=KEY, offset=0)
        until_blocking(lambda: bytes(node.logs.get(KEY, b"")).count(b"\n") == 2)
        inner = int(bytes(node.logs[KEY]).split()[1])
        assert inner != state["pid"], "the container has pids of its own"
        with pytest.raises(Refused, match="busy: the engine is held by run r1"):
            node.launch(("dep", "decode-5", "r2"), "exit 0", "r1")
    with helper_in(tool, name, base) as later:
        adopted = later.until(KEY, "running")
        assert (adopted["pid"], adopted["token"]) == (state["pid"], state["token"])
        result = later.stop(KEY, grace_s=2)[0]
        assert result["outcome"] == "stopped", result
        assert not carriers(state["token"])
        ended = later.until(KEY, "exited")
        assert ended["exit"]["signal"] == 15


def test_a_container_that_is_removed_leaves_a_lost_run(tmp_path: Path, tool: BoxTool) -> None:
    (tmp_path / "shared").mkdir()
    base = tmp_path / "shared" / "base"
    with (
        container(tool, "-v", f"{tmp_path / 'shared'}:{tmp_path / 'shared'}") as name,
        helper_in(tool, name, base) as node,
    ):
        state = node.launch(KEY, "exec sleep 1000")
        tool.remove(name)
        node.until(KEY, "lost")
        assert not carriers(state["token"])
        with pytest.raises(Refused, match="there is no container"):
            node.prepare(("dep", "decode-5", "r2"), "exit 0", "r1")


def test_a_container_tool_that_is_missing_says_so(tmp_path: Path) -> None:
    runtime = {"words": ["no-such-docker"], "container": "x", "python": "python3"}
    with helper(tmp_path / "base", runtime=runtime) as node:
        until_blocking(lambda: "no-such-docker cannot be run" in node.error)


def test_a_log_that_only_the_container_has_is_found_again_after_it_restarted(tool: BoxTool) -> None:
    base = Path(f"/var/tmp/dsv4-test-{uuid.uuid4().hex[:8]}")
    with container(tool) as name:
        with helper_in(tool, name, base) as node:
            node.launch(KEY, "echo one; exit 0")
            node.until(KEY, "exited")
        tool("stop", "-t", "0", name)
        with helper_in(tool, name, base) as later:
            later.notify("follow", key=KEY, offset=0)
            until_blocking(lambda: later.pushes)
            tool("start", name)
            until_blocking(lambda: bytes(later.logs.get(KEY, b"")) == b"one\n", 20)
            later.launch(("dep", "decode-5", "r2"), "echo two; exit 0", "r1")
            later.notify("follow", key=("dep", "decode-5", "r2"), offset=0)
            until_blocking(lambda: bytes(later.logs.get(("dep", "decode-5", "r2"), b"")) == b"two\n")
