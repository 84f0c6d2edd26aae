"""Files and directories of the console on the jump host that only their owner may read, because logs and journals hold secrets.

Directories are made with mode 0700 and files with 0600. What an earlier session or another umask left wider is narrowed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

APP = "dsv4-console"
"""The directory under the XDG base directories from which on everything is the console's own."""


def private_directory(path: Path) -> Path:
    """Make the directory with its missing parents, all of mode 0700, and narrow those of the console. Raises OSError."""
    missing = []
    for directory in (path, *path.parents):
        if directory.exists():
            break
        missing.append(directory)
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
    for directory in (path, *path.parents) if APP in path.parts else ():
        _narrow(directory, 0o700)
        if directory.name == APP:
            break
    return path


def open_private(path: Path, flags: int) -> int:
    """A descriptor of the file, made with mode 0600 in a private directory where it is missing; no link is followed.

    `flags` are those of `os.open`, for example `os.O_WRONLY | os.O_APPEND`. Raises OSError.
    """
    private_directory(path.parent)
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    if found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


def _narrow(directory: Path, mode: int) -> None:
    found = directory.lstat()
    if found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077:
        directory.chmod(mode)
