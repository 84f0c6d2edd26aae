"""The payload of a step: exactly what the step does, fixed when the plan is made. It is shown and executed from here.

A payload can contain secrets. Only the masked text of `console.services.operations.step_text` is shown and recorded, so
fields with secrets are not in `repr`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from console.model.deployment import Assignment, Command, Rank
from console.model.run import RunKey


@dataclass(frozen=True, slots=True)
class ProcessId:
    """The identity of an unmanaged process; a node refuses to signal any other process."""

    node: str
    pid: int
    start: int
    """Start time in clock ticks after boot."""
    boot_id: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.node}"


@dataclass(frozen=True, slots=True)
class EngineContainer:
    """The container that is created for one run."""

    tool: tuple[str, ...]
    """The command of the container tool, such as `docker` or `podman`."""
    name: str
    flags: tuple[str, ...] = field(repr=False)
    image: str

    def spec(self) -> dict[str, object]:
        """The description that is sent to the node."""
        return {"name": self.name, "flags": list(self.flags), "image": self.image}


@dataclass(frozen=True, slots=True)
class EngineLaunch:
    """One run, exactly as it is written and started on its node."""

    key: RunKey
    rank: Rank
    command: Command = field(repr=False)
    script: str = field(repr=False)
    """The text of `cmd.sh`."""
    expected: str | None = None
    """The newest run of the engine when the plan was made; with another newest run the node refuses the launch."""
    container: EngineContainer | None = None
    release: str = ""
    """The release of the layout, `v0.21.0rc1` or `main`; empty when it names none."""


@dataclass(frozen=True, slots=True)
class EngineLaunches:
    """The runs that are checked, written or started on one node."""

    launches: tuple[EngineLaunch, ...]
    preflight: bool = False
    """Whether the preflight runs on the node first."""
    join_by: float | None = None
    """How long the running ranks of the group wait for them, as a time on this machine's clock; None without such ranks."""


@dataclass(frozen=True, slots=True)
class RunsAwaited:
    """The runs of one group that the plan waits for until they are ready."""

    group: str
    keys: tuple[RunKey, ...]


@dataclass(frozen=True, slots=True)
class EngineStop:
    """One run to stop, and the port and devices that must be free afterwards."""

    engine: str
    """The name of the engine in the snapshot: `decode-3`, or `other/decode-3@d0` of another deployment."""
    key: RunKey
    pid: int | None = None
    address: str = ""
    port: int | None = None
    devices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineStops:
    """The runs that are stopped on one node, or verified as stopped."""

    stops: tuple[EngineStop, ...]
    grace_s: float = 0.0
    """Seconds between TERM and KILL; 0 kills at once."""
    kill_s: float = 0.0
    """Seconds until the processes must have ended after KILL."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An engine in the list of the proxy."""

    engine: str
    node: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProxyChange:
    """Engines that are added to, or removed from, a running proxy."""

    address: str
    port: int
    verb: Literal["add", "remove"]
    role: str
    endpoints: tuple[Endpoint, ...]
    drain_s: float = 0.0
    """Time limit for running requests after the removal, in seconds."""


@dataclass(frozen=True, slots=True)
class AssignmentChange:
    """The assignment before the plan and after it."""

    before: Assignment
    after: Assignment


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """An unmanaged process to stop: with TERM, or with `kill` by KILL of the process and its children."""

    process: ProcessId
    kill: bool
    limit_s: float


@dataclass(frozen=True, slots=True)
class NodeCommands:
    """Maintenance commands that run one after the other."""

    argvs: tuple[tuple[str, ...], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class KernelSetting:
    """One kernel setting of a host."""

    name: str
    path: str
    value: str
    now: str
    """Its value when the plan was made."""


@dataclass(frozen=True, slots=True)
class KernelSettings:
    """Settings to write on one node; the node records their old values."""

    settings: tuple[KernelSetting, ...]


Payload = (
    EngineLaunches
    | RunsAwaited
    | EngineStops
    | ProxyChange
    | AssignmentChange
    | ProcessEnd
    | NodeCommands
    | KernelSettings
)
