"""A process on a node that no console of ours keeps, and that stands in the way all the same: of vLLM, or holding HBM."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UnmanagedReason(StrEnum):
    """Why a process is reported though no run of ours has it."""

    VLLM = "vllm"
    """A vLLM process without a cookie of ours: somebody started it by hand."""
    OTHER_BASE = "other-base"
    """It carries a cookie, but no run below this node's base directory has it: another console keeps it."""
    HBM = "hbm"
    """npu-smi says that it holds HBM."""
    GONE = "gone"
    """npu-smi says that it holds HBM, and no such process lives: the driver did not let go."""


@dataclass(frozen=True, slots=True)
class UnmanagedProcess:
    """One such process. `owner` and `command` are words of the node: untrusted."""

    pid: int
    """Host side."""
    start: int = 0
    """Clock ticks after boot: with pid and boot id its identity. 0 when no such process lives."""
    owner: str = ""
    command: str = ""
    why: UnmanagedReason = UnmanagedReason.VLLM
    base: str = ""
    """Base directory of the console that keeps it; empty when there is none, or it cannot be told."""
    container: str = ""
    """Short id of the container it runs in; empty on the host."""
    started_at: float | None = None
    """Seconds since the epoch, this machine's clock."""
    below: tuple[int, ...] = ()
    """Processes of the same kind that descend from it: its engine core and workers."""
    mib: int | None = None
    """HBM all of them hold by npu-smi's word; None when it names none of them, or not how much."""
    devices: tuple[int, ...] = ()
    """Devices they hold HBM on."""

    def age_s(self, now: float) -> float | None:
        """Seconds since it started."""
        return None if self.started_at is None else max(0.0, now - self.started_at)

    @property
    def reason(self) -> str:
        """Why it is reported, in words."""
        if self.why is UnmanagedReason.OTHER_BASE:
            return f"kept by a console with base {self.base}" if self.base else "kept by a console with another base"
        return _REASONS[self.why]


_REASONS = {
    UnmanagedReason.VLLM: "vLLM that no console started",
    UnmanagedReason.HBM: "holds HBM, is no vLLM by its name",
    UnmanagedReason.GONE: "holds HBM by npu-smi, but no such process lives",
}
