"""An unmanaged process on a node: a vLLM process, or a process that holds HBM, that this console does not manage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UnmanagedReason(StrEnum):
    """Why a process that belongs to no run is reported."""

    VLLM = "vllm"
    """A vLLM process without a cookie: somebody started it by hand."""
    OTHER_BASE = "other-base"
    """It has a cookie, but no run below the base directory of this node has the same: another console manages it."""
    HBM = "hbm"
    """npu-smi reports that it holds HBM."""
    GONE = "gone"
    """npu-smi reports that it holds HBM, but no such process lives: the driver did not release the memory."""


@dataclass(frozen=True, slots=True)
class UnmanagedProcess:
    """One unmanaged process. `owner` and `command` come from the node and are untrusted."""

    pid: int
    """The pid on the host."""
    start: int = 0
    """Start time in clock ticks after boot; with pid and boot id it identifies the process. 0 when no such process lives."""
    owner: str = ""
    command: str = ""
    why: UnmanagedReason = UnmanagedReason.VLLM
    base: str = ""
    """Base directory of the console that manages it; empty when there is none or it is unknown."""
    container: str = ""
    """Short id of its container; empty on the host."""
    started_at: float | None = None
    """Seconds since the epoch, on the clock of this machine."""
    below: tuple[int, ...] = ()
    """Its child processes of the same kind: engine core and workers."""
    mib: int | None = None
    """HBM of all of them according to npu-smi; None when npu-smi does not report it."""
    devices: tuple[int, ...] = ()
    """Devices on which they hold HBM."""

    def age_s(self, now: float) -> float | None:
        """Seconds since it started."""
        return None if self.started_at is None else max(0.0, now - self.started_at)

    @property
    def reason(self) -> str:
        """Why it is reported, as text."""
        if self.why is UnmanagedReason.OTHER_BASE:
            return (
                f"managed by a console with base {self.base}" if self.base else "managed by a console with another base"
            )
        return _REASONS[self.why]


_REASONS = {
    UnmanagedReason.VLLM: "vLLM that no console started",
    UnmanagedReason.HBM: "holds HBM, not vLLM by its name",
    UnmanagedReason.GONE: "holds HBM according to npu-smi, but no such process lives",
}
