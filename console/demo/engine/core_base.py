"""What the two halves of an engine core share: who it is, its line to the group, its workers. No decisions."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import NoReturn

from console.demo.engine.failures import Faults
from console.demo.engine.json_lines import Line
from console.demo.engine.log_lines import Frame, Log
from console.demo.engine.serve_config import Launch
from console.demo.tools.demo_node import DemoNode

PEER_GONE = (
    "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:25482. This is typically caused by a remote"
    " worker crashing. Check the logs of the remote worker before reporting an error."
)
"""What torch's gloo says in a rank that loses a peer (captured from vLLM 0.21 with data parallel ranks on the CPU)."""
WORKER_WAIT_S = 4.0
"""How long workers get to leave before KILL (vLLM 0.21 v1/executor/multiproc_executor.py)."""


class CoreFailed(Exception):
    """The core cannot go on; the text is its last line."""

    def __init__(self, error: str, frames: tuple[Frame, ...] = ()) -> None:
        super().__init__(error)
        self.frames = frames


@dataclass(slots=True)
class Child:
    """A worker process as its core sees it."""

    pid: int
    line: Line
    buffer: bytes = b""
    ready: bool = False

    def tell(self, word: str) -> None:
        """Send a word; another place notices a worker that has gone."""
        with contextlib.suppress(OSError):
            self.line.socket.sendall(word.encode() + b"\n")

    def report_lost_peer(self) -> None:
        """Make the worker report that a peer has gone, and wait for the report."""
        self.tell("lost")
        with contextlib.suppress(OSError):
            self.line.socket.settimeout(2.0)
            self.line.socket.recv(64)


@dataclass(slots=True)
class Seat:
    """One engine core's place in the group."""

    launch: Launch
    node: DemoNode
    rank: int
    local: int
    faults: Faults
    process: int
    """Pid of the `vllm serve` process."""
    log: Log
    hub: Line | None = None
    """The coordinator; None without data parallelism."""
    lost: int | None = None
    """A rank that left the group."""
    stepping: bool = False
    """Whether the group was computing when it left: a step of every other rank fails then, else their next."""
    workers: list[Child] = field(default_factory=list)

    @property
    def member(self) -> int:
        """Its number among all processes of the rendezvous: the rank, or the count of parts before it."""
        return self.rank * self.launch.parts + self.launch.part

    def listen_hub(self) -> bool:
        """Read the messages of the coordinator; gives whether the coordinator has gone."""
        if self.hub is None:
            return False
        for message in self.hub.receive():
            if "lost" in message:
                self.lost = int(str(message["lost"]))
                self.stepping = bool(message.get("stepping"))
        if not self.hub.open:
            self.lost = 0
        return not self.hub.open

    def end_workers(self, *, told: bool = False) -> None:
        """Close every worker's line, wait until they have gone, KILL those that stay; `told`: an operator wants the end."""
        for child in self.workers:
            if told:
                child.tell("stop")
            child.line.close()
        deadline = time.monotonic() + WORKER_WAIT_S
        left = {child.pid for child in self.workers}
        while left:
            left = {pid for pid in left if not gone(pid)}
            if left and time.monotonic() > deadline:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a child of ours has ended; collects it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def leave(code: int) -> NoReturn:
    """End a forked process without running what its parent registered."""
    sys.stdout.flush()
    os._exit(code)
