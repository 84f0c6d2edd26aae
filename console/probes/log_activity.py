"""Whether a log that grows says anything: lines by which an engine only tells that it still waits are no sign of life.

vLLM repeats such a line every minute for as long as it hangs (distributed/device_communicators/shm_broadcast.py), so that a hung
load looked alive once a minute. Which words those are is known to the table of signatures (`waits`).
"""

from __future__ import annotations

from dataclasses import dataclass

from console.probes.log_time import Around, Clock, utc, written

SAID_BYTES = 4096
"""So much of the last words is kept, to find their stamp when it is asked for."""


@dataclass(slots=True)
class Activity:
    """Feed it what a log gains; read when it last said something, and for how long it has only said that it waits since."""

    waiting: tuple[bytes, ...] = ()
    """Words of the lines by which an engine only says that it waits."""
    spoke_at: float | None = None
    """When it last said something else, the caller's clock; None while it never did."""
    _said: bytes = b""
    _waits: tuple[str, str] | None = None
    """Stamps from which to which it has said only that it waits; None while it says something else."""
    _at: float = 0.0

    def feed(self, lines: bytes, rest: bytes, at: float, known: int = 0) -> None:
        """Take whole lines and what stands of the next one; `at` is when they came.

        The first `known` bytes came before, as the start of a line.
        """
        self._at = at
        if any(each in lines for each in self.waiting):
            for line in lines.split(b"\n"):
                if any(each in line for each in self.waiting):
                    self._wait(line)
                elif line[known:].strip():
                    self._say(line, at)
                known = 0
        elif lines[known:].strip():
            self._say(lines[-SAID_BYTES:], at)
        if rest.strip():
            self._say(b"", at)

    @property
    def waited_s(self) -> float | None:
        """For how long it has said only that it waits, by its stamps, 0 without; None when the last it said is something else.

        It helps whoever did not see the lines arrive: the age of the file is that of the last of them.
        """
        if self._waits is None:
            return None
        clock = Clock(utc, Around.until(self._at))
        begin, end = (clock.read(stamp) if stamp else None for stamp in self._waits)
        return max(0.0, end - begin) if begin is not None and end is not None else 0.0

    def _say(self, words: bytes, at: float) -> None:
        self.spoke_at, self._said, self._waits = at, words, None

    def _wait(self, line: bytes) -> None:
        stamp = written(line)
        begin = self._waits[0] if self._waits else written(self._said.rstrip().rsplit(b"\n", 1)[-1])
        self._waits = (begin or stamp, stamp or begin)
