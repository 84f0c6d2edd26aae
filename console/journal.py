"""Append-only JSON lines of who did what and how it ended. Nothing reads it to decide; it is for people."""

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
    """`user@host` of the person at this console; sudo and su are looked through."""
    user = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or getpass.getuser()
    return f"{user}@{socket.gethostname()}"


class Journal:
    """One file per cluster; every record is one `write` of one line, so that two consoles never mix theirs."""

    def __init__(
        self,
        path: Path,
        *,
        mask: Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue]] = dict,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`mask` gives a record without its secrets; texts of nodes and of tools may hold some."""
        self.path = path
        self._mask = mask
        self._clock = clock
        self._who = operator_name()

    def record(self, what: str, **facts: JsonValue) -> None:
        """Append one record. Raises ConsoleError when the file cannot be written: an operation without a trace must not pass."""
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
                hint="free the disk or fix its permissions; only what ends engines is done without a record",
            ) from error

    def tail(self, count: int) -> tuple[Mapping[str, JsonValue], ...]:
        """The newest records, oldest first; lines that are not ours are left out."""
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
    """Write a whole line. One that a full disk cut off before is ended first. Raises OSError."""
    size = os.fstat(descriptor).st_size
    whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
    line = line if whole else b"\n" + line
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
