"""The error of a refused or failed request on a node, with the message that the console shows."""

from __future__ import annotations

import errno
from typing import Dict

KINDS = ("busy", "changed", "not-found", "refused", "os", "bad-request", "timeout")


class RequestError(Exception):
    """A refused or failed request; `kind` is one of KINDS, `str(error)` one plain sentence."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint

    def reply(self) -> Dict[str, object]:
        """The fields of the reply."""
        return {"ok": False, "kind": self.kind, "message": str(self), "hint": self.hint}


_HINTS = {
    errno.ENOSPC: "the disk of the node is full: free space, then try again; no file is incomplete",
    errno.EDQUOT: "the disk quota of this user is used up on the node",
    errno.EROFS: "the file system is mounted read-only: set `base` of the node to a writable directory",
    errno.EACCES: "set `user`, `sudo: true` or `base` of the node in the cluster file",
    errno.EPERM: "set `user` or `sudo: true` of the node in the cluster file",
    errno.ELOOP: "a symbolic link is in the path; the console does not follow links",
    errno.EMFILE: "the node allows too few open files",
}


def of_os(error: OSError, doing: str) -> RequestError:
    """An error of the operating system as a RequestError."""
    where = " (%s)" % error.filename if error.filename else ""
    text = error.strerror or str(error)
    return RequestError("os", "%s: %s%s" % (doing, text, where), _HINTS.get(error.errno or 0, ""))
