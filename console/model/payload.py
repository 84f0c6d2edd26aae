"""What a step of a plan will do, exactly: fixed when the plan is made, shown from here and executed from here.

A value may hold secrets. It is shown and journaled only as the masked text that `console.services.operations.step_text`
derives from it, so fields with secrets stay out of `repr`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from console.model.deployment import Assignment, Command, Rank
from console.model.run import RunKey


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that is no engine of ours, by its identity: a node refuses to signal any other."""

    node: str
    pid: int
    start: int
    """Clock ticks after boot."""
    boot_id: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.node}"


@dataclass(frozen=True, slots=True)
class EngineContainer:
    """The container that is made for one run alone."""

    tool: tuple[str, ...]
    """`docker` or `podman`, with the words that belong to it."""
    name: str
    flags: tuple[str, ...] = field(repr=False)
    image: str

    def spec(self) -> dict[str, object]:
        """What the node is told to make."""
        return {"name": self.name, "flags": list(self.flags), "image": self.image}


@dataclass(frozen=True, slots=True)
class EngineLaunch:
    """One run, exactly as it is written on its node and started."""

    key: RunKey
    rank: Rank
    command: Command = field(repr=False)
    script: str = field(repr=False)
    """`cmd.sh`: the command for bash, byte for byte."""
    expected: str | None = None
    """The engine's newest run when the plan was made; the node refuses the launch when there is another one."""
    container: EngineContainer | None = None
    release: str = ""
    """The release that the layout is for, `v0.21.0rc1` or `main`; empty where it names none."""


@dataclass(frozen=True, slots=True)
class EngineLaunches:
    """The runs that are checked for, written or started on one node."""

    launches: tuple[EngineLaunch, ...]
    preflight: bool = False
    """Whether the checks before a launch are run on the node first."""
    join_by: float | None = None
    """Until when the ranks they join wait for them, on this machine's clock; None when they join nobody."""


@dataclass(frozen=True, slots=True)
class RunsAwaited:
    """The runs of one group that must become ready."""

    group: str
    keys: tuple[RunKey, ...]


@dataclass(frozen=True, slots=True)
class EngineStop:
    """One run that ends, and what must be free after it."""

    engine: str
    """Its name in the snapshot: `decode-3`, or `other/decode-3@d0` for one of another deployment."""
    key: RunKey
    pid: int | None = None
    address: str = ""
    port: int | None = None
    devices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineStops:
    """The runs that are ended on one node, or proven gone."""

    stops: tuple[EngineStop, ...]
    grace_s: float = 0.0
    """Between TERM and KILL; 0 kills at once."""
    kill_s: float = 0.0
    """How long the processes may take to go after KILL."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An engine as the proxy names it."""

    engine: str
    node: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProxyChange:
    """Engines that a running proxy is told to use, or to use no more."""

    address: str
    port: int
    verb: Literal["add", "remove"]
    role: str
    endpoints: tuple[Endpoint, ...]
    drain_s: float = 0.0
    """How long requests may go on after their engine was taken out."""


@dataclass(frozen=True, slots=True)
class AssignmentChange:
    """The assignment that a plan was made from and the one it leaves behind."""

    before: Assignment
    after: Assignment


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """A process that is no engine of ours and ends: TERM alone, or with `kill` KILL for it and what is below it."""

    process: ProcessId
    kill: bool
    limit_s: float


@dataclass(frozen=True, slots=True)
class NodeCommands:
    """Commands of maintenance, each run to its end before the next starts."""

    argvs: tuple[tuple[str, ...], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class KernelSetting:
    """One setting of a host's kernel."""

    name: str
    path: str
    value: str
    now: str
    """What it was when the plan was made."""


@dataclass(frozen=True, slots=True)
class KernelSettings:
    """Settings that are written on one node, each recorded there with what it was before."""

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
