"""Pushes what logs grow by, by byte offset, in turns and on credit, so that a flood starves no other log.

Only bytes and offsets: what they say does not enter here. The reader keeps the offset; a log that shrank, whose bytes changed
where they were read, or that is another file than before is said to be so and read from its start.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Callable, Dict, List, Optional

from console.node.request_error import RequestError, of_os
from console.node.run_dirs import Base, Key
from console.node.runs import LOG
from console.node.threads import start

TURN_BYTES = 128 * 1024
"""Most a log may send before it is another's turn."""
WINDOW_BYTES = 1024 * 1024
"""Most of one log that may be on its way or waiting at the reader."""
POLL_S = 0.05
QUIET_POLL_S = 0.1
QUIET_AFTER_S = 5.0
"""Logs in which nothing has moved for so long are looked at half as often."""
IDENTITY_S = 1.0
"""How often a followed path is checked to be the file that is open, and the file to have what was read of it."""
HEAD_BYTES = 1024
LAST_BYTES = 256
"""Of what was read, the first and the last bytes are compared: a log that is written anew starts with other times."""

Push = Callable[[Dict[str, object], bytes], None]


class LogTail:
    """One followed log."""

    def __init__(self, key: Key, locate: Callable[[], str], offset: int, fingerprint: bytes) -> None:
        self.key = key
        self.locate = locate
        """Asked anew for every look at the path: inside a container it changes with the container's main process."""
        self.offset = offset
        self.head = fingerprint
        """The first bytes of what the reader has."""
        self.last = b""
        """The last ones, before the offset."""
        self.credit = WINDOW_BYTES
        self.descriptor = -1
        self.restarted = ""
        self.checked_at = 0.0
        self.error = ""

    def close(self) -> None:
        """Let the file go."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def read(self) -> Optional[Dict[str, object]]:
        """The next piece, `data` in it; None when there is nothing to say. Raises OSError, Refusal."""
        if self.descriptor < 0 and not self._open():
            return None
        now = time.monotonic()
        if now - self.checked_at > IDENTITY_S:
            self.checked_at = now
            if self._replaced():
                self.close()
                self._restart("replaced")
                return None
            if self._rewritten():
                self._restart("rewritten")
        size = os.fstat(self.descriptor).st_size
        if size < self.offset:
            self._restart("truncated")
        data = os.pread(self.descriptor, min(TURN_BYTES, self.credit), self.offset) if self.credit > 0 else b""
        if not data and not self.restarted:
            return None
        piece: Dict[str, object] = {"offset": self.offset, "size": size, "restarted": self.restarted, "data": data}
        if self.offset == len(self.head):
            self.head += data[: HEAD_BYTES - len(self.head)]
        self.last = (self.last + data)[-LAST_BYTES:]
        self.offset += len(data)
        self.credit -= len(data)
        self.restarted = ""
        return piece

    def _restart(self, why: str) -> None:
        self.offset, self.restarted = 0, why
        self.head = self.last = b""

    def _open(self) -> bool:
        try:
            self.descriptor = os.open(self.locate(), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        self.checked_at = time.monotonic()
        if self.head and os.pread(self.descriptor, len(self.head), 0) != self.head:
            shorter = os.fstat(self.descriptor).st_size < self.offset
            self._restart("truncated" if shorter else "replaced")
        return True

    def _rewritten(self) -> bool:
        """Whether other bytes are where bytes were read that the reader has."""
        head = os.pread(self.descriptor, len(self.head), 0)
        last = os.pread(self.descriptor, len(self.last), self.offset - len(self.last))
        return (head, last) != (self.head, self.last) and len(head) == len(self.head) and len(last) == len(self.last)

    def _replaced(self) -> bool:
        try:
            there = os.lstat(self.locate())
        except FileNotFoundError:
            return False
        here = os.fstat(self.descriptor)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


class LogTails:
    """All followed logs of one helper, in one thread."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self._tails: Dict[Key, LogTail] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def start(self) -> None:
        """Begin to push."""
        start("tails", self._run)

    def follow(self, base: Callable[[], Base], key: Key, offset: int, fingerprint: bytes) -> None:
        """Push a log from `offset` on; `fingerprint` is the head of what the reader has already."""
        tail = LogTail(key, lambda: base().file(key, LOG), max(0, offset), fingerprint)
        with self._lock:
            before = self._tails.get(key)
            self._tails[key] = tail
        if before is not None:
            before.close()
        self._wake.set()

    def unfollow(self, key: Key) -> None:
        """Push it no more."""
        with self._lock:
            tail = self._tails.pop(key, None)
        if tail is not None:
            tail.close()

    def add_credit(self, key: Key, count: int) -> None:
        """The reader has stored that many bytes."""
        with self._lock:
            tail = self._tails.get(key)
            if tail is not None:
                tail.credit = min(WINDOW_BYTES, tail.credit + max(0, count))
        self._wake.set()

    def _run(self) -> None:
        moved_at = 0.0
        while True:
            with self._lock:
                tails: List[LogTail] = list(self._tails.values())
            moved = False
            for tail in tails:
                moved = self._turn(tail) or moved
            now = time.monotonic()
            if moved:
                moved_at = now
            else:
                quiet = QUIET_POLL_S if now - moved_at > QUIET_AFTER_S else POLL_S
                self._wake.wait(quiet if tails else 1.0)
                self._wake.clear()

    def _turn(self, tail: LogTail) -> bool:
        try:
            with self._lock:
                piece = tail.read() if self._tails.get(tail.key) is tail else None
        except (OSError, RequestError) as error:
            refusal = error if isinstance(error, RequestError) else of_os(error, "log of %s" % tail.key.engine)
            text = str(refusal)
            if text != tail.error:
                tail.error = text
                self._push({"push": "log-error", "key": list(tail.key), "message": text}, b"")
            return False
        if piece is None:
            return False
        data = piece.pop("data")
        assert isinstance(data, bytes)
        self._push(dict(piece, push="log", key=list(tail.key)), data)
        return bool(data)
