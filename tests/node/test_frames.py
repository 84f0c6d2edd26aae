"""Frames cross any cut of the stream unchanged, and text is never mistaken for a frame."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.node.frames import MAX_PAYLOAD, Decoder, FrameError, Header, pack, read_frame

HEADERS = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20) | st.none(), max_size=4)
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=6)


@given(FRAMES, st.lists(st.integers(1, 50), min_size=1))
def test_any_cut_gives_the_same_frames(frames: list[tuple[Header, bytes]], steps: list[int]) -> None:
    stream = b"".join(pack(header, payload) for header, payload in frames)
    decoder, found, at, turn = Decoder(), [], 0, 0
    while at < len(stream):
        step = steps[turn % len(steps)]
        found += decoder.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert found == frames


@given(FRAMES)
def test_a_blocking_reader_gives_the_same_frames(frames: list[tuple[Header, bytes]]) -> None:
    stream = io.BytesIO(b"".join(pack(header, payload) for header, payload in frames))
    found = []
    while (frame := read_frame(stream)) is not None:
        found.append(frame)
    assert found == frames


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=8))
def test_text_is_refused_at_once(text: str) -> None:
    with pytest.raises(FrameError):
        Decoder().feed(text.encode("ascii"))


@pytest.mark.parametrize("cut", [1, 7, 9, 12])
def test_an_end_inside_a_frame_is_an_error(cut: int) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(pack({"a": 1}, b"payload")[:cut]))


@pytest.mark.parametrize("header", [b"[]", b"null", b"{", b"\xff\xfe", json.dumps("x").encode()])
def test_a_header_that_is_no_object_is_an_error(header: bytes) -> None:
    with pytest.raises(FrameError):
        Decoder().feed(len(header).to_bytes(4, "big") + bytes(4) + header)


def test_what_is_too_large_is_not_sent() -> None:
    with pytest.raises(FrameError):
        pack({}, bytes(MAX_PAYLOAD + 1))
