"""The directories of runs on a node: the base directory, the names below it, and atomic writes of small files.

Every path component below the base is checked: no symbolic links, no names that leave the base.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import Any, Dict, List, NamedTuple, Optional

from console.node.frames import plain_json
from console.node.request_error import RequestError, of_os

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}\Z")
MAX_JSON = 4 * 1024 * 1024


class Key(NamedTuple):
    """One attempt of one engine."""

    deployment: str
    engine: str
    run: str


def key_of(value: object) -> Key:
    """A key from a request. Raises RequestError for names that are no plain names."""
    if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(isinstance(each, str) for each in value):
        raise RequestError("bad-request", "a run is named by deployment, engine and run")
    for each in value:
        if not NAME.match(each):
            raise RequestError("bad-request", "%r cannot be a directory name" % each, "use letters, digits, . _ @ + -")
    return Key(*value)


class Base:
    """The base directory. It must have mode 0700 and belong to this user, otherwise requests are refused."""

    def __init__(self, path: str) -> None:
        if not os.path.isabs(path):
            raise RequestError("bad-request", "base %r is not an absolute path" % path)
        self.path = os.path.normpath(path)

    def engine(self, key: Key) -> str:
        """Directory of an engine."""
        return os.path.join(self.path, key.deployment, key.engine)

    def run(self, key: Key) -> str:
        """Directory of a run."""
        return os.path.join(self.path, key.deployment, key.engine, "runs", key.run)

    def file(self, key: Key, name: str) -> str:
        """A file of a run."""
        return os.path.join(self.run(key), name)

    def exists(self) -> bool:
        """Whether it exists. Raises RequestError when it exists but cannot be trusted."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise of_os(error, "base directory") from error
        if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
            raise RequestError(
                "refused", "%s is a symbolic link or not a directory" % self.path, "set `base` of the node"
            )
        if found.st_uid != os.geteuid():
            hint = "connect as that user, or set `base` of the node to a directory of your own"
            raise RequestError(
                "refused", "%s belongs to uid %d, not to this user (%d)" % (self.path, found.st_uid, os.geteuid()), hint
            )
        if found.st_mode & 0o022:
            raise RequestError("refused", "other users can write to %s" % self.path, "chmod 700 %s" % self.path)
        return True

    def make(self) -> None:
        """Create it when it is missing."""
        if self.exists():
            return
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            self.exists()
        except OSError as error:
            raise of_os(error, "base directory") from error

    def make_dirs(self, *names: str) -> str:
        """A directory below, each step made when missing and refused when it is no plain directory."""
        self.make()
        path = self.path
        for name in names:
            path = os.path.join(path, name)
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                pass
            except OSError as error:
                raise of_os(error, "run directory") from error
            plain_dir(path)
        return path

    def check(self, key: Key) -> str:
        """The directory of an existing run. Raises RequestError when it is missing or a link stands in its path."""
        self.exists()
        path = self.path
        for name in (key.deployment, key.engine, "runs", key.run):
            path = os.path.join(path, name)
            plain_dir(path)
        return path

    def names(self, *below: str) -> List[str]:
        """Plain directories below, sorted; none when it is missing."""
        path = os.path.join(self.path, *below)
        try:
            with os.scandir(path) as entries:
                found = [each.name for each in entries if NAME.match(each.name) and each.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise of_os(error, "listing runs") from error
        return sorted(found)

    def keys(self, deployments: Optional[List[str]] = None) -> List[Key]:
        """All runs, oldest first within an engine."""
        if not self.exists():
            return []
        return [
            Key(deployment, engine, run)
            for deployment in self.names()
            if deployments is None or deployment in deployments
            for engine in self.names(deployment)
            for run in self.names(deployment, engine, "runs")
        ]


def plain_dir(path: str) -> None:
    """Raises RequestError unless the path is a directory of this user."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        raise RequestError("not-found", "%s does not exist" % path) from None
    except OSError as error:
        raise of_os(error, "run directory") from error
    if not stat.S_ISDIR(found.st_mode):
        raise RequestError(
            "refused", "%s is a symbolic link or not a directory" % path, "check it and remove it by hand"
        )
    if found.st_uid != os.geteuid():
        raise RequestError("refused", "%s belongs to uid %d, not to this user" % (path, found.st_uid))


def write_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace a file atomically; it is on the disk when this returns. Raises OSError."""
    fresh = "%s.%d.tmp" % (path, os.getpid())
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(fresh, flags, mode)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(fresh, path)
    except OSError:
        os.unlink(fresh)
        raise
    sync_dir(os.path.dirname(path))


RESERVED_BYTES = 4096


def reserve(path: str) -> None:
    """Reserve disk space for a small JSON file. Raises OSError."""
    write_file(path + ".reserved", b" " * RESERVED_BYTES)


def write_reserved(path: str, value: Dict[str, Any]) -> None:
    """Write a small JSON file into the reserved space. Raises OSError."""
    reserved = path + ".reserved"
    descriptor = os.open(reserved, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, json.dumps(value).encode("utf-8").ljust(RESERVED_BYTES), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(reserved, path)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_dir(path: str) -> None:
    """Sync a directory, so that a rename in it is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str, value: Dict[str, Any]) -> None:
    """Replace a JSON file in one step. Raises OSError."""
    write_file(path, json.dumps(value, indent=1).encode("utf-8") + b"\n")


def read_file(path: str, limit: int) -> bytes:
    """At most `limit` bytes of a plain file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(22, "not a plain file", path)
        return file.read(limit)


def read_json(path: str) -> Optional[Dict[str, Any]]:
    """A JSON object; None when the file is missing or has other content."""
    try:
        value = plain_json(read_file(path, MAX_JSON))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
