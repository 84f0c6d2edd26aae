"""Writes to the terminal in a thread of its own, so that nothing waits for it; ends when the terminal closes.

A terminal that stays but does not read (a laptop asleep behind plain SSH, a held screen) must not hold up plans, links and
keys. What it cannot take is not kept: it gets a whole new frame once it reads again. What frames show is not known here.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO

MOST_BYTES = 128 * 1024
"""The most that waits for a terminal; beyond it a new frame is better."""
SHORT = 24
"""Text up to this length switches modes (cursor, mouse, screen) and is never thrown away."""
LATE_S = 0.2
"""A terminal that has not taken what waits for so long is late: drawing more would only lengthen the queue."""
LEAVE_S = 1.0
"""How long the end waits for a terminal that does not read."""
PIECE = 4096


class TerminalWriter(threading.Thread):
    """Takes text at once, writes it when the terminal takes it; stands in for Textual's `WriterThread`."""

    def __init__(self, file: IO[str], gone: Callable[[], None], drained: Callable[[bool], None]) -> None:
        """`gone` is called when a write fails, `drained(lost)` when a late terminal has caught up; both from this thread."""
        super().__init__(daemon=True, name="terminal-output")
        self._file = file
        self._gone = gone
        self._drained = drained
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._since = 0.0
        """When the oldest of what waits came; 0.0 when nothing does."""
        self._late = self._lost = self._ending = False
        self._open = True

    def write(self, text: str) -> None:
        """Have it written; never blocks."""
        data = text.encode("utf-8", "replace")
        with self._changed:
            if not self._open or (self._lost and len(data) > SHORT):
                return
            if self._size + len(data) > MOST_BYTES and self._size:
                self._throw_away()
                if len(data) > SHORT:
                    return
            self._waiting.append(data)
            self._size += len(data)
            self._since = self._since or time.monotonic()
            self._changed.notify()

    def _throw_away(self) -> None:
        """Keep only what switches modes; the piece that is being written goes on, or a sequence would be cut."""
        head = [self._waiting[0]] if self._waiting else []
        self._waiting = deque([*head, *(each for each in list(self._waiting)[1:] if len(each) <= SHORT)])
        self._size = sum(map(len, self._waiting))
        self._lost = True

    @property
    def late(self) -> bool:
        """Whether the terminal does not keep up with what it is sent."""
        with self._changed:
            self._late |= self._lost or (self._since > 0 and time.monotonic() - self._since > LATE_S)
            return self._late

    def flush(self) -> None:
        """Nothing: the thread sends as soon as it can."""

    def isatty(self) -> bool:
        """As a terminal's file says."""
        return True

    def fileno(self) -> int:
        """The terminal's own."""
        return self._file.fileno()

    def stop(self) -> None:
        """End, when all is written or when the terminal has had its time."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self.join(LEAVE_S)

    def run(self) -> None:
        """Write until the end."""
        descriptor = _own_descriptor(self._file.fileno())
        try:
            while (data := self._next()) is not None:
                if not self._send(descriptor, data):
                    return
                self._took(len(data))
        finally:
            os.close(descriptor)

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._waiting:
                if self._ending:
                    return None
                self._changed.wait()
            return self._waiting[0]

    def _took(self, size: int) -> None:
        with self._changed:
            self._waiting.popleft()
            self._size -= size
            self._since = time.monotonic() if self._waiting else 0.0
            if self._waiting or not (self._late or self._lost):
                return
            lost = self._lost
            self._late = self._lost = False
        self._drained(lost)

    def _send(self, descriptor: int, data: bytes) -> bool:
        """Write all of it, however long the terminal takes; False when there is no terminal any more."""
        left = memoryview(data)
        ready = select.poll()
        ready.register(descriptor, select.POLLOUT)
        while left:
            try:
                if ready.poll(200):
                    left = left[os.write(descriptor, left[:PIECE]) :]
            except BlockingIOError:
                continue
            except OSError:
                with self._changed:
                    self._open = False
                self._gone()
                return False
        return True


def _own_descriptor(terminal: int) -> int:
    """A descriptor that a write never blocks on. The terminal's own is shared with the shell and keeps its modes."""
    try:
        return os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return os.dup(terminal)
