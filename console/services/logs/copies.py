"""Keeps local copies of engine logs: each is a byte-exact prefix of the node's out.log, and its size is the resume offset.

Bytes are written at their offset, so two consoles of one user that follow the same run write the same file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from console.model.errors import ConsoleError
from console.model.run import LogChunk, RunKey
from console.private_files import open_private
from console.services.logs.punching import punch
from console.services.xdg_paths import file_name

FINGERPRINT_BYTES = 1024
"""Bytes of a log's head that identify the file; inodes are reused, contents are not."""

KEPT_EARLIER = 8
"""Earlier copies of one log that are kept; the last of them is the newest, and is replaced by the next."""
MOST_NOTES = 100
"""A log that is replaced without end is no news any more."""


KEPT_BEGIN = 1 << 20
KEPT_END = 16 << 20
"""Bytes at both ends of a log that are never removed: its start, and its newest lines."""


class Gap(NamedTuple):
    """Lines of a copy that were removed to free disk space: from `begin` up to `end`."""

    begin: int
    end: int

    def words(self) -> str:
        """The size of the gap and its reason, as text."""
        return (
            f"{(self.end - self.begin) / 2**20:.0f} MiB of this log are not here any more: the copies of its node were over "
            "their share of this disk; the node has them"
        )


@dataclass(frozen=True, slots=True)
class LogNote:
    """Something to show between the bytes of a log: a gap, a truncation."""

    offset: int
    text: str


class LogCopy:
    """The local copy of one run's log."""

    def __init__(self, key: RunKey, path: Path) -> None:
        self.key = key
        self.path = path
        self.error = ""
        """Why bytes cannot be stored (disk full); empty when they can."""
        self.gap: Gap | None = None
        """The removed part of the copy; it reads as zeros."""
        self._notes_path = path.with_suffix(".notes")
        self._notes = self._read_notes()
        self._size = path.stat().st_size if path.exists() else 0
        self._descriptor: int | None = None
        self.revision = 0
        """Increases when stored bytes change; what was read from them is then invalid."""
        self.restarts = 0
        """How often the log was restarted since this copy was opened."""
        self.earlier: Path | None = None
        """The file with the bytes before the last restart of the log."""

    @property
    def size(self) -> int:
        """Bytes in the copy."""
        return self._size

    @property
    def notes(self) -> tuple[LogNote, ...]:
        """Gaps and truncations, in order."""
        return self._notes

    def fingerprint(self) -> bytes:
        """The head of the copy, for the node to compare with its file."""
        return self.read(0, FINGERPRINT_BYTES)

    def present(self, offset: int) -> int:
        """The offset, or the end of a removed part that contains it."""
        gap = self.gap
        return gap.end if gap is not None and gap.begin <= offset < gap.end else offset

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the copy; fewer at its end."""
        if not self._size:
            return b""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except FileNotFoundError:  # removed meanwhile, to make room
            return b""

    def store(self, chunk: LogChunk) -> int:
        """Write a chunk; gives how many bytes were new. Raises ConsoleError when the disk refuses: then nothing has moved."""
        if chunk.restarted:
            self._restart(chunk.restarted)
        if chunk.offset > self._size:
            raise ConsoleError(f"log of {self.key.engine}: bytes {self._size}–{chunk.offset} have not arrived yet")
        fresh = chunk.data[self._size - chunk.offset :]
        if fresh:
            self._write(fresh)
        self.error = ""
        return len(fresh)

    def close(self) -> None:
        """Close the file; a later store opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, data: bytes) -> None:
        self._write_at(self._size, data)
        self._size += len(data)

    def _write_at(self, offset: int, data: bytes) -> None:
        try:
            if self._descriptor is None:
                self._descriptor = open_private(self.path, os.O_WRONLY)
            view = memoryview(data)
            done = 0
            while done < len(view):
                done += os.pwrite(self._descriptor, view[done:], offset + done)
        except OSError as error:
            self.error = f"log copy {self.path}: {error.strerror}"
            raise ConsoleError(self.error, hint="free space on this machine; copying goes on by itself") from error

    def repair(self, offset: int, data: bytes) -> None:
        """Overwrite bytes inside the copy with the node's bytes. Raises ConsoleError when the disk fails."""
        length = min(len(data), self._size - offset)
        self._write_at(offset, data[:length])
        self.revision += 1
        self._note(offset, f"{length} bytes here were not those of the node's log; they have been fetched again")

    def let_go(self, count: int) -> int:
        """Let the oldest bytes go, about so many, but for both ends; gives how many went: none where the disk cannot do that."""
        begin = self.gap.begin if self.gap else self._line_at(KEPT_BEGIN)
        start = self.gap.end if self.gap else begin
        end = self._line_at(min(start + count, self._size - KEPT_END))
        if end - start < KEPT_BEGIN:
            return 0
        try:
            if self._descriptor is None:
                self._descriptor = open_private(self.path, os.O_WRONLY)
            punch(self._descriptor, start, end - start)
        except OSError:
            return 0
        self.gap = Gap(begin, end)
        kept = tuple(note for note in self._notes if not begin <= note.offset <= end)
        self._notes = (*kept, LogNote(end, self.gap.words()))
        self._write_notes()
        return end - start

    def _line_at(self, offset: int) -> int:
        """Where the first line at or behind an offset starts, as far as a chunk tells."""
        data = self.read(max(0, offset - 1), KEPT_BEGIN)
        found = data.find(b"\n")
        return max(0, offset) if found < 0 or offset <= 0 else offset + found

    def _restart(self, why: str) -> None:
        self.close()
        self.gap = None
        self.revision += 1
        self.restarts += 1
        self.earlier = None
        if self._size:
            count = min(KEPT_EARLIER, 1 + sum(1 for _ in self.path.parent.glob(f"{self.path.name}.*")))
            self.earlier = self.path.with_name(f"{self.path.name}.{count}")
            self.path.rename(self.earlier)
        self._size = 0
        self._note(0, f"the log on the node was {why}; the earlier copy is kept beside this one")

    def _note(self, offset: int, text: str) -> None:
        """Remember something about the copy, here and for later consoles; a disk that is full forbids no more than the latter."""
        if len(self._notes) >= MOST_NOTES:
            return
        self._notes = (*self._notes, LogNote(offset, text))
        try:
            with os.fdopen(open_private(self._notes_path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8") as file:
                file.write(json.dumps({"offset": offset, "text": text}) + "\n")
        except OSError as error:
            self.error = f"note on the log copy {self.path}: {error.strerror}"

    def _write_notes(self) -> None:
        """All anew: of a gap that grows only the last note counts."""
        lines = [json.dumps({"offset": each.offset, "text": each.text}) for each in self._notes]
        if self.gap is not None:
            lines.append(json.dumps({"gap": self.gap}))
        try:
            descriptor = open_private(self._notes_path, os.O_WRONLY | os.O_TRUNC)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
        except OSError as error:
            self.error = f"notes on the log copy {self.path}: {error.strerror}"

    def _read_notes(self) -> tuple[LogNote, ...]:
        if not self._notes_path.exists():
            return ()
        found = []
        for line in self._notes_path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                if "gap" in entry:
                    self.gap = Gap(*map(int, entry["gap"]))
                else:
                    found.append(LogNote(int(entry["offset"]), str(entry["text"])))
                    self.gap = None if not found[-1].offset else self.gap
            except (ValueError, KeyError, TypeError):
                continue
        return tuple(found)


class LogBook:
    """All copies of one deployment, by engine and run."""

    def __init__(self, root: Path, current: Callable[[str], RunKey | None]) -> None:
        self.root = root
        self._current = current
        self._copies: dict[RunKey, LogCopy] = {}

    def copy(self, engine: str, run: str | None = None) -> LogCopy | None:
        """The copy of an engine's current run, or of an earlier one; None when there is nothing of it here."""
        key = self._current(engine)
        if run is None or (key is not None and key.run == run):
            return self.of(key) if key else None
        found = next((path for path in self.root.glob(f"*/{file_name(engine)}/{file_name(run)}.log")), None)
        return self.of(RunKey(found.parent.parent.name, engine, run)) if found else None

    def of(self, key: RunKey) -> LogCopy:
        """The copy of a run, created at first use."""
        if (copy := self._copies.get(key)) is None:
            path = self.root / file_name(key.deployment) / file_name(key.engine) / f"{file_name(key.run)}.log"
            copy = self._copies[key] = LogCopy(key, path)
        return copy

    def forget(self, key: RunKey) -> None:
        """Forget a copy in memory; its file stays."""
        if (copy := self._copies.pop(key, None)) is not None:
            copy.close()

    def runs(self, engine: str) -> tuple[str, ...]:
        """Run ids with a copy here, newest first."""
        names = {path.stem for path in self.root.glob(f"*/{file_name(engine)}/*.log")}
        return tuple(sorted(names, reverse=True))

    def close(self) -> None:
        """Close all files."""
        for copy in self._copies.values():
            copy.close()
