"""What a node says: about itself, about its runs, and as answers of probes. Plain data that crosses the link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from console.model.quiet_logs import flags_of, silenced_by
from console.model.snapshot import Exit, ZoneTable

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class RunKey:
    """One attempt of one engine; also its directory `$BASE/DEPLOYMENT/ENGINE/runs/RUN`."""

    deployment: str
    engine: str
    run: str


class RunVerdict(StrEnum):
    """State of a run by lock, exit file and process identity, judged on the node in one step."""

    PREPARED = "prepared"
    """Written, not launched."""
    RUNNING = "running"
    """Lock held, main process alive."""
    ORPHANS = "orphans"
    """Main process ended, processes of the run are left and hold the lock."""
    FOREIGN = "foreign"
    """The lock is held, but neither our supervisor nor our main process lives."""
    EXITED = "exited"
    """Lock free, exit recorded."""
    LOST = "lost"
    """Lock free, no exit recorded: it ended, nobody knows how."""


@dataclass(frozen=True, slots=True)
class RunState:
    """One run as its node sees it."""

    key: RunKey
    verdict: RunVerdict
    pid: int | None = None
    """Main process on the host's side."""
    token: str = ""
    """The cookie every process of the run carries."""
    started_at: float | None = None
    """Node clock."""
    zone: ZoneTable = ()
    """The zone in which it stamps its log, as its supervisor saw it; empty for a run of an older console."""
    exit: Exit | None = None
    pids: tuple[int, ...] = ()
    """Processes that carry the cookie."""
    halted: tuple[int, ...] = ()
    """Those of them that a signal has stopped: they do nothing until they are told to go on."""
    log_size: int = 0
    log_at: float | None = None
    """When the log grew last, node clock."""
    stopping: bool = False
    """A stop was asked for this run (recorded on the node, so that every console knows)."""
    stop_at: float | None = None
    """When, by the node's clock; the last time, when it was asked for again."""
    stop_by: str = ""
    """By whom, for example `ann@jump`; empty when the note of it does not say."""
    owner: str = ""
    """Who launched it."""
    reason: str = ""
    """For a failed launch or a lost run: what is known (`rebooted`, `exec failed: …`)."""
    abandoned: bool = False
    """Prepared only, and who was to launch it is gone."""
    spec: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the run was launched with: group, role, dp_rank, devices, port, headless, argv, who launched it."""

    @property
    def quiet(self) -> str:
        """The setting by which the run's log does not tell that it serves; empty when it tells."""
        argv, env = self.spec.get("argv"), self.spec.get("env")
        flags = flags_of(argv) if isinstance(argv, list) else {}
        return silenced_by(flags, env if isinstance(env, dict) else {})


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of a helper."""

    hostname: str
    boot_id: str
    uid: int
    user: str
    python: str
    clock: float
    """Node clock when it was sent."""
    zone: ZoneTable = ()
    """The node's own zone."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A command the helper runs on a cadence, never two at once, and cuts off in time."""

    name: str
    argv: tuple[str, ...]
    every_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What a probe printed."""

    probe: str
    at: float
    """Node clock at the end of the command."""
    took_s: float
    exit_code: int | None
    """None when it was cut off by time."""
    stdout: bytes
    stderr: bytes = b""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Bytes of a run's out.log from `offset` on."""

    key: RunKey
    offset: int
    data: bytes
    size: int
    """Size of the file on the node when it was read."""
    restarted: str = ""
    """`truncated`, `replaced` or `rewritten` when the file is not the one followed before; offset is 0 then."""


@dataclass(frozen=True, slots=True)
class LeftProcess:
    """A process of a run that would not end."""

    pid: int
    """Host side."""
    state: str
    """Letter of /proc/PID/stat: `D` waits inside a driver and cannot be killed, `Z` waits for its parent."""
    parent: int
    name: str

    def __str__(self) -> str:
        return f"{self.pid} {self.name} (state {self.state}, parent {self.parent})"


@dataclass(frozen=True, slots=True)
class StopResult:
    """What a stop came to for one run, seen on the node after it."""

    outcome: Literal["stopped", "stuck", "absent"]
    """`absent`: nothing of the run lived when the stop was asked for."""
    processes: tuple[LeftProcess, ...] = ()
    killed: int = 0
    """How many processes had to be killed."""
    reason: str = ""
    """Why it is stuck, when the processes alone do not say it (`the lock is still held`)."""
