"""The journal: a file of JSON lines that records who did what and how it ended. People read it; no decision depends on it."""

from __future__ import annotations

import errno
import getpass
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import JsonValue

from console.model.errors import ConsoleError
from console.private_files import open_private


def operator_name() -> str:
    """`user@host` of the person at this console; under sudo or su the person who called it."""
    user = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or getpass.getuser()
    return f"{user}@{socket.gethostname()}"


class Journal:
    """The journal of one cluster. Every record is one `write` of one line, so that the records of two consoles do not mix."""

    def __init__(
        self,
        path: Path,
        *,
        mask: Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue]] = dict,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`mask` returns a record without its secrets; `clock` gives seconds since the epoch."""
        self.path = path
        self._mask = mask
        self._clock = clock
        self._who = operator_name()

    def record(self, what: str, **facts: JsonValue) -> None:
        """Append one record. Raises ConsoleError when the file cannot be written, because every operation must be recorded."""
        entry: Mapping[str, JsonValue] = {
            "at": round(self._clock(), 3),
            "who": self._who,
            "what": what,
            **self._mask(facts),
        }
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"
        try:
            descriptor = open_private(self.path, os.O_RDWR | os.O_APPEND)
            try:
                _append(descriptor, line.encode("utf-8", "replace"))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConsoleError(
                f"the journal {self.path} cannot be written: {error.strerror}",
                hint="free space on the disk or fix the permissions; without the journal only stops are allowed",
            ) from error

    def tail(self, count: int) -> tuple[Mapping[str, JsonValue], ...]:
        """The newest `count` records, oldest first; lines that are not records are skipped."""
        try:
            lines = self.path.read_bytes().splitlines()[-count:]
        except OSError:
            return ()
        found: list[Mapping[str, JsonValue]] = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
        return tuple(found)


def _append(descriptor: int, line: bytes) -> None:
    """Write a whole line. A line before it that a full disk cut off is ended first. Raises OSError."""
    size = os.fstat(descriptor).st_size
    whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
    line = line if whole else b"\n" + line
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
