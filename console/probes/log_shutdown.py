"""Finds in the log of an engine that it ends: the line, the time, and whether a signal requested it.

Measured on vLLM 0.21 (v1/engine/utils.py, entrypoints/cli/serve.py): a worker whose core is gone says so within a second; a
headless parent says `Waiting up to N seconds …` only after a signal, so its bare `Shutting down.` means that its cores ended by
themselves. The parent then lingers for seconds, longer than its peers, so the order in which processes exit is no evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.probes.log_line import LogLine

CORE_GONE = "Parent process exited"
"""The line of a worker when its engine core has ended, for any reason."""
_TOLD = ("processes to exit", "[shutdown] ")
"""Texts that an engine writes only after a signal to its parent: vLLM 0.21 headless, and later releases."""
_SILENT = "its engine cores ended without a message: they were killed, or the node had no free memory; see dmesg"
_PART_SILENT = "its main process ended without a message: it was killed, or the node had no free memory; see dmesg"
"""For the second and later parts of an engine that spans nodes: their workers belong to the command, there is no core."""


@dataclass(slots=True)
class EndFinder:
    """Keeps the first line of a log that shows the end of its engine."""

    first: LogLine | None = None
    seen_at: float = 0.0
    """Arrival of that line, on the caller's clock."""
    told: bool = False
    """Whether the log shows that a signal requested the end."""
    over: bool = False
    """Whether it is the last line of the parent."""

    def note(self, line: LogLine, at: float, *, over: bool = False) -> None:
        """Read a line about the end; `over` means that it is the last line of the parent."""
        if self.first is None:
            self.first, self.seen_at = line, at
        self.told = self.told or any(word in line.text for word in _TOLD)
        self.over = self.over or over

    def death(self, headless: bool, error: LogLine | None, *, part: bool = False) -> str:
        """Why an engine died by itself: a worker lost its core before any message, or a headless parent wrote its last line.

        Empty while it lives, or when a signal requested the end.
        """
        lost = self.first is not None and CORE_GONE in self.first.text
        if self.told or not (lost or (headless and self.over)):
            return ""
        return error.text if error is not None else _PART_SILENT if part else _SILENT

    def earliest(self, deadly: LogLine | None) -> str:
        """The time stamp of the first line about the end or the death of the engine; empty without one."""
        found = [each for each in (self.first, deadly) if each is not None and each.time]
        return min(found, key=lambda line: line.offset).time if found else ""
