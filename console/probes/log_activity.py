"""Whether a log that grows says anything: lines by which an engine only tells that it still waits are no sign of life.

vLLM repeats such a line every minute for as long as it hangs (distributed/device_communicators/shm_broadcast.py), so that a hung
load looked alive once a minute. Which words those are is known to the table of signatures (`waits`).
"""

from __future__ import annotations

from dataclasses import dataclass

from console.probes.log_time import Around, Clock, utc, written

SAID_BYTES = 4096
"""Most bytes of the last lines that are kept, to find their time stamp later."""


@dataclass(slots=True)
class Activity:
    """Takes new lines of a log; tells when it last showed activity, and how long it has only shown signs of waiting."""

    waiting: tuple[bytes, ...] = ()
    """Texts of lines that an engine repeats while it waits."""
    spoke_at: float | None = None
    """Arrival of the last other line, on the caller's clock; None without one."""
    _said: bytes = b""
    _waits: tuple[str, str] | None = None
    """(first, last) time stamp of the current waiting lines; None when the last line is another one."""
    _at: float = 0.0

    def feed(self, lines: bytes, rest: bytes, at: float, known: int = 0) -> None:
        """Take complete lines and the start of the next one; `at` is their arrival.

        The first `known` bytes arrived before, as the start of a line.
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
        """How long it has only shown signs of waiting, by its time stamps (0 without); None when its last line is another one.

        It is needed when the lines were not seen as they arrived: the age of the file is the age of its last line.
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
