"""Frees the disk space of a part of a file; the file keeps its size and its other bytes (Linux)."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import lru_cache
from typing import Any

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
"""Flags of fallocate(2)."""


def punch(descriptor: int, offset: int, length: int) -> None:
    """Free these bytes; they then read as zeros. Raises OSError when the file system does not support it; ext4, xfs and btrfs
    do.
    """
    call = _fallocate()
    if call is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    if call(descriptor, _KEEP_SIZE | _PUNCH_HOLE, offset, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@lru_cache(maxsize=1)
def _fallocate() -> Any:
    """The C library's; None on a system without it."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return call
