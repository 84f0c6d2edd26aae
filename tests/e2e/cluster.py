"""Four OpenSSH nodes with the simulated tools on PATH, and what must be true of them when all is over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from console.demo import processes
from console.demo.tools import install_tools
from tests.docs.outputs import must_fit
from tests.sshd import SshNode, SshNodes, running_nodes

NAMES = ("p0", "p1", "d0", "d1")
SPEED = 60.0
BLOCK = 4
"""Addresses set aside for one lab."""


@dataclass
class Lab:
    """The nodes, the cluster file, and a state directory of the console's own."""

    nodes: SshNodes
    file: Path
    state: Path
    names: tuple[str, ...] = NAMES

    def node(self, name: str) -> SshNode:
        """The daemon of a node."""
        return self.nodes.nodes[self.names.index(name)]

    def fail(self, name: str, selector: str, kind: str) -> None:
        """Plant a failure; see `console.demo.engine.failures`."""
        (self.node(name).root / "fail" / selector).write_text(kind + "\n")

    def environment(self) -> dict[str, str]:
        """Of a console on this lab."""
        return {**os.environ, "XDG_STATE_HOME": str(self.state), "PYTHONUNBUFFERED": "1"}

    def console(self, *words: str, timeout_s: float = 100.0) -> subprocess.CompletedProcess[str]:
        """Run one command of the console to its end."""
        command = [sys.executable, "-m", "console", *words[:1], "--cluster", str(self.file), *words[1:]]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=self.environment(), check=False
        )
        must_fit(words, done.stdout)
        return done

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command of the console."""
        command = [sys.executable, "-m", "console", *words[:1], "--cluster", str(self.file), *words[1:]]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment()
        )

    def marked(self) -> list[int]:
        """Processes on any node that carry a cookie of ours."""
        found = (pid for node in self.nodes.nodes for pid in processes.marked("DSV4_DEMO_DIR", str(node.root)))
        return [pid for pid in found if _cookie(pid)]


def _cookie(pid: int) -> bool:
    try:
        return b"\0DSV4_RUN=" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


@contextlib.contextmanager
def _addresses(count: int) -> Iterator[int]:
    """The last number of the first of `count` addresses in 127.0.0.0/24 that no other lab on this machine has.

    The engines' ports are fixed, so labs side by side need addresses of their own; a file lock keeps them apart.
    """
    assert count <= BLOCK
    folder = Path(tempfile.gettempdir()) / f"dsv4-labs-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(100, 200, BLOCK):
        with (folder / str(first)).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield first
            return
    raise RuntimeError("every block of addresses is taken by a lab")


@contextlib.contextmanager
def lab(root: Path, *, hardware: str = "a3", names: tuple[str, ...] = NAMES, speed: float = SPEED) -> Iterator[Lab]:
    """Nodes up, from here to the end; nothing they started outlives it. Engines start `speed` times as fast as real ones."""

    def environment(node: SshNode) -> Mapping[str, str]:
        return install_tools(node.bin, node.root, hardware=hardware, address=node.host, speed=speed)

    with (
        _addresses(len(names)) as first,
        running_nodes(root, len(names), environment=environment, first=first) as nodes,
    ):
        written = {
            "name": "lab",
            "defaults": {"hardware": hardware, "nic": "lo", "identity": str(nodes.identity)},
            "ssh": {"config": str(nodes.config), "known_hosts": str(nodes.known_hosts)},
            "nodes": {
                name: {"host": node.host, "port": node.port, "ip": node.host, "base": str(node.base)}
                for name, node in zip(names, nodes.nodes, strict=True)
            },
        }
        file = root / "cluster.yaml"
        file.write_text(yaml.safe_dump(written, sort_keys=False))
        made = Lab(nodes, file, root / "state", names)
        try:
            yield made
        finally:
            for pid in made.marked():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
