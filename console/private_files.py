"""Files and directories of the console that only their owner may read, because logs and journals contain secrets.

New directories get mode 0700 and new files 0600. The mode of existing ones is reduced to that.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

APP = "dsv4-console"
"""The directory of the console below each XDG base directory."""


def private_directory(path: Path) -> Path:
    """Create the directory and its missing parents with mode 0700, and reduce the mode of the console's directories.

    Raises OSError.
    """
    missing = []
    for directory in (path, *path.parents):
        if directory.exists():
            break
        missing.append(directory)
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
    for directory in (path, *path.parents) if APP in path.parts else ():
        _reduce_mode(directory, 0o700)
        if directory.name == APP:
            break
    return path


def open_private(path: Path, flags: int) -> int:
    """Open a file and return its descriptor. A missing file is created with mode 0600 in a private directory.

    A symbolic link is not followed. `flags` are those of `os.open`, for example `os.O_WRONLY | os.O_APPEND`. Raises OSError.
    """
    private_directory(path.parent)
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    if found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


def _reduce_mode(directory: Path, mode: int) -> None:
    found = directory.lstat()
    if found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077:
        directory.chmod(mode)
