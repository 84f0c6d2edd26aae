"""Reads one HTTP/1.1 answer as its bytes arrive. Bounded: head, chunk lines and trailers. Does no I/O and follows no redirect."""

from __future__ import annotations

from typing import Callable, Dict, Optional

MAX_HEAD = 64 * 1024
MAX_LINE = 4096
"""Longest line with the size of a chunk, and longest line of a trailer."""
MAX_DIGITS = 15


class Broken(Exception):
    """The server sent something that is no HTTP answer, or an incomplete one; the text says what."""


class HttpAnswer:
    """One answer; `feed` gives the bytes of its body."""

    def __init__(self, method: str) -> None:
        self.status = 0
        self.done = False
        self.reusable = False
        """Whether the connection can carry another request after the end."""
        self._method = method
        self._buffer = bytearray()
        self._left: Optional[int] = None
        """Bytes that are missing in the body or in the chunk; None: the end of the connection ends the body."""
        self._keep = False
        self._trailers = 0
        self._step: Callable[[bytearray], bool] = self._head

    def feed(self, data: bytes) -> bytes:
        """Take bytes; gives those that belong to the body. Raises Broken."""
        self._buffer += data
        body = bytearray()
        while not self.done and self._step(body):
            pass
        if self.done:
            self.reusable = self._keep and not self._buffer
        return bytes(body)

    def end(self) -> None:
        """The connection ended. Raises Broken when the answer is incomplete."""
        if self.done:
            return
        if not self.status and not self._buffer:
            raise Broken("the server closed the connection without an answer")
        if not self.status or self._left is not None or self._step != self._body:
            missing = ", %d bytes are missing" % self._left if self._step == self._body and self._left else ""
            raise Broken("the answer is incomplete" + missing)
        self.done = True

    def _line(self, what: str) -> Optional[bytes]:
        """The next line without its end; None when it has not arrived completely."""
        at = self._buffer.find(b"\n")
        if at < 0 and len(self._buffer) <= MAX_LINE:
            return None
        if not 0 <= at <= MAX_LINE:
            raise Broken(what)
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return line.rstrip(b"\r")

    def _head(self, _body: bytearray) -> bool:
        start = bytes(self._buffer[:5])
        if not b"HTTP/".startswith(start) and start != b"HTTP/":
            raise Broken("the answer is not HTTP: %r" % bytes(self._buffer[:80]))
        at = self._buffer.find(b"\r\n\r\n")
        end = 4
        if at < 0:
            at, end = self._buffer.find(b"\n\n"), 2
        if at < 0:
            if len(self._buffer) > MAX_HEAD:
                raise Broken("the head of the answer is too large")
            return False
        first, *lines = bytes(self._buffer[:at]).decode("latin-1").split("\n")
        del self._buffer[: at + end]
        words = first.split(None, 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not (len(words[1]) == 3 and words[1].isdigit()):
            raise Broken("the answer is not HTTP: %r" % first[:80])
        status = int(words[1])
        if 100 <= status < 200 and status != 101:
            return True
        self._begin(status, words[0] == "HTTP/1.1", _fields(lines))
        return True

    def _begin(self, status: int, persistent: bool, fields: Dict[str, str]) -> None:
        self.status = status
        wish = fields.get("connection", "").lower()
        self._keep = "close" not in wish if persistent else "keep-alive" in wish
        length = fields.get("content-length", "")
        if self._method == "HEAD" or status in (101, 204, 304):
            self._finish()
        elif "chunked" in fields.get("transfer-encoding", "").lower():
            self._step = self._size
        elif length:
            if not (length.isascii() and length.isdecimal() and len(length) <= MAX_DIGITS):
                raise Broken("the answer has no valid length: %r" % length[:40])
            self._left, self._step = int(length), self._body
            if not self._left:
                self._finish()
        else:
            self._left, self._step, self._keep = None, self._body, False

    def _body(self, body: bytearray) -> bool:
        if self._left is None:
            body += self._buffer
            del self._buffer[:]
            return False
        self._take(body)
        if not self._left:
            self._finish()
        return False

    def _size(self, _body: bytearray) -> bool:
        line = self._line("the chunks of the answer are malformed")
        if line is None:
            return False
        digits = line.split(b";")[0].strip()
        try:
            size = int(digits, 16) if len(digits) <= MAX_DIGITS else -1
        except ValueError:
            size = -1
        if size < 0 or not digits.isalnum():
            raise Broken("the chunks of the answer are malformed")
        self._left = size
        self._step = self._chunk if size else self._trailer
        return True

    def _chunk(self, body: bytearray) -> bool:
        self._take(body)
        if self._left:
            return False
        self._step = self._chunk_end
        return True

    def _chunk_end(self, _body: bytearray) -> bool:
        line = self._line("the chunks of the answer are malformed")
        if line is None:
            return False
        if line:
            raise Broken("the chunks of the answer are malformed")
        self._step = self._size
        return True

    def _trailer(self, _body: bytearray) -> bool:
        line = self._line("the end of the answer is malformed")
        if line is None:
            return False
        self._trailers += len(line)
        if self._trailers > MAX_HEAD:
            raise Broken("the end of the answer is malformed")
        if not line:
            self._finish()
        return bool(line)

    def _take(self, body: bytearray) -> None:
        assert self._left is not None
        piece = self._buffer[: self._left]
        del self._buffer[: self._left]
        self._left -= len(piece)
        body += piece

    def _finish(self) -> None:
        self._left, self.done = 0, True


def _fields(lines: "list[str]") -> Dict[str, str]:
    found = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
    return found
