"""Private keys on the jump host. Like ssh, the console does not use keys that other users can read."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from console.remote.dial_errors import DialError

_DEFAULTS = ("id_ed25519_sk", "id_ecdsa_sk", "id_ed448", "id_ed25519", "id_ecdsa", "id_rsa", "id_dsa")
"""The default keys, in the order of asyncssh (its public_key.py)."""


class OnlyThese(list[str]):
    """A list of key files that replaces the default keys even when it is empty (asyncssh takes an empty list for the default)."""

    def __bool__(self) -> bool:
        return True


def exposed(path: Path) -> str:
    """`PATH can be read by others (mode 0644)`; empty for a private key, for a key of another user, and for a missing key."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if found.st_uid != os.getuid() or not found.st_mode & 0o077:
        return ""
    return f"{path} can be read by others (mode {found.st_mode & 0o777:04o})"


def refused(path: Path) -> DialError | None:
    """The error for a named key that other users can read; None when it can be used."""
    why = exposed(path)
    if not why:
        return None
    return DialError(
        f"{why}; neither ssh nor the console uses such a key",
        blocked=True,
        hint=shlex.join(["chmod", "600", str(path)]),
    )


def default_keys() -> tuple[OnlyThese, tuple[str, ...]]:
    """(default keys that can be used, default keys that other users can read); ssh skips the latter too."""
    found = [path for name in _DEFAULTS if (path := Path("~/.ssh", name).expanduser()).is_file()]
    open_ones = tuple(str(path) for path in found if exposed(path))
    return OnlyThese(str(path) for path in found if str(path) not in open_ones), open_ones
