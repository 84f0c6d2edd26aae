"""What can be asked of a node, as methods: each one request of the helper, with a time limit, sent once.

How requests travel does not enter here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from pydantic import JsonValue

from console.model.cluster import Node
from console.model.errors import NodeError
from console.model.run import RunKey, RunState, Sample, StopResult
from console.node.frames import Header
from console.remote import frame_decoding

QUICK_S = 20.0
LAUNCH_S = 90.0
"""Longer than the node itself waits for a supervisor's answer."""
MARGIN_S = 15.0
"""What the way there and back may add to a time limit the node keeps."""
READ_BYTES = 1024 * 1024

T = TypeVar("T")


class NodeRequests(ABC):
    """The requests of one node. They raise NodeError (refused), Unreachable (not sent) or LinkLost (nobody knows)."""

    node: Node

    @abstractmethod
    async def _ask(
        self, op: str, body: Mapping[str, object], payload: bytes = b"", *, timeout_s: float
    ) -> tuple[Header, bytes]:
        """Send one request and wait for its reply."""

    @abstractmethod
    def _expect_stages(self, keys: Iterable[RunKey]) -> None:
        """The node will push how the end of these runs goes."""

    async def prepare(
        self,
        key: RunKey,
        spec: Mapping[str, object],
        script: str,
        expect_run: str | None,
        container: Mapping[str, object] | None = None,
    ) -> str:
        """Write a run's directory; nothing is started. Gives the type of the file system it is on, empty when not reported.

        Refused (`changed`) when the engine's current run is not `expect_run`. `container` (name, flags, image) has the
        launch make one for this run.
        """
        body = {"key": _words(key), "spec": dict(spec), "expect_run": expect_run, "container": container}
        header, _ = await self._ask("prepare", body, script.encode("utf-8"), timeout_s=QUICK_S)
        return str(header.get("file_system") or "")

    async def commit(self, key: RunKey) -> RunState:
        """Launch a prepared run; returns once its program runs. Refused as `busy` (naming the holder), `changed`, `os`."""
        header, _ = await self._ask("commit", {"key": _words(key)}, timeout_s=LAUNCH_S)
        state = self._sensible(lambda: frame_decoding.run(header.get("state")))
        if state.key != key:
            raise NodeError(f"{self.node.name}: it answered for another run", kind="os", node=self.node.name)
        return state

    async def discard(self, key: RunKey) -> None:
        """Take back a run that was prepared and not launched."""
        await self._ask("discard", {"key": _words(key)}, timeout_s=QUICK_S)

    async def stop(
        self, keys: Iterable[RunKey], grace_s: float, kill_s: float, by: str = ""
    ) -> Mapping[RunKey, StopResult]:
        """TERM for all, `grace_s` to end, KILL for what is left, `kill_s` for it to go."""
        asked = tuple(keys)
        self._expect_stages(asked)
        body = {"keys": [_words(key) for key in asked], "grace_s": grace_s, "kill_s": kill_s, "by": by}
        header, _ = await self._ask("stop", body, timeout_s=grace_s + kill_s + MARGIN_S)
        return self._results(header, asked)

    async def kill(self, keys: Iterable[RunKey], kill_s: float = 15.0, by: str = "") -> Mapping[RunKey, StopResult]:
        """KILL for all at once."""
        asked = tuple(keys)
        self._expect_stages(asked)
        body = {"keys": [_words(key) for key in asked], "kill_s": kill_s, "by": by}
        header, _ = await self._ask("kill", body, timeout_s=kill_s + MARGIN_S)
        return self._results(header, asked)

    async def end(self, pid: int, start: int, boot_id: str, *, kill: bool, limit_s: float) -> StopResult:
        """TERM for an unmanaged process, or KILL for it and what is below it; `limit_s` for it to go.

        Refused (`changed`) when the pid is another process by now, (`refused`) when the node does not list it.
        """
        body = {"pid": pid, "start": start, "boot_id": boot_id, "kill": kill, "limit_s": limit_s}
        header, _ = await self._ask("end", body, timeout_s=limit_s + MARGIN_S)
        return self._sensible(lambda: frame_decoding.end_result(header.get("result")))

    async def read(self, what: RunKey | str, offset: int, length: int) -> bytes:
        """Bytes of a run's log, or of a file given by its path below the base directory; fewer at its end."""
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
        """How many bytes of a part of a run's log there are on the node, and their SHA-256 in hexadecimal."""
        body = {"key": _words(key), "offset": offset, "length": length}
        header, _ = await self._ask("digest", body, timeout_s=QUICK_S)
        return self._sensible(lambda: frame_decoding.digest(header))

    async def run_command(
        self, argv: Iterable[str], timeout_s: float, stdin: bytes = b"", max_bytes: int = 1024 * 1024
    ) -> Sample:
        """Run a command on the node; it and its children are killed at the deadline (`exit_code` None then)."""
        body = {"argv": list(argv), "timeout_s": timeout_s, "max_bytes": max_bytes}
        header, payload = await self._ask("exec", body, stdin, timeout_s=timeout_s + MARGIN_S)
        found = self._sensible(lambda: frame_decoding.sample("", header, payload))
        if max(len(found.stdout), len(found.stderr)) > max_bytes:
            raise NodeError(f"{self.node.name}: it sent more than was asked for", kind="os", node=self.node.name)
        return found

    async def probe_now(self, name: str) -> None:
        """Have a probe run at once; its answer comes as any sample."""
        await self._ask("probe", {"name": name}, timeout_s=QUICK_S)

    async def lease(self, deployment: str, act: str, **fields: JsonValue) -> Mapping[str, JsonValue]:
        """`look`, `take` (holder, verb, token, takeover, ends) or `give-back` (token) the lease of a deployment."""
        header, _ = await self._ask("lease", {**fields, "deployment": deployment, "act": act}, timeout_s=QUICK_S)
        return self._sensible(lambda: frame_decoding.lease(header))

    async def note(self, deployment: str, name: str, value: Mapping[str, JsonValue]) -> None:
        """Replace a note on a deployment, which `lease` tells with each look; an empty one takes it away."""
        body = {"deployment": deployment, "act": "note", "name": name, "value": dict(value)}
        await self._ask("lease", body, timeout_s=QUICK_S)

    def _results(self, header: Header, asked: Iterable[RunKey]) -> Mapping[RunKey, StopResult]:
        """Of what was asked for, and of nothing else."""
        found = self._sensible(lambda: frame_decoding.stop_results(header.get("results")))
        if not set(found) >= set(asked):
            raise NodeError(f"{self.node.name}: it reported nothing of a run", kind="os", node=self.node.name)
        return {key: found[key] for key in asked}

    def _sensible(self, read: Callable[[], T]) -> T:
        """A reply that makes no sense is a node's error."""
        try:
            return read()
        except frame_decoding.WireError as error:
            raise NodeError(f"{self.node.name}: {error}", kind="os", node=self.node.name) from error


def _words(key: RunKey) -> list[str]:
    return [key.deployment, key.engine, key.run]
