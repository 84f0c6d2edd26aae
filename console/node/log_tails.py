"""Pushes new bytes of logs by offset, in turns and with credit, so that a fast log does not delay the others.

The reader keeps the offset. A log that shrank, that has other bytes than before, or that is another file is reported and read
from its start. Does not interpret the bytes.
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
"""Most bytes of a log in one turn."""
WINDOW_BYTES = 1024 * 1024
"""Most bytes of one log that are in transfer or wait at the reader."""
POLL_S = 0.05
QUIET_POLL_S = 0.1
QUIET_AFTER_S = 5.0
"""Logs without new bytes for this time are checked half as often."""
IDENTITY_S = 1.0
"""Time between two checks that a path is still the open file and that its bytes have not changed."""
HEAD_BYTES = 1024
LAST_BYTES = 256
"""Number of first and last bytes that are compared, because a new log starts with other times."""

Push = Callable[[Dict[str, object], bytes], None]


class LogTail:
    """One followed log."""

    def __init__(self, key: Key, locate: Callable[[], str], offset: int, fingerprint: bytes) -> None:
        self.key = key
        self.locate = locate
        """Gives the path for every access, because the path into a container changes with its main process."""
        self.offset = offset
        self.head = fingerprint
        """The first bytes that the reader has."""
        self.last = b""
        """The last bytes before the offset."""
        self.credit = WINDOW_BYTES
        self.descriptor = -1
        self.restarted = ""
        self.checked_at = 0.0
        self.error = ""

    def close(self) -> None:
        """Close the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def read(self) -> Optional[Dict[str, object]]:
        """The next message, with `data`; None when there is nothing new. Raises OSError, RequestError."""
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
        """Whether the bytes that the reader has were changed in the file."""
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
        """Start to push."""
        start("tails", self._run)

    def follow(self, base: Callable[[], Base], key: Key, offset: int, fingerprint: bytes) -> None:
        """Push a log from `offset` on; `fingerprint` is the start of the copy of the reader."""
        tail = LogTail(key, lambda: base().file(key, LOG), max(0, offset), fingerprint)
        with self._lock:
            before = self._tails.get(key)
            self._tails[key] = tail
        if before is not None:
            before.close()
        self._wake.set()

    def unfollow(self, key: Key) -> None:
        """Stop to push a log."""
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
