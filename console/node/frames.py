"""Frames of the link between console and helper: two lengths, a JSON header, raw bytes. Both ends use it.

What a header means does not enter here. Bounds are checked before anything is believed: four bytes of text read as a
length are far above every bound, so a login banner among frames is noticed at once instead of being waited for.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any, BinaryIO, Dict, List, Optional, Tuple

MARKER = b"\x01DSV4-LINK-1\n"
"""Written by the helper before its first frame; everything before it is chatter of the login shell."""
LENGTHS = struct.Struct(">II")
MAX_HEADER = 8 * 1024 * 1024
MAX_PAYLOAD = 8 * 1024 * 1024
MAX_SAID = 512 * 1024
"""Largest header a helper sends: one is read in one step, and the console does nothing else meanwhile."""
MAX_RUNS = 256
"""Most runs in one list; the node counts what it leaves out."""
MAX_UNMANAGED = 128
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

Header = Dict[str, Any]


class FrameError(ValueError):
    """The bytes are no frame."""


def pack(header: Header, payload: bytes = b"") -> bytes:
    """One frame. Raises FrameError when it would be over the bounds."""
    try:
        text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise FrameError("a header that is no JSON: %s" % error) from error
    if len(text) > MAX_HEADER or len(payload) > MAX_PAYLOAD:
        raise FrameError("a frame of %d + %d bytes is too large" % (len(text), len(payload)))
    return LENGTHS.pack(len(text), len(payload)) + text + payload


def read_frame(stream: BinaryIO) -> Optional[Tuple[Header, bytes]]:
    """The next frame of a blocking stream; None when it ended between frames. Raises FrameError."""
    start = stream.read(LENGTHS.size)
    if not start:
        return None
    if len(start) < LENGTHS.size:
        raise FrameError("the stream ended inside a frame")
    head, tail = _lengths(start)
    body = stream.read(head + tail)
    if len(body) < head + tail:
        raise FrameError("the stream ended inside a frame")
    return _header(body[:head]), body[head:]


class Decoder:
    """Takes bytes as they come and gives whole frames, one at a time."""

    def __init__(self, max_header: int = MAX_HEADER) -> None:
        self._max_header = max_header
        self._buffer = bytearray()

    def add(self, data: bytes) -> None:
        """Bytes that arrived."""
        self._buffer += data

    @property
    def held(self) -> int:
        """Bytes that wait."""
        return len(self._buffer)

    def whole(self) -> bool:
        """Whether a whole frame waits. Raises FrameError for what is none, after which the stream cannot be trusted."""
        if len(self._buffer) < LENGTHS.size:
            return False
        head, tail = _lengths(bytes(self._buffer[: LENGTHS.size]), self._max_header)
        return len(self._buffer) >= LENGTHS.size + head + tail

    def next(self) -> Optional[Tuple[Header, bytes]]:
        """The oldest whole frame; None while it is not whole. Raises FrameError."""
        if not self.whole():
            return None
        head, tail = _lengths(bytes(self._buffer[: LENGTHS.size]), self._max_header)
        middle = LENGTHS.size + head
        text, payload = bytes(self._buffer[LENGTHS.size : middle]), bytes(self._buffer[middle : middle + tail])
        del self._buffer[: middle + tail]
        return _header(text), payload

    def feed(self, data: bytes) -> List[Tuple[Header, bytes]]:
        """All frames that are whole with `data`. Raises FrameError."""
        self.add(data)
        frames: List[Tuple[Header, bytes]] = []
        while True:
            frame = self.next()
            if frame is None:
                return frames
            frames.append(frame)


def plain_json(text: bytes) -> Any:
    """JSON that can be handed on: finite numbers, text that is Unicode, no nest deeper than Python follows. Raises ValueError."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_no_number)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return value


def _no_number(word: str) -> None:
    raise ValueError("%s is no number" % word)


def _lengths(start: bytes, max_header: int = MAX_HEADER) -> Tuple[int, int]:
    head, tail = LENGTHS.unpack(start)
    if head > max_header or tail > MAX_PAYLOAD:
        raise FrameError("not a frame: %r" % start)
    return head, tail


def _header(text: bytes) -> Header:
    try:
        header = plain_json(text)
    except ValueError as error:
        raise FrameError("a frame's header is not JSON (%s): %r" % (str(error)[:80], text[:80])) from error
    if not isinstance(header, dict):
        raise FrameError("a frame's header is no object: %r" % text[:80])
    return header
