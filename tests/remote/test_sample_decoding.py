"""Samples of probes as they come over the link: packed, repeated, bounded."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from console.model.run import Sample
from console.node.sampling import PROBE_BYTES, packed
from console.remote.frame_decoding import WireError
from console.remote.sample_decoding import SAMPLE_BYTES, SAMPLE_LINES, pushed_sample

FACTS: dict[str, Any] = {"at": 1.0, "took_s": 0.5, "exit_code": 0, "truncated": False}


def sent(output: bytes, before: Sample | None = None, **fields: Any) -> Sample:
    """A sample as its node packs it."""
    told, payload = packed(output)
    return pushed_sample("npu", {**FACTS, "stdout_bytes": len(output), "packed": told, **fields}, payload, before)


def test_a_table_comes_as_it_was_and_takes_less_of_the_link() -> None:
    table = b"| 0     910C                | OK            | 180.2       45                0    / 0             |\n" * 60
    assert sent(table).stdout == table
    assert len(packed(table)[1]) < len(table) / 10
    assert sent(b"short").stdout == b"short"


def test_a_repeated_sample_is_the_same_output_at_another_time() -> None:
    first = sent(b"table")
    again = pushed_sample("npu", {**FACTS, "at": 9.0, "stdout_bytes": 5, "same": True}, b"", first)
    assert (again.at, again.stdout is first.stdout) == (9.0, True)
    with pytest.raises(WireError, match="was not sent"):
        pushed_sample("npu", {**FACTS, "stdout_bytes": 5, "same": True}, b"", None)


def test_a_sample_is_cut_to_what_is_parsed_in_one_step() -> None:
    assert len(sent(b"x" * 99 + b"\n" + b"y" * SAMPLE_BYTES).stdout) == 100
    assert sent(b"\n" * (2 * SAMPLE_LINES)).truncated


@pytest.mark.parametrize(
    "payload",
    [
        b"no zlib",
        zlib.compress(b"x" * 1000)[:-5],
        zlib.compress(b"0" * (2 * PROBE_BYTES + 2)),
        zlib.compress(zlib.compress(b"0" * 2**26)),
    ],
)
def test_a_packed_sample_that_is_none_or_too_large_ends_the_link(payload: bytes) -> None:
    with pytest.raises(WireError):
        pushed_sample("npu", {**FACTS, "stdout_bytes": 2**25, "packed": True}, payload, None)
