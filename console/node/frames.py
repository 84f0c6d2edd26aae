"""Frames of the link between console and helper: two lengths, a JSON header, raw bytes. Both ends use it.

What a header means does not enter here. Bounds are checked before anything is believed: four bytes of text read as a
length are far above every bound, so a login banner among frames is noticed at once instead of being waited for.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO, Dict, List, Optional, Tuple

MARKER = b"\x01DSV4-LINK-1\n"
"""Written by the helper before its first frame; everything before it is chatter of the login shell."""
LENGTHS = struct.Struct(">II")
MAX_HEADER = 8 * 1024 * 1024
MAX_PAYLOAD = 8 * 1024 * 1024

Header = Dict[str, Any]


class FrameError(ValueError):
    """The bytes are no frame."""


def pack(header: Header, payload: bytes = b"") -> bytes:
    """One frame. Raises FrameError when it would be over the bounds."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
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
    """Takes bytes as they come and gives whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Tuple[Header, bytes]]:
        """Frames that are complete with `data`. Raises FrameError, after which the stream cannot be trusted any more."""
        self._buffer += data
        frames = []
        at = 0
        while len(self._buffer) - at >= LENGTHS.size:
            head, tail = _lengths(bytes(self._buffer[at : at + LENGTHS.size]))
            begin = at + LENGTHS.size
            if len(self._buffer) - begin < head + tail:
                break
            middle = begin + head
            at = middle + tail
            frames.append((_header(bytes(self._buffer[begin:middle])), bytes(self._buffer[middle:at])))
        del self._buffer[:at]
        return frames


def _lengths(start: bytes) -> Tuple[int, int]:
    head, tail = LENGTHS.unpack(start)
    if head > MAX_HEADER or tail > MAX_PAYLOAD:
        raise FrameError("not a frame: %r" % start)
    return head, tail


def _header(text: bytes) -> Header:
    try:
        header = json.loads(text.decode("utf-8"))
    except ValueError as error:
        raise FrameError("a frame's header is not JSON: %r" % text[:80]) from error
    if not isinstance(header, dict):
        raise FrameError("a frame's header is no object: %r" % text[:80])
    return header
