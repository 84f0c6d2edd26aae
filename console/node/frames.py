"""Frames of the link between console and helper: two lengths, a JSON header, raw bytes. Both sides use this module.

Lengths are checked first: four bytes of text as a length are far above the limits, so a login banner between frames is noticed
at once. Does not interpret headers.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any, BinaryIO, Dict, List, Optional, Tuple

MARKER = b"\x01DSV4-LINK-1\n"
"""The helper writes it before its first frame; all text before it comes from the login shell."""
LENGTHS = struct.Struct(">II")
MAX_HEADER = 8 * 1024 * 1024
MAX_PAYLOAD = 8 * 1024 * 1024
MAX_SAID = 512 * 1024
"""Largest header that a helper sends, because the console reads a header in one step."""
MAX_RUNS = 256
"""Most runs in one list; the node counts the others."""
MAX_UNMANAGED = 128
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

Header = Dict[str, Any]


class FrameError(ValueError):
    """The bytes are not a frame."""


def pack(header: Header, payload: bytes = b"") -> bytes:
    """The bytes of one frame. Raises FrameError when it is too large."""
    try:
        text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise FrameError("a header cannot be written as JSON: %s" % error) from error
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
    """Takes bytes as they arrive and returns complete frames, one at a time."""

    def __init__(self, max_header: int = MAX_HEADER) -> None:
        self._max_header = max_header
        self._buffer = bytearray()

    def add(self, data: bytes) -> None:
        """Add bytes that arrived."""
        self._buffer += data

    @property
    def held(self) -> int:
        """The number of bytes that wait."""
        return len(self._buffer)

    def whole(self) -> bool:
        """Whether a complete frame waits. Raises FrameError for other data; then the stream cannot be used any more."""
        if len(self._buffer) < LENGTHS.size:
            return False
        head, tail = _lengths(bytes(self._buffer[: LENGTHS.size]), self._max_header)
        return len(self._buffer) >= LENGTHS.size + head + tail

    def next(self) -> Optional[Tuple[Header, bytes]]:
        """The oldest complete frame, or None. Raises FrameError."""
        if not self.whole():
            return None
        head, tail = _lengths(bytes(self._buffer[: LENGTHS.size]), self._max_header)
        middle = LENGTHS.size + head
        text, payload = bytes(self._buffer[LENGTHS.size : middle]), bytes(self._buffer[middle : middle + tail])
        del self._buffer[: middle + tail]
        return _header(text), payload

    def feed(self, data: bytes) -> List[Tuple[Header, bytes]]:
        """All frames that are complete with `data`. Raises FrameError."""
        self.add(data)
        frames: List[Tuple[Header, bytes]] = []
        while True:
            frame = self.next()
            if frame is None:
                return frames
            frames.append(frame)


def plain_json(text: bytes) -> Any:
    """Parse JSON with finite numbers, valid Unicode and limited depth. Raises ValueError."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_no_number)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return value


def _no_number(word: str) -> None:
    raise ValueError("%s is not a number" % word)


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
        raise FrameError("a frame's header is not an object: %r" % text[:80])
    return header
