"""The helper, the console's process on a node: answers requests, pushes new data, and exits when its stdin closes.

It has no state that matters: killing it loses nothing. Each long request has its own thread; writes are serialized.
`request_handlers` knows the requests.
"""

from __future__ import annotations

import os
import platform
import pwd
import socket
import sys
import threading
import time
from typing import Any, BinaryIO, Dict

from console.node import time_zones
from console.node.frames import MARKER, FrameError, Header, pack, read_frame
from console.node.processes import boot_id
from console.node.request_error import RequestError
from console.node.request_handlers import RequestHandlers
from console.node.threads import start

MAX_AT_ONCE = 64
"""Most requests at the same time; more are refused."""


def main(sources: Dict[str, str]) -> None:
    """Serve the console at the other end of stdin and stdout. Never returns."""
    Helper(sys.stdin.buffer, sys.stdout.buffer, sources).serve()


class Helper:
    """One helper on its two streams."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, sources: Dict[str, str]) -> None:
        self._in = incoming
        self._out = outgoing
        self._writing = threading.Lock()
        self._at_once = threading.Semaphore(MAX_AT_ONCE)
        self._requests = RequestHandlers(self.push, sources)

    def serve(self) -> None:
        """Serve until stdin closes or sends invalid data; then kill running commands and exit without waiting for threads."""
        self._write(MARKER)
        self.push(hello(), b"")
        status = 0
        try:
            while True:
                frame = read_frame(self._in)
                if frame is None:
                    break
                self._take(*frame)
        except FrameError as error:
            sys.stderr.write("dsv4-console helper: %s\n" % error)
            status = 1
        finally:
            self._requests.close()
            os._exit(status)

    def push(self, header: Dict[str, Any], payload: bytes) -> None:
        """Send a frame. The helper exits when the reader has gone."""
        self._write(pack(header, payload))

    def _write(self, data: bytes) -> None:
        try:
            with self._writing:
                self._out.write(data)
                self._out.flush()
        except OSError:
            self._requests.close()
            os._exit(0)

    def _take(self, header: Header, payload: bytes) -> None:
        """Handle messages without a reply, and `watch`, at once and in order; handle other requests in a thread each."""
        if self._requests.notice(header, payload):
            return
        if header.get("op") == "watch":
            reply, data = self._requests.reply(header, payload)
            if not reply["ok"]:
                self.push(dict(reply, push="refused"), data)
            return
        if not self._at_once.acquire(blocking=False):
            full = RequestError("busy", "the helper already handles %d requests" % MAX_AT_ONCE)
            self.push(dict(full.reply(), id=header.get("id")), b"")
            return
        start("request", self._answer, header, payload)

    def _answer(self, header: Header, payload: bytes) -> None:
        try:
            reply, data = self._requests.reply(header, payload)
        finally:
            self._at_once.release()
        try:
            frame = pack(dict(reply, id=header.get("id")), data)
        except FrameError as error:
            told = RequestError("os", "the answer cannot be sent: %s" % error)
            frame = pack(dict(told.reply(), id=header.get("id")))
        self._write(frame)


def hello() -> Dict[str, Any]:
    """The first frame."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return {
        "push": "hello",
        "hostname": socket.gethostname(),
        "boot_id": boot_id(),
        "uid": os.geteuid(),
        "user": user,
        "python": platform.python_version(),
        "clock": time.time(),
        "zone": time_zones.table(time.time()),
    }
