"""One exec request on a demo node: a real process in the node's environment, its bytes moved both ways with
back-pressure.

Behaves as OpenSSH does where it matters: closing the channel closes the process's standard input and output and
kills nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import asyncssh

from console.demo import processes

CHUNK = 65536
_TAKE_TERMINAL = 'exec 0<>"$0" 1>&0 2>&0; exec "$@"'
"""The leader of a session gets its controlling terminal by opening it."""


class Children:
    """The processes this server started, told when they end; adopted orphans are collected on the way."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[int]] = {}

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Collect children from now on, in that loop's main thread."""
        loop.add_signal_handler(signal.SIGCHLD, self.collect)

    def collect(self) -> None:
        """Collect every child that has ended."""
        processes.reap_any({pid: self._teller(ended) for pid, ended in self._waiting.items()})

    @staticmethod
    def _teller(ended: asyncio.Future[int]) -> processes.Told:
        def tell(status: int) -> None:
            if not ended.done():
                ended.set_result(os.waitstatus_to_exitcode(status))

        return tell

    def spawn(
        self, argv: list[str], environment: Mapping[str, str], directory: Path, files: tuple[int, int, int]
    ) -> tuple[int, asyncio.Future[int]]:
        """Start a process in its own session; its pid, and its exit code (negative for a signal) once it has
        ended."""
        process = subprocess.Popen(
            argv,
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
        )
        process.returncode = 0  # collected here, not by subprocess
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[process.pid] = ended
        ended.add_done_callback(lambda _: self._waiting.pop(process.pid, None))
        return process.pid, ended


class Session:
    """One command of one SSH channel."""

    def __init__(self, children: Children, environment: Mapping[str, str], home: Path) -> None:
        self._children = children
        self._environment = environment
        self._home = home

    async def run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run the channel's command to its end and report its exit status or signal."""
        if process.term_type is not None:
            await self._run_in_terminal(process)
            return
        stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC)
        stdout_read, stdout_write = os.pipe2(os.O_CLOEXEC)
        stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC)
        theirs = (stdin_read, stdout_write, stderr_write)
        try:
            pid, ended = self._children.spawn(self._argv(process), self._variables(process), self._home, theirs)
        except OSError as error:
            for descriptor in (stdin_write, stdout_read, stderr_read):
                os.close(descriptor)
            process.stderr.write(f"{error}\n".encode())
            process.exit(127)
            return
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        drained = (self._drain(stdout_read, process.stdout), self._drain(stderr_read, process.stderr))
        await self._relay(process, ended, self._feed(process, stdin_write, pid), *drained)

    async def _run_in_terminal(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """The same in a pseudo-terminal, as for a person: output and errors are one stream, and the last reader ends it."""
        ours, theirs = os.openpty()
        _resize(ours, *process.term_size[:2])
        writing = os.dup(ours)
        words = self._argv(process) if process.command is not None else ["/bin/sh", "-i"]
        argv = ["/bin/sh", "-c", _TAKE_TERMINAL, os.ttyname(theirs), *words]
        here = {"TERM": process.term_type or "dumb", "PS1": f"{self._home.parent.name}$ "}
        variables = {**self._variables(process), **here}
        try:
            pid, ended = self._children.spawn(argv, variables, self._home, (theirs, theirs, theirs))
        finally:
            os.close(theirs)
        feed, drain = self._feed(process, writing, pid, ours), self._drain(ours, process.stdout)
        await self._relay(process, ended, feed, drain)

    async def _relay(
        self,
        process: asyncssh.SSHServerProcess[bytes],
        ended: asyncio.Future[int],
        feed: Coroutine[Any, Any, None],
        *drains: Coroutine[Any, Any, None],
    ) -> None:
        """Bytes both ways until the process has ended and all it said is sent; then say how it ended."""
        feeding = asyncio.ensure_future(feed)
        draining = asyncio.gather(*drains)
        try:
            code = await asyncio.shield(ended)
            await draining
            self._report(process, code)
        finally:
            feeding.cancel()
            draining.cancel()
            await asyncio.gather(feeding, draining, return_exceptions=True)

    @staticmethod
    def _argv(process: asyncssh.SSHServerProcess[bytes]) -> list[str]:
        return ["/bin/sh", "-c", process.command] if process.command is not None else ["/bin/sh"]

    def _variables(self, process: asyncssh.SSHServerProcess[bytes]) -> dict[str, str]:
        peer, own = process.get_extra_info("peername"), process.get_extra_info("sockname")
        return {**self._environment, "SSH_CONNECTION": f"{peer[0]} {peer[1]} {own[0]} {own[1]}"}

    async def _feed(
        self, process: asyncssh.SSHServerProcess[bytes], descriptor: int, pid: int, terminal: int = -1
    ) -> None:
        """Channel → standard input, until the channel or the process ends its side."""
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(_Writable, os.fdopen(descriptor, "wb", buffering=0))
        try:
            while not transport.is_closing():
                try:
                    data = await process.stdin.read(CHUNK)
                except asyncssh.SignalReceived as wanted:
                    self._signal(pid, wanted.signal)
                    continue
                except asyncssh.TerminalSizeChanged as wanted:
                    if terminal >= 0:
                        _resize(terminal, wanted.width, wanted.height)
                    continue
                except asyncssh.BreakReceived:
                    continue
                except (asyncssh.Error, ConnectionError):
                    break  # the channel is closed, and so is the input of the process
                if not data:
                    break
                transport.write(data)
                await protocol.drained.wait()
        finally:
            transport.close()

    @staticmethod
    def _signal(pid: int, name: str) -> None:
        number = getattr(signal, f"SIG{name}", None)
        if isinstance(number, signal.Signals):
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                return

    @staticmethod
    async def _drain(descriptor: int, out: asyncssh.SSHWriter[bytes]) -> None:
        """Output of the process → channel, no faster than the channel takes it; closes the pipe when the channel
        is gone."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=CHUNK)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        try:
            while data := await reader.read(CHUNK):
                out.write(data)
                await out.drain()
        except (asyncssh.Error, ConnectionError):
            return  # the channel is closed: nobody reads any more
        except OSError:
            return  # no process has the terminal open any more
        finally:
            transport.close()

    @staticmethod
    def _report(process: asyncssh.SSHServerProcess[bytes], code: int) -> None:
        if code >= 0:
            process.exit(code)
        else:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))


def _resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class _Writable(asyncio.Protocol):
    """Knows whether a pipe takes more."""

    def __init__(self) -> None:
        self.drained = asyncio.Event()
        self.drained.set()

    def pause_writing(self) -> None:
        self.drained.clear()

    def resume_writing(self) -> None:
        self.drained.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.drained.set()
