"""The pushes that the console requested from one helper; all other pushes are errors. Does no I/O.

A correct helper sends the bytes of a log in order from the requested offset. Bytes that were on the way when another offset was
requested are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from console.model.run import LogChunk, Probe, RunKey
from console.node.log_tails import TURN_BYTES
from console.remote.frame_decoding import WireError


class PushRequests:
    """The pushes that were requested from one helper."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = frozenset(probe.name for probe in probes)
        self._expected: dict[RunKey, int] = {}
        self._once: set[RunKey] = set()
        """Logs that were requested at any time."""
        self._ending: set[RunKey] = set()

    def follow(self, key: RunKey, offset: int) -> None:
        """Expect the log from `offset` on."""
        self._expected[key] = offset
        self._once.add(key)

    def unfollow(self, key: RunKey) -> None:
        """Do not expect the log any more."""
        self._expected.pop(key, None)

    def end(self, keys: Iterable[RunKey]) -> None:
        """Expect the stages of the stop of these runs."""
        self._ending.update(keys)

    def log(self, chunk: LogChunk) -> bool:
        """Whether these bytes are the next ones of a requested log. Raises WireError for a log that was never requested."""
        self.known(chunk.key)
        if len(chunk.data) > TURN_BYTES:
            raise WireError(f"a piece of a log has {len(chunk.data)} bytes, which is too large")
        if chunk.restarted and chunk.offset:
            raise WireError("a log restarted at an offset other than 0")
        expected = self._expected.get(chunk.key)
        if expected is None or (chunk.offset != expected and not chunk.restarted):
            return False
        self._expected[chunk.key] = chunk.offset + len(chunk.data)
        return True

    def known(self, key: RunKey) -> None:
        """Raises WireError for a log that was not requested."""
        if key not in self._once:
            raise WireError(f"it pushed the log of {key.deployment}/{key.engine}, which was not requested")

    def sample(self, probe: str) -> None:
        """Raises WireError for a probe that was not requested."""
        if probe not in self._probes:
            raise WireError(f"it pushed a probe {probe[:40]!r}, which was not requested")

    def stage(self, key: RunKey) -> None:
        """Raises WireError for a stop that was not requested."""
        if key not in self._ending:
            raise WireError(f"it pushed a stop of {key.engine}, which was not requested")
