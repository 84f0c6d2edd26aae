"""Data that a node sends over the link: about itself, about its runs, and the output of probes."""

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
    """The name of a run: one attempt of one engine, with the directory `$BASE/DEPLOYMENT/ENGINE/runs/RUN`."""

    deployment: str
    engine: str
    run: str


class RunVerdict(StrEnum):
    """The state of a run, from lock, exit file and process identity; the node determines it in one step."""

    PREPARED = "prepared"
    """The run directory is written; the run is not started."""
    RUNNING = "running"
    """The lock is held and the main process lives."""
    ORPHANS = "orphans"
    """The main process ended; other processes of the run still hold the lock."""
    FOREIGN = "foreign"
    """The lock is held, but neither the supervisor nor the main process lives."""
    EXITED = "exited"
    """The lock is free and the exit is recorded."""
    LOST = "lost"
    """The lock is free and no exit is recorded: the run ended, it is unknown how."""


@dataclass(frozen=True, slots=True)
class RunState:
    """One run, as its node reports it."""

    key: RunKey
    verdict: RunVerdict
    pid: int | None = None
    """The main process, by its pid on the host."""
    token: str = ""
    """The cookie in the environment of every process of the run."""
    started_at: float | None = None
    """Node clock."""
    zone: ZoneTable = ()
    """The time zone of its log, recorded by its supervisor; empty for a run of an older console."""
    exit: Exit | None = None
    pids: tuple[int, ...] = ()
    """Processes with the cookie."""
    halted: tuple[int, ...] = ()
    """Processes of `pids` that a signal (SIGSTOP) paused."""
    log_size: int = 0
    log_at: float | None = None
    """When the log grew last, on the clock of the node."""
    stopping: bool = False
    """Whether a stop was requested (recorded on the node, so that every console knows)."""
    stop_at: float | None = None
    """When a stop was requested last, on the clock of the node."""
    stop_by: str = ""
    """Who requested it, for example `ann@jump`; empty when the record does not name one."""
    owner: str = ""
    """Who started it."""
    reason: str = ""
    """The known reason of a failed start or a lost run (`rebooted`, `exec failed: …`)."""
    abandoned: bool = False
    """Whether it is only prepared, and the console that prepared it is gone."""
    spec: Mapping[str, JsonValue] = field(default_factory=dict)
    """The values the run was started with: group, role, dp_rank, devices, port, headless, argv, owner."""

    @property
    def quiet(self) -> str:
        """The setting that hides the state of the engine in its log; empty when nothing hides it."""
        argv, env = self.spec.get("argv"), self.spec.get("env")
        flags = flags_of(argv) if isinstance(argv, list) else {}
        return silenced_by(flags, env if isinstance(env, dict) else {})


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of a helper."""

    hostname: str
    boot_id: str
    uid: int
    user: str
    python: str
    clock: float
    """The clock of the node when the frame was sent."""
    zone: ZoneTable = ()
    """The time zone of the node."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A command that the helper runs every `every_s` seconds, one at a time, with a time limit."""

    name: str
    argv: tuple[str, ...]
    every_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """The output of a probe."""

    probe: str
    at: float
    """The clock of the node at the end of the command."""
    took_s: float
    exit_code: int | None
    """None when the time limit ended it."""
    stdout: bytes
    stderr: bytes = b""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Bytes of the out.log of a run, from `offset` on."""

    key: RunKey
    offset: int
    data: bytes
    size: int
    """The size of the file on the node when it was read."""
    restarted: str = ""
    """`truncated`, `replaced` or `rewritten` when the file is not the same as before; then `offset` is 0."""


@dataclass(frozen=True, slots=True)
class LeftProcess:
    """A process of a run that did not end."""

    pid: int
    """The pid on the host."""
    state: str
    """The state letter of /proc/PID/stat: `D` waits in a driver and cannot be killed, `Z` waits for its parent."""
    parent: int
    name: str

    def __str__(self) -> str:
        return f"{self.pid} {self.name} (state {self.state}, parent {self.parent})"


@dataclass(frozen=True, slots=True)
class StopResult:
    """The result of a stop for one run, checked on the node."""

    outcome: Literal["stopped", "stuck", "absent"]
    """`absent`: no process of the run lived when the stop was requested."""
    processes: tuple[LeftProcess, ...] = ()
    killed: int = 0
    """Number of processes that had to be killed."""
    reason: str = ""
    """Why it is stuck, when the processes do not explain it (`the lock is still held`)."""
