"""Decodes and validates the output of commands and probes of a node, which is not trusted. Does no I/O."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

from console.model.run import Sample
from console.node.sampling import PROBE_BYTES
from console.remote.frame_decoding import Code, HelperData, Moment, Seconds, Size, WireError, read_as

SAMPLE_BYTES = 128 * 1024
"""Most bytes of a pushed sample; sixteen devices with all their processes need a tenth of it."""
SAMPLE_LINES = 2000
SAMPLE_ERROR_BYTES = 4096


class _Packing(HelperData):
    same: bool = False
    packed: bool = False


class _Facts(HelperData):
    at: Moment
    took_s: Seconds
    exit_code: Code | None
    stdout_bytes: Size
    truncated: bool


def sample(name: str, header: Mapping[str, object], payload: bytes) -> Sample:
    """The output of a command."""
    said = read_as(_Facts, header)
    if not 0 <= said.stdout_bytes <= len(payload):
        raise WireError("the length of a sample does not match its bytes")
    out, err = payload[: said.stdout_bytes], payload[said.stdout_bytes :]
    return Sample(name, said.at, said.took_s, said.exit_code, out, err, said.truncated)


def pushed_sample(name: str, header: Mapping[str, object], payload: bytes, before: Sample | None) -> Sample:
    """The output of a probe, limited to `SAMPLE_BYTES`, because it is parsed in one step.

    `before` is its last sample: equal output is not sent again, and is the same object.
    """
    packing = read_as(_Packing, header)
    if packing.same:
        if before is None:
            raise WireError("a sample repeats one that was not sent")
        said = read_as(_Facts, header)
        return replace(before, at=said.at, took_s=said.took_s)
    whole = sample(name, header, _unpacked(payload) if packing.packed else payload)
    out, err = _head(whole.stdout), whole.stderr[:SAMPLE_ERROR_BYTES]
    return replace(whole, stdout=out, stderr=err, truncated=whole.truncated or len(out) < len(whole.stdout))


def _unpacked(payload: bytes) -> bytes:
    """Compressed bytes as they were; at most as many as a probe may print."""
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(payload, 2 * PROBE_BYTES + 1)
    except zlib.error as error:
        raise WireError(f"a sample cannot be unpacked: {error}") from error
    if not unpacking.eof or len(data) > 2 * PROBE_BYTES:
        raise WireError("a sample is larger than a probe may print, or incomplete")
    return data


def _head(data: bytes) -> bytes:
    """The first bytes; a cut is at the end of a line."""
    if len(data) > SAMPLE_BYTES:
        data = data[: data.rfind(b"\n", 0, SAMPLE_BYTES) + 1]
    if data.count(b"\n") > SAMPLE_LINES:
        data = b"\n".join(data.split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]) + b"\n"
    return data
