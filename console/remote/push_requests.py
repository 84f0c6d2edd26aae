"""What this console asked one helper to push: nothing else of it is taken.

No I/O. A helper that is honest sends a log's bytes in order from where it was told to start; what is on its way when that
is told anew is no fault, and is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from console.model.run import LogChunk, Probe, RunKey
from console.node.log_tails import TURN_BYTES
from console.remote.frame_decoding import WireError


class PushRequests:
    """The pushes that one helper was asked for; a new one for each helper."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = frozenset(probe.name for probe in probes)
        self._expected: dict[RunKey, int] = {}
        self._once: set[RunKey] = set()
        """Logs that were asked for at any time."""
        self._ending: set[RunKey] = set()

    def follow(self, key: RunKey, offset: int) -> None:
        """Its log is wanted from `offset` on."""
        self._expected[key] = offset
        self._once.add(key)

    def unfollow(self, key: RunKey) -> None:
        """It is wanted no more."""
        self._expected.pop(key, None)

    def end(self, keys: Iterable[RunKey]) -> None:
        """Their end is asked for: the stages of it are wanted."""
        self._ending.update(keys)

    def log(self, chunk: LogChunk) -> bool:
        """Whether these bytes are the next of a log that is wanted. Raises WireError for a log that never was."""
        self.known(chunk.key)
        if len(chunk.data) > TURN_BYTES:
            raise WireError(f"a piece of {len(chunk.data)} bytes of a log, more than one may have")
        if chunk.restarted and chunk.offset:
            raise WireError("a log that starts anew in its middle")
        expected = self._expected.get(chunk.key)
        if expected is None or (chunk.offset != expected and not chunk.restarted):
            return False
        self._expected[chunk.key] = chunk.offset + len(chunk.data)
        return True

    def known(self, key: RunKey) -> None:
        """Raises WireError for a log that nobody asked for."""
        if key not in self._once:
            raise WireError(f"it pushed the log of {key.deployment}/{key.engine}, which nobody asked for")

    def sample(self, probe: str) -> None:
        """Raises WireError for a probe that it was not given."""
        if probe not in self._probes:
            raise WireError(f"it pushed a probe {probe[:40]!r}, which nobody asked for")

    def stage(self, key: RunKey) -> None:
        """Raises WireError for a stop that nobody asked for."""
        if key not in self._ending:
            raise WireError(f"it pushed a stop of {key.engine}, which nobody asked for")
