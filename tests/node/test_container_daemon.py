"""What docker's daemon may do while engines run: be away, answer nothing, be killed, come back and have ended its containers.

Also what a container may be that engines shall run in: paused, absent, without an interpreter, of another user's daemon.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.container_tools import BoxTool, Daemon, box_tool
from tests.node.driver import Driver, Key, Refused, carriers
from tests.waiting import until_blocking

KEY: Key = ("dep", "decode-5", "r1")
LATER: Key = ("dep", "decode-5", "r2")
LIVES = "sleep 1000 & wait"
pytestmark = pytest.mark.timeout(180)


class Place:
    """A container that all engines run in, and helpers that know it."""

    def __init__(self, tool: BoxTool, directory: Path, ending: ExitStack) -> None:
        self.tool = tool
        self.base = directory / "base"
        self.name = f"dsv4-test-{uuid.uuid4().hex[:8]}"
        self.own = f"{self.name}-own"
        self._mount = ["--net=host", "-v", f"{directory}:{directory}", *tool.flags]
        self._ending = ending
        made = tool("run", "-d", "--name", self.name, *self._mount, tool.image, "sleep", "1000")
        assert made.returncode == 0, made.stderr
        ending.callback(lambda: tool.remove(self.name, self.own))

    @property
    def daemon(self) -> Daemon:
        """That of docker."""
        assert self.tool.daemon is not None
        return self.tool.daemon

    def helper(self, base: Path | None = None, python: str = "python3", per: str = "node", name: str = "") -> Driver:
        """Another console's."""
        runtime = {"words": self.tool.words, "container": name or self.name, "python": python, "per": per}
        return self._ending.enter_context(_closing(Driver(base or self.base, runtime=runtime)))

    def launch_own(self, node: Driver, key: Key, expect: str | None = None) -> None:
        """Of `per: engine`."""
        box = {"name": self.own, "flags": self._mount, "image": self.tool.image}
        script = f"#!/bin/bash\n{LIVES}\n".encode()
        node.ask("prepare", script, key=key, spec={}, expect_run=expect, container=box)
        node.ask("commit", key=key)


@contextmanager
def _closing(driver: Driver) -> Iterator[Driver]:
    try:
        yield driver
    finally:
        driver.close()


@contextmanager
def made_place(kind: str, directory: Path) -> Iterator[Place]:
    with box_tool(kind) as tool, ExitStack() as ending:
        yield Place(tool, directory, ending)


@pytest.fixture(params=["podman", "docker"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with made_place(str(request.param), tmp_path) as made:
        yield made


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Place]:
    with made_place("docker", tmp_path) as made:
        yield made


def test_engines_are_seen_and_ended_while_the_daemon_is_away(docker: Place) -> None:
    first, own = docker.helper(), docker.helper(docker.base / "own", per="engine")
    token = first.launch(KEY, LIVES)["token"]
    docker.launch_own(own, KEY)
    docker.daemon.end(signal.SIGKILL)
    assert docker.helper().until(KEY, "running")["token"] == token
    assert first.stop(KEY, grace_s=1)[0]["outcome"] == "stopped"
    with pytest.raises(Refused, match="Cannot connect to the Docker daemon"):
        first.launch(LATER, LIVES, "r1")

    (ended,) = own.stop(KEY, grace_s=1)
    assert (ended["outcome"], ended["processes"]) == ("stuck", []), "its container is still there"
    assert "Cannot connect to the Docker daemon" in ended["reason"]
    with pytest.raises(Refused, match=f"container {docker.own} cannot be inspected: Cannot connect"):
        docker.launch_own(own, LATER, "r1")

    docker.daemon.start()
    assert docker.tool.inspect(docker.own, "{{.State.Running}}") == "false"
    own.ask("commit", key=LATER)
    assert own.until(LATER, "running")


def test_a_daemon_that_answers_nothing_holds_up_no_stop(docker: Place) -> None:
    first = docker.helper()
    token = first.launch(KEY, LIVES)["token"]
    process = docker.daemon.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        later = docker.helper()
        until_blocking(lambda: later.verdict(KEY) == "running", 30)
        assert later.stop(KEY, grace_s=1)[0]["outcome"] == "stopped"
        assert not carriers(token)
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_daemon_that_restarts_takes_its_containers_along_and_that_is_said(docker: Place) -> None:
    first, own = docker.helper(), docker.helper(docker.base / "own", per="engine")
    first.launch(KEY, LIVES)
    docker.launch_own(own, KEY)
    docker.daemon.end(signal.SIGKILL)
    docker.daemon.start()
    assert "was its container stopped or restarted?" in first.until(KEY, "lost")["reason"]
    assert own.until(KEY, "exited")["exit"]["signal"] == 15, "the daemon's TERM is passed on, and the end recorded"


@pytest.mark.parametrize("act", ["kill", "rm -f", "restart -t 1", "stop -t 1"])
def test_what_somebody_does_to_the_container_never_hides_its_runs(place: Place, act: str) -> None:
    node = place.helper()
    token = node.launch(KEY, f"trap '' TERM; {LIVES}; wait")["token"]
    node.until(KEY, "running")
    before = len(node.pushes)
    place.tool(*act.split(), place.name)
    assert "was its container stopped or restarted?" in node.until(KEY, "lost")["reason"]
    lists = [each["runs"] for each in node.pushes[before:] if each["push"] == "runs"]
    assert lists
    assert all(lists), "a run that was there is in every list"
    assert not carriers(token)


def test_a_paused_container_is_named_where_no_signal_ends_its_processes(place: Place) -> None:
    node = place.helper()
    token = node.launch(KEY, LIVES)["token"]
    if place.tool("pause", place.name).returncode != 0:
        pytest.skip("containers cannot be paused here")
    (ended,) = node.stop(KEY, grace_s=0.5, kill_s=0.5)
    if ended["outcome"] == "stuck":  # in control groups of version 1; in version 2 KILL ends what is frozen
        assert ended["reason"] == f"container {place.name} is paused: its processes end once it is unpaused"
    place.tool("unpause", place.name)
    until_blocking(lambda: not carriers(token))


def test_containers_that_cannot_take_an_engine_are_told_apart(place: Place) -> None:
    with pytest.raises(Refused, match="there is no container no-such-box") as absent:
        place.helper(name="no-such-box").launch(KEY, LIVES)
    assert "containers create" in absent.value.hint
    with pytest.raises(Refused, match=r"did not start \(exit 12[67]\): .*executable file .*not found"):
        place.helper(python="python3.99").launch(KEY, LIVES)
    place.tool("stop", "-t", "0", place.name)
    with pytest.raises(Refused, match=f"container {place.name} is not running: it is exited"):
        place.helper(place.base / "other").launch(KEY, LIVES)
