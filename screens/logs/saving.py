"""Writing a log, or the lines a filter keeps, to a file of the operator's own. Runs beside the screen, in a thread."""

from __future__ import annotations

import os
from pathlib import Path

from screens.logs.file import LogFile
from screens.logs.sieve import Sieve


def save(source: Path, size: int, sieve: Sieve, target: Path) -> int:
    """Write the first `size` bytes of a log, or those of its lines that are kept; gives how many were written. Raises OSError."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = LogFile(source)
    file.grow(size)
    written = 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            for index in range(size // file.span + 1):
                _, data = file.region(index)
                written += out.write(_kept(data, sieve))
    finally:
        file.close()
    return written


def _kept(data: bytes, sieve: Sieve) -> bytes:
    if not sieve:
        return data
    parts = []
    for start in sieve.kept(data):
        end = data.find(b"\n", start)
        parts.append(data[start : end + 1 if end >= 0 else len(data)])
    return b"".join(parts)
