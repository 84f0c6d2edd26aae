"""Records snapshots of a cluster as compact lines in a compressed file.

A line is JSON: the head, a complete snapshot, or the difference from the previous snapshot. Secrets are masked before
anything is written. A recording without its end is readable up to its last complete line.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from pydantic import JsonValue, TypeAdapter, ValidationError

from console.commands.masking import masked_data
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.errors import ConsoleError, FileError, Problem, UsageError
from console.model.layout import Layout
from console.model.snapshot import ClusterSnapshot

FORMAT = "dsv4-console recording 1"
EVERY_S = 1.0
"""Minimum time between two recorded snapshots."""
WHOLE_EVERY = 120
"""Number of differences between two complete snapshots; allows fast steps backwards."""
MOST_BYTES = 256 * 1024 * 1024
"""Size at which a recording stops."""
LONGEST_LINE = 64 * 1024 * 1024
"""Longer lines are invalid."""

Object = dict[str, JsonValue]
_SNAPSHOT: TypeAdapter[ClusterSnapshot] = TypeAdapter(ClusterSnapshot)
_ASSIGNMENT: TypeAdapter[Assignment] = TypeAdapter(Assignment)


def difference(before: Object, after: Object) -> Object:
    """The difference from `before` to `after`: `+` sets a key, `-` removes keys, `>` descends into a key."""
    put: Object = {}
    into: Object = {}
    for key, value in after.items():
        old = before.get(key)
        if key in before and old == value:
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            into[key] = difference(old, value)
        else:
            put[key] = value
    gone: list[JsonValue] = [key for key in before if key not in after]
    parts: tuple[tuple[str, JsonValue], ...] = (("+", put), ("-", gone), (">", into))
    return {sign: part for sign, part in parts if part}


def apply_difference(before: Object, by: Object) -> Object:
    """`before` with a difference applied, as a copy. Raises ValueError for an invalid difference."""
    after = dict(before)
    put, gone, into = by.get("+", {}), by.get("-", []), by.get(">", {})
    if not isinstance(put, dict) or not isinstance(gone, list) or not isinstance(into, dict):
        raise ValueError("no difference")
    for key in gone:
        after.pop(str(key), None)
    after.update(put)
    for key, part in into.items():
        old = after.get(key)
        if not isinstance(old, dict) or not isinstance(part, dict):
            raise ValueError(f"{key} is not there to be changed")
        after[key] = apply_difference(old, part)
    return after


class Recorder:
    """Writes snapshots to a file. Never raises after it was opened; an error is kept as `problem`."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError when the file exists already or cannot be created."""
        self.path = path
        self.problem = ""
        self.snapshots = 0
        self._last: Object = {}
        self._since_whole = 0
        self._deployment: Deployment | None = None
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = "a recording is never written over another; give another name" if path.exists() else ""
            raise UsageError(f"--record {path}: {error.strerror}", hint=hint) from None
        self._raw: IO[bytes] = os.fdopen(descriptor, "wb")
        self._file = gzip.GzipFile(fileobj=self._raw, mode="wb", compresslevel=6)

    def record(self, snapshot: ClusterSnapshot, deployment: Deployment) -> None:
        """Record a snapshot, unless the last one is younger than `EVERY_S`."""
        if self.problem:
            return
        last = self._last.get("at")
        if isinstance(last, float) and 0 <= snapshot.at - last < EVERY_S:
            return
        if deployment is not self._deployment:
            self._deployment = deployment
            self._write({"format": FORMAT, **_deployment_words(deployment)})
        now: Object = _SNAPSHOT.dump_python(snapshot, mode="json")
        whole = not self._last or self._since_whole >= WHOLE_EVERY
        self._write({"whole": masked_data(now)} if whole else {"then": masked_data(difference(self._last, now))})
        self._since_whole = 0 if whole else self._since_whole + 1
        self._last = now
        self.snapshots += 1

    def _write(self, line: Mapping[str, JsonValue]) -> None:
        try:
            self._file.write(
                json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
            )
            self._file.flush(zlib.Z_SYNC_FLUSH)
            self._raw.flush()
            if self._raw.tell() > MOST_BYTES:
                self.problem = f"it has reached {MOST_BYTES // 1024**2} MiB"
        except OSError as error:
            self.problem = error.strerror or str(error)

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
            self._raw.close()
        except OSError as error:
            self.problem = self.problem or error.strerror or str(error)


def _deployment_words(deployment: Deployment) -> Object:
    return {
        "cluster": masked_data(deployment.cluster.model_dump(mode="json")),
        "layout": masked_data((deployment.layout.written or deployment.layout).model_dump(mode="json")),
        "assignment": _ASSIGNMENT.dump_python(deployment.assignment, mode="json"),
    }


class Recording:
    """A recording in memory: the times of its snapshots, and each snapshot on request."""

    def __init__(self, path: Path) -> None:
        """Raises FileError when the file is not a recording or contains no snapshot."""
        self.path = path
        self.times: list[float] = []
        self._frames: list[tuple[bool, Object]] = []
        self._at = -1
        self._now: Object = {}
        head: Object | None = None
        for line in _lines(path):
            if line.get("format") == FORMAT:
                head = head or line
            elif head is None:
                break
            else:
                self._add(line)
        if head is None or not self.times:
            raise _wrong(path, "this is not a recording, or the recording holds no snapshot")
        self.deployment = _deployment(path, head)

    def _add(self, line: Object) -> None:
        for sign in ("whole", "then"):
            part = line.get(sign)
            if isinstance(part, dict):
                inner = part if sign == "whole" else part.get("+", {})
                at = inner.get("at") if isinstance(inner, dict) else None
                self._frames.append((sign == "whole", part))
                self.times.append(float(at) if isinstance(at, int | float) else self.times[-1] if self.times else 0.0)

    def snapshot(self, number: int) -> ClusterSnapshot:
        """The snapshot with this number, from 0. Raises ConsoleError when the file is damaged there."""
        begin = number
        while begin > 0 and not self._frames[begin][0] and begin - 1 != self._at:
            begin -= 1
        now = self._now if begin - 1 == self._at else {}
        try:
            for is_whole, part in self._frames[begin : number + 1]:
                now = part if is_whole else apply_difference(now, part)
            found = _SNAPSHOT.validate_python(now)
        except (ValueError, ValidationError) as error:
            raise ConsoleError(f"{self.path}: snapshot {number + 1} cannot be read: {error}") from None
        self._at, self._now = number, now
        return found


def _lines(path: Path) -> Iterator[Object]:
    """The complete lines of a file that may be cut off. Raises FileError when it cannot be read."""
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(LONGEST_LINE):
                if not line.endswith(b"\n"):
                    return
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found
    except (EOFError, zlib.error):
        return
    except (OSError, ValueError, RecursionError) as error:
        raise _wrong(path, getattr(error, "strerror", None) or "this is not a recording") from None


def _wrong(path: Path, message: str) -> FileError:
    return FileError(
        (Problem(str(path), 0, 0, "", message),), hint="a recording is made with: dsv4-console --record FILE"
    )


def _deployment(path: Path, head: Object) -> Deployment:
    try:
        return Deployment(
            Cluster.model_validate(head.get("cluster")),
            Layout.model_validate(head.get("layout")),
            _ASSIGNMENT.validate_python(head.get("assignment")),
        )
    except ValidationError as error:
        raise _wrong(path, f"its cluster or layout cannot be read: {error.errors()[0]['msg']}") from None
