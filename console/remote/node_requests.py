"""The requests to a node as methods: each sends one request to the helper once, with a time limit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from pydantic import JsonValue

from console.model.cluster import Node
from console.model.errors import NodeError
from console.model.run import RunKey, RunState, Sample, StopResult
from console.node.frames import Header
from console.remote import frame_decoding, sample_decoding
from console.remote.helper_channel import ASK, Hear
from console.remote.http import EngineHttp

QUICK_S = 20.0
LAUNCH_S = 90.0
"""Longer than the node waits for the answer of a supervisor."""
MARGIN_S = 15.0
"""Additional time for the transfer, on top of the time limit on the node."""
READ_BYTES = 1024 * 1024

T = TypeVar("T")


class NodeRequests(ABC):
    """The requests to one node. They raise NodeError (refused), Unreachable (not sent) or LinkLost (outcome unknown)."""

    node: Node

    @abstractmethod
    async def _ask(
        self, op: str, body: Mapping[str, object], payload: bytes = b"", *, timeout_s: float, hear: Hear | None = None
    ) -> tuple[Header, bytes]:
        """Send one request and wait for its reply; `hear` gets the pieces of a streamed answer."""

    @abstractmethod
    def _expect_stages(self, keys: Iterable[RunKey]) -> None:
        """Expect pushed stages of the stop of these runs."""

    def http(self, api_key: str = "", *, tls: bool = False, uds: str = "") -> EngineHttp:
        """HTTP to the servers of this node, through its helper."""
        return EngineHttp(self, api_key, tls=tls, uds=uds)

    async def ask_server(
        self, fields: Mapping[str, object], body: bytes, timeout_s: float, hear: Hear | None
    ) -> tuple[Header, bytes]:
        """Have the helper send an HTTP request. A cancelled call ends the request at the server."""
        return await self._ask(ASK, fields, body, timeout_s=timeout_s + MARGIN_S, hear=hear)

    async def prepare(
        self,
        key: RunKey,
        spec: Mapping[str, object],
        script: str,
        expect_run: str | None,
        container: Mapping[str, object] | None = None,
    ) -> str:
        """Write the directory of a run; nothing starts. Returns the type of its file system, empty when not reported.

        The node refuses (`changed`) when the current run of the engine is not `expect_run`. With `container` (name, flags,
        image) the launch creates a container for the run.
        """
        body = {"key": _words(key), "spec": dict(spec), "expect_run": expect_run, "container": container}
        header, _ = await self._ask("prepare", body, script.encode("utf-8"), timeout_s=QUICK_S)
        return str(header.get("file_system") or "")

    async def commit(self, key: RunKey) -> RunState:
        """Start a prepared run; returns when its program runs. The node can refuse: `busy` (with the holder), `changed`, `os`."""
        header, _ = await self._ask("commit", {"key": _words(key)}, timeout_s=LAUNCH_S)
        state = self._sensible(lambda: frame_decoding.run(header.get("state")))
        if state.key != key:
            raise NodeError(f"{self.node.name}: its answer is for another run", kind="os", node=self.node.name)
        return state

    async def discard(self, key: RunKey) -> None:
        """Delete a run that was prepared and not started."""
        await self._ask("discard", {"key": _words(key)}, timeout_s=QUICK_S)

    async def stop(
        self, keys: Iterable[RunKey], grace_s: float, kill_s: float, by: str = ""
    ) -> Mapping[RunKey, StopResult]:
        """Stop runs: TERM, then after `grace_s` seconds KILL for remaining processes, which must end within `kill_s` seconds."""
        asked = tuple(keys)
        self._expect_stages(asked)
        body = {"keys": [_words(key) for key in asked], "grace_s": grace_s, "kill_s": kill_s, "by": by}
        header, _ = await self._ask("stop", body, timeout_s=grace_s + kill_s + MARGIN_S)
        return self._results(header, asked)

    async def kill(self, keys: Iterable[RunKey], kill_s: float = 15.0, by: str = "") -> Mapping[RunKey, StopResult]:
        """Kill runs at once."""
        asked = tuple(keys)
        self._expect_stages(asked)
        body = {"keys": [_words(key) for key in asked], "kill_s": kill_s, "by": by}
        header, _ = await self._ask("kill", body, timeout_s=kill_s + MARGIN_S)
        return self._results(header, asked)

    async def end(self, pid: int, start: int, boot_id: str, *, kill: bool, limit_s: float) -> StopResult:
        """Send TERM to an unmanaged process, or KILL to it and its children; it must end within `limit_s` seconds.

        The node refuses when the pid is now another process (`changed`), or when it does not list the process (`refused`).
        """
        body = {"pid": pid, "start": start, "boot_id": boot_id, "kill": kill, "limit_s": limit_s}
        header, _ = await self._ask("end", body, timeout_s=limit_s + MARGIN_S)
        return self._sensible(lambda: frame_decoding.end_result(header.get("result")))

    async def read(self, what: RunKey | str, offset: int, length: int) -> bytes:
        """Bytes of the log of a run, or of a file below the base directory; fewer at the end of the file."""
        where: dict[str, object] = {"path": what} if isinstance(what, str) else {"key": _words(what)}
        taken = bytearray()
        while len(taken) < length:
            step = min(READ_BYTES, length - len(taken))
            body = {**where, "offset": offset + len(taken), "length": step}
            _, data = await self._ask("read", body, timeout_s=QUICK_S)
            taken += data
            if len(data) < step:
                break
        return bytes(taken[:length])

    async def digest(self, key: RunKey, offset: int, length: int) -> tuple[int, str]:
        """(number of bytes, SHA-256 in hexadecimal) of a part of the log of a run on the node."""
        body = {"key": _words(key), "offset": offset, "length": length}
        header, _ = await self._ask("digest", body, timeout_s=QUICK_S)
        return self._sensible(lambda: frame_decoding.digest(header))

    async def run_command(
        self, argv: Iterable[str], timeout_s: float, stdin: bytes = b"", max_bytes: int = 1024 * 1024
    ) -> Sample:
        """Run a command on the node; at the time limit it and its children are killed (then `exit_code` is None)."""
        body = {"argv": list(argv), "timeout_s": timeout_s, "max_bytes": max_bytes}
        header, payload = await self._ask("exec", body, stdin, timeout_s=timeout_s + MARGIN_S)
        found = self._sensible(lambda: sample_decoding.sample("", header, payload))
        if max(len(found.stdout), len(found.stderr)) > max_bytes:
            raise NodeError(f"{self.node.name}: it sent more data than requested", kind="os", node=self.node.name)
        return found

    async def probe_now(self, name: str) -> None:
        """Run a probe at once; its answer arrives as a sample."""
        await self._ask("probe", {"name": name}, timeout_s=QUICK_S)

    async def lease(self, deployment: str, act: str, **fields: JsonValue) -> Mapping[str, JsonValue]:
        """`look` at, `take` (holder, verb, token, takeover, ends) or `give-back` (token) the lease of a deployment."""
        header, _ = await self._ask("lease", {**fields, "deployment": deployment, "act": act}, timeout_s=QUICK_S)
        return self._sensible(lambda: frame_decoding.lease(header))

    async def note(self, deployment: str, name: str, value: Mapping[str, JsonValue]) -> None:
        """Replace a note on a deployment, which `lease` returns; an empty note deletes it."""
        body = {"deployment": deployment, "act": "note", "name": name, "value": dict(value)}
        await self._ask("lease", body, timeout_s=QUICK_S)

    def _results(self, header: Header, asked: Iterable[RunKey]) -> Mapping[RunKey, StopResult]:
        """The results of the requested runs; other results are ignored."""
        found = self._sensible(lambda: frame_decoding.stop_results(header.get("results")))
        if not set(found) >= set(asked):
            raise NodeError(f"{self.node.name}: its answer lacks a run", kind="os", node=self.node.name)
        return {key: found[key] for key in asked}

    def _sensible(self, read: Callable[[], T]) -> T:
        """Turns an invalid reply into a NodeError."""
        try:
            return read()
        except frame_decoding.WireError as error:
            raise NodeError(f"{self.node.name}: {error}", kind="os", node=self.node.name) from error


def _words(key: RunKey) -> list[str]:
    return [key.deployment, key.engine, key.run]
