"""Private keys on the jump host, and which of them are none because others may read them, as for ssh."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from console.remote.dial_errors import DialError

_DEFAULTS = ("id_ed25519_sk", "id_ecdsa_sk", "id_ed448", "id_ed25519", "id_ecdsa", "id_rsa", "id_dsa")
"""What is used where nothing names a key, in the order of asyncssh (its public_key.py)."""


class OnlyThese(list[str]):
    """Key files in place of the default ones, though there be none: asyncssh takes an empty list for the default ones."""

    def __bool__(self) -> bool:
        return True


def exposed(path: Path) -> str:
    """`PATH can be read by others (mode 0644)`; empty for a key that is private, or not ours, or not there."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if found.st_uid != os.getuid() or not found.st_mode & 0o077:
        return ""
    return f"{path} can be read by others (mode {found.st_mode & 0o777:04o})"


def refused(path: Path) -> DialError | None:
    """The refusal of a key that somebody named; None when it may be used."""
    why = exposed(path)
    if not why:
        return None
    return DialError(
        f"{why}; ssh takes no such key, nor does the console",
        blocked=True,
        hint=shlex.join(["chmod", "600", str(path)]),
    )


def default_keys() -> tuple[OnlyThese, tuple[str, ...]]:
    """The default keys that may be used, and those that others may read: ssh passes over these and tries the next."""
    found = [path for name in _DEFAULTS if (path := Path("~/.ssh", name).expanduser()).is_file()]
    open_ones = tuple(str(path) for path in found if exposed(path))
    return OnlyThese(str(path) for path in found if str(path) not in open_ones), open_ones
