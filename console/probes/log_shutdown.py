"""How an engine's log says that the engine ends: by which line, when, and whether it was told to.

Measured on vLLM 0.21 (v1/engine/utils.py, entrypoints/cli/serve.py): a worker whose core is gone says so within a second; a
headless parent says `Waiting up to N seconds …` only after a signal, so its bare `Shutting down.` means that its cores ended by
themselves. The parent then lingers for seconds, longer than its peers, so the order in which processes exit is no evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.probes.log_line import LogLine

CORE_GONE = "Parent process exited"
"""What a worker says when its engine core is gone, whoever ended that."""
_TOLD = ("processes to exit", "[shutdown] ")
"""What only a signal to the parent makes an engine say: vLLM 0.21 headless, and later releases."""
_SILENT = "its engine cores ended without a word: they were killed, or the node had no memory left; see dmesg"
_PART_SILENT = "its main process ended without a word: it was killed, or the node had no memory left; see dmesg"
"""Of a further part of an engine that spans nodes: its workers have no core, they belong to the command itself."""


@dataclass(slots=True)
class EndFinder:
    """Keeps the first line by which a log says that its engine ends."""

    first: LogLine | None = None
    seen_at: float = 0.0
    """When that line came, the caller's clock."""
    told: bool = False
    """Whether the log says that a signal asked for it."""
    over: bool = False
    """Whether it is the parent's last word."""

    def note(self, line: LogLine, at: float, *, over: bool = False) -> None:
        """Take a line of the end; `over` says that the parent has nothing more to do."""
        if self.first is None:
            self.first, self.seen_at = line, at
        self.told = self.told or any(word in line.text for word in _TOLD)
        self.over = self.over or over

    def death(self, headless: bool, error: LogLine | None, *, part: bool = False) -> str:
        """What an engine died of that ended by itself: a worker lost its core before anything else was said, or a headless
        parent said its last word; empty while it lives or when it was told to end.
        """
        lost = self.first is not None and CORE_GONE in self.first.text
        if self.told or not (lost or (headless and self.over)):
            return ""
        return error.text if error is not None else _PART_SILENT if part else _SILENT

    def earliest(self, deadly: LogLine | None) -> str:
        """The stamp of the first line that says that the engine ends or is dead; empty when that has none."""
        found = [each for each in (self.first, deadly) if each is not None and each.time]
        return min(found, key=lambda line: line.offset).time if found else ""
