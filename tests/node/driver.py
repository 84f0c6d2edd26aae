"""A helper as a process of this machine, spoken to in frames: the node's side without any SSH."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from console.node.bundle_stdin import FLAGS
from console.node.frames import MARKER, pack, read_frame
from console.node.processes import boot_id
from console.remote.helper_bundle import first_bytes
from tests.waiting import until_blocking

Key = tuple[str, str, str]


class Refused(Exception):
    """The helper said no."""

    def __init__(self, reply: Mapping[str, Any]) -> None:
        super().__init__(f"{reply['kind']}: {reply['message']}")
        self.kind = str(reply["kind"])
        self.hint = str(reply["hint"])


class Driver:
    """One helper."""

    def __init__(
        self,
        base: Path,
        *,
        runtime: Mapping[str, Any] | None = None,
        python: str = sys.executable,
        runs_every_s: float = 0.1,
    ) -> None:
        self.base = base
        self.pushes: list[dict[str, Any]] = []
        self.runs: dict[Key, dict[str, Any]] = {}
        self.error = ""
        self.unmanaged: list[dict[str, Any]] = []
        self.logs: dict[Key, bytearray] = {}
        self.pieces: dict[int, list[bytes]] = {}
        """Number of a request → the streamed pieces of its answer."""
        self._replies: dict[int, tuple[dict[str, Any], bytes]] = {}
        self._number = 0
        self._lock = threading.Lock()
        self.process = subprocess.Popen(
            [python, *FLAGS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._stdin = cast(BinaryIO, self.process.stdin)
        self._stdout = cast(BinaryIO, self.process.stdout)
        self._write(first_bytes())
        assert self._stdout.read(len(MARKER)) == MARKER
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        runtime = runtime or {"words": [], "container": "", "python": sys.executable}
        self.notify("watch", base=str(base), runtime=runtime, probes=[], deployments=None, runs_every_s=runs_every_s)

    def notify(self, op: str, payload: bytes = b"", **body: Any) -> None:
        """Say something that wants no answer."""
        self._write(pack({**body, "op": op}, payload))

    def ask(self, op: str, payload: bytes = b"", **body: Any) -> tuple[dict[str, Any], bytes]:
        """Ask and wait; raises Refused."""
        number = self.begin(op, payload, **body)
        until_blocking(lambda: number in self._replies or self.process.poll() is not None, 60, f"answer to {op}")
        reply, data = self._replies.pop(number)
        if not reply["ok"]:
            raise Refused(reply)
        return reply, data

    def begin(self, op: str, payload: bytes = b"", **body: Any) -> int:
        """Ask without waiting; gives the number of the request."""
        with self._lock:
            self._number += 1
            number = self._number
        self._write(pack({**body, "op": op, "id": number}, payload))
        return number

    def prepare(self, key: Key, body: str, expect: str | None = None, **spec: Any) -> None:
        """Write a run whose script is bash."""
        self.ask("prepare", f"#!/bin/bash\n{body}\n".encode(), key=key, spec=spec, expect_run=expect)

    def launch(self, key: Key, body: str, expect: str | None = None) -> dict[str, Any]:
        """Prepare and commit; gives the state after it."""
        self.prepare(key, body, expect)
        state: dict[str, Any] = self.ask("commit", key=key)[0]["state"]
        return state

    def stop(self, *keys: Key, grace_s: float = 5.0, kill_s: float = 5.0) -> list[dict[str, Any]]:
        """Stop; gives a result for each."""
        results: list[dict[str, Any]] = self.ask("stop", keys=keys, grace_s=grace_s, kill_s=kill_s)[0]["results"]
        return results

    def verdict(self, key: Key) -> str | None:
        """What the last list of runs said."""
        return self.runs[key]["verdict"] if key in self.runs else None

    def until(self, key: Key, verdict: str) -> dict[str, Any]:
        """Wait for a verdict; gives the state."""
        until_blocking(lambda: self.verdict(key) == verdict, 10, f"{verdict} (is {self.verdict(key)})")
        return self.runs[key]

    def stranger(self, pid: int) -> dict[str, Any] | None:
        """What it says of an unmanaged process after a walk over all processes, which by itself it makes rarely."""
        self.ask("end", pid=0, start=0, boot_id=boot_id(), kill=False, limit_s=0)
        return next((each for each in self.unmanaged if each["pid"] == pid), None)

    def close(self) -> int:
        """End its stdin; gives its exit status."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            return self.process.wait(5)
        finally:
            self.process.kill()
            self._reader.join(5)
            self._stdout.close()

    def _write(self, data: bytes) -> None:
        with self._lock:
            self._stdin.write(data)
            self._stdin.flush()

    def _read(self) -> None:
        while True:
            try:
                frame = read_frame(self._stdout)
            except ValueError:
                return
            if frame is None:
                return
            header, payload = frame
            if "push" in header:
                self._pushed(header, payload)
            elif header.get("id") is not None:
                self._replies[header["id"]] = (header, payload)

    def _pushed(self, header: dict[str, Any], payload: bytes) -> None:
        self.pushes.append(header)
        if header["push"] == "runs":
            self.error = header["error"]
            self.runs = {cast(Key, tuple(each["key"])): each for each in header["runs"]}
            self.unmanaged = header["unmanaged"]
        elif header["push"] == "piece":
            self.pieces.setdefault(header["id"], []).append(payload)
        elif header["push"] == "log":
            copy = self.logs.setdefault(cast(Key, tuple(header["key"])), bytearray())
            if header["restarted"]:
                copy.clear()
            assert header["offset"] == len(copy)
            copy += payload
            self._credit(header["key"], len(payload))

    def _credit(self, key: list[str], count: int) -> None:
        with contextlib.suppress(ValueError):  # the test is over and its stream closed
            self.notify("credit", key=key, bytes=count)


@contextlib.contextmanager
def helper(base: Path, **options: Any) -> Iterator[Driver]:
    """A helper for the length of a test. What it launched is killed by cookie at the end, whatever the test did."""
    driver = Driver(base, **options)
    try:
        yield driver
    finally:
        driver.close()
        sweep(base)


def sweep(base: Path) -> None:
    """Kill every process whose cookie belongs to a run below `base`."""
    tokens = set()
    for path in base.glob("*/*/runs/*/spec.json"):
        tokens.add(path.read_text().split('"token": "')[1].split('"')[0])

    def left() -> list[int]:
        return [pid for token in tokens for pid in carriers(token)]

    def clear() -> bool:
        for pid in left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        return not left()

    until_blocking(clear)


def carriers(token: str, variable: str = "DSV4_RUN") -> list[int]:
    """Pids of processes with a cookie, read apart from the code under test."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"{variable}={token}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
