"""Reads a part of a file below the base directory, by run or by path. Does not follow links and does not leave the base."""

from __future__ import annotations

import os
import stat
from typing import Optional, Tuple

from console.node.request_error import RequestError, of_os
from console.node.run_dirs import Base, Key
from console.node.runs import LOG

MAX_READ = 4 * 1024 * 1024


def read_part(base: Base, key: Optional[Key], path: Optional[str], offset: int, length: int) -> Tuple[bytes, int]:
    """Bytes from `offset`, at most `length` and MAX_READ, and the file's size. Raises RequestError."""
    if key is None and path is None:
        raise RequestError("bad-request", "a run or a path is needed")
    below = os.path.relpath(base.file(key, LOG), base.path) if key is not None else str(path)
    parts = [part for part in below.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or os.path.isabs(below):
        raise RequestError("bad-request", "%r is not a path below the base directory" % below)
    if not base.exists():
        raise RequestError("not-found", "%s does not exist" % base.path)
    try:
        descriptor = _open(base.path, parts)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise RequestError("refused", "%r is not a regular file" % below)
            return os.pread(descriptor, max(0, min(length, MAX_READ)), max(0, offset)), found.st_size
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise RequestError("not-found", "%s/%s does not exist" % (base.path, below)) from None
    except OSError as error:
        raise of_os(error, "reading %s" % below) from error


def _open(root: str, parts: "list[str]") -> int:
    """Open the path step by step, so that no component is a link."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(root, flags | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, flags | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        return os.open(parts[-1], flags | os.O_NONBLOCK, dir_fd=here)
    finally:
        os.close(here)
