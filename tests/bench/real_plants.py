"""The failures that are planted in a real vLLM, as data: blows to what serves, and starts with something wrong in them."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

SLEEP = signal.SIGUSR2
"""Makes the main thread of a lab's engine sleep; see `asleep/sitecustomize.py`."""


@dataclass(frozen=True)
class Planted:
    """A blow: the process that is hit, how, and what must be named first."""

    engine: str
    process: str
    """A word of its title; empty for the main process."""
    blow: signal.Signals
    first: tuple[str, ...]
    """Signatures of which one must be the first cause."""
    verdict: tuple[str, ...] = ("DOWN",)
    """States of which the service must be in one at the end."""
    anywhere: bool = False
    """Whether nothing tells which rank of the group it is, so that any of them is right."""

    def __str__(self) -> str:
        blow = "sleep" if self.blow is SLEEP else self.blow.name[3:]
        return f"{blow} {self.process or 'main'} of {self.engine}"


@dataclass(frozen=True)
class Start:
    """A start with something wrong in it, or a load that is too much: what must be named, and where."""

    name: str
    first: tuple[str, ...]
    engine: str = "whole-0"
    args: Mapping[str, JsonValue] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    """What the command `start` must say; `{pid}` is the holder of the port."""
    log: str = ""
    """The line of the engine's log by which the failure could be told; the time counts from it."""
    anywhere: bool = False
    """Whether it is wrong on every rank alike."""
    holder: str = ""
    """When a stranger takes the port: `before` the start, or `late`, once the ports were looked at."""
    load: int = 0
    """So many requests at once when it serves."""
    asleep_at: str = ""
    """The line of the log after which its worker sleeps for ever; the alert must come and stay."""

    def __str__(self) -> str:
        return self.name


def _late(
    engine: str, process: str, blow: signal.Signals, first: str, *verdict: str, anywhere: bool = False
) -> Planted:
    return Planted(engine, process, blow, (first,), verdict or ("DOWN",), anywhere)


MODES: Mapping[str, tuple[Planted, ...]] = {
    "single": (
        _late("whole-0", "Worker", signal.SIGSTOP, "S1"),
        _late("whole-0", "EngineCore", signal.SIGSTOP, "S1"),
        _late("whole-0", "Worker", signal.SIGKILL, "F2"),
        _late("whole-0", "EngineCore", signal.SIGKILL, "F1"),
        _late("whole-0", "Worker", SLEEP, "S1"),
        _late("whole-0", "EngineCore", SLEEP, "S1"),
    ),
    "internal": (
        _late("whole-1", "EngineCore", signal.SIGSTOP, "S1"),
        _late("whole-1", "EngineCore", signal.SIGKILL, "F10"),
        _late("whole-0", "EngineCore", signal.SIGKILL, "F1"),
        _late("whole-1", "Worker", signal.SIGKILL, "F2"),
        _late("whole-1", "", signal.SIGKILL, "F10", "PART"),
        _late("whole-1", "EngineCore", SLEEP, "S1", anywhere=True),
    ),
    "external": (
        _late("whole-1", "Worker", signal.SIGSTOP, "S1"),
        _late("whole-1", "EngineCore", signal.SIGKILL, "F1"),
        _late("whole-0", "", signal.SIGKILL, "F10", "PART", "DOWN"),
    ),
    "proxied": (_late("proxy", "", signal.SIGKILL, "S6"),),
}
STARTS: Mapping[str, tuple[Start, ...]] = {
    "wrong": (
        Start("another model name", ("S4",), args={"served-model-name": "other"}, log="Application startup complete"),
        Start("a block size that is none", ("A31",), args={"block-size": 5}, log="No common block size"),
        Start(
            "a port that a stranger holds",
            (),
            holder="before",
            says=("port 8300 (whole-0) already has a listener: pid {pid} of root",),
        ),
        Start(
            "a port that a stranger took late",
            ("A11",),
            holder="late",
            says=("pid {pid}",),
            log="Address already in use",
        ),
    ),
    "nic": (
        Start(
            "an interface that is none",
            ("B11",),
            anywhere=True,
            env={"GLOO_SOCKET_IFNAME": "nope0"},
            log="nable to find",
        ),
    ),
    "full": (
        Start(
            "more requests than the KV cache holds",
            ("S2", "S3"),
            args={"num-gpu-blocks-override": 6, "max-num-seqs": 12},
            load=12,
        ),
    ),
    "held": (
        Start("a start that is watched, so that its silences are known", ()),
        Start("a worker that sleeps in the start", (), asleep_at="Warming up model"),
    ),
}
"""Mode → what is tried in it, each with a start of its own."""
