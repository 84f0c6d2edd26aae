"""A program in a real pseudo-terminal, with its screen kept by pyte: what an operator's terminal would show, byte for byte."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """One program and its terminal."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        size: tuple[int, int] = (80, 24),
        reported: tuple[int, int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`reported` is the size that the program is told, when it is another one than that of the screen."""
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.received = bytearray()
        self.total = 0
        self._unread = 0
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *reversed(reported or size), 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        variables = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})}
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env=variables,
            start_new_session=True,
            close_fds=True,
        )

    @classmethod
    def of_module(cls, module: str, *words: str, size: tuple[int, int] = (80, 24), **variables: str) -> Terminal:
        """A module of ours, run by this interpreter."""
        return cls([sys.executable, "-m", module, *words], size=size, environment=variables)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Take the terminal away, as a lost connection or a closed window does. The program gets no signal for it."""
        for end in (self._master, self._slave):
            if end >= 0:
                os.close(end)
        self._master = self._slave = -1

    def pump(self, seconds: float = 0.05) -> int:
        """Take what the program writes within a time; gives how many bytes."""
        before = self.total
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._master], [], [], left)
            if not ready:
                break
            data = os.read(self._master, 65536)
            self.total += len(data)
            self.received += data
            self._stream.feed(data)
        return self.total - before

    def is_full(self) -> bool:
        """Whether much is unread and the program has added nothing since the last call."""
        before = self._unread
        self._unread = struct.unpack("i", fcntl.ioctl(self._master, termios.FIONREAD, b"\0" * 4))[0]
        select.select([], [], [], 0.5)
        return self._unread > 2048 and self._unread == before

    def text(self) -> str:
        """The screen."""
        return "\n".join(self.screen.display)

    def send(self, data: bytes | str) -> None:
        """Keys or raw bytes."""
        os.write(self._master, data.encode() if isinstance(data, str) else data)

    def sees(self, what: str | Callable[[], object], timeout_s: float = 20.0) -> None:
        """Wait until a text is on the screen, or something is true."""
        end = time.monotonic() + timeout_s
        while not (what in self.text() if isinstance(what, str) else what()):
            assert time.monotonic() < end, f"never saw {what!r} on\n{self.text()}"
            assert self.process.poll() is None or not isinstance(what, str), (
                f"ended with {self.process.poll()}:\n{self.text()}"
            )
            self.pump()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone."""
        os.kill(self.process.pid, number)

    def ended(self, timeout_s: float = 20.0) -> int:
        """Wait for its end; gives the exit code."""
        end = time.monotonic() + timeout_s
        while self.process.poll() is None:
            assert time.monotonic() < end, f"does not end:\n{self.text()}"
            self.pump()
        self.pump()
        return self.process.returncode

    def attributes(self) -> list[object]:
        """The terminal's modes now."""
        return list(termios.tcgetattr(self._slave))
