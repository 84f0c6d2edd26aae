"""Frames of a helper → the model's nouns. A node is not trusted: what does not fit is an error with the node's words cut short.

No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from console.model.run import Hello, LeftProcess, LogChunk, RunKey, RunState, RunVerdict, Sample, StopResult
from console.model.snapshot import Exit, ZoneTable
from console.model.unmanaged import Unmanaged, Why

T = TypeVar("T", bound=BaseModel)

MOST_STEPS = 64
"""Changes of a time zone that are taken from a node."""
LATEST_S = 1e11
FARTHEST_S = 15 * 3600.0
"""Farther from UTC than any zone is."""


class WireError(ValueError):
    """A frame that is well-formed and makes no sense."""


class _Said(BaseModel):
    """Base of what a helper says; additions of a newer helper are let through."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Hello(_Said):
    hostname: str
    boot_id: str
    uid: int
    user: str
    python: str
    clock: float
    zone: JsonValue = None


class _Exit(_Said):
    code: int | None = None
    signal: int | None = None
    at: float | None = None


class _Run(_Said):
    key: tuple[str, str, str]
    verdict: str
    pid: int | None
    token: str
    started_at: float | None
    zone: JsonValue = None
    exit: _Exit | None
    pids: list[int]
    halted: list[int]
    log_size: int
    log_at: float | None = None
    stopping: bool
    stop_at: float | None = None
    stop_by: str = ""
    abandoned: bool = False
    owner: str = ""
    reason: str
    spec: dict[str, JsonValue]


class _Unmanaged(_Said):
    pid: int
    start: int
    owner: str
    command: str
    why: Why
    base: str
    container: str
    started_at: float | None
    below: tuple[int, ...]


class _Runs(_Said):
    runs: list[_Run]
    unmanaged: list[_Unmanaged]
    error: str
    hint: str
    clock: float


class _Log(_Said):
    key: tuple[str, str, str]
    offset: int
    size: int
    restarted: str


class _Facts(_Said):
    at: float
    took_s: float
    exit_code: int | None
    stdout_bytes: int
    truncated: bool


class _Left(_Said):
    outcome: Literal["stopped", "stuck", "absent"]
    processes: list[tuple[int, str, int, str]]
    killed: int
    reason: str


class _Stop(_Left):
    key: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class RunsSeen:
    """One list of runs, or why there is none."""

    runs: tuple[RunState, ...]
    unmanaged: tuple[Unmanaged, ...]
    clock: float
    error: str = ""
    hint: str = ""


def hello(header: Mapping[str, object]) -> Hello:
    """The first frame."""
    said = _read(_Hello, header)
    return Hello(**said.model_dump(exclude={"zone"}), zone=_zone(said.zone))


def runs(header: Mapping[str, object]) -> RunsSeen:
    """A list of runs."""
    said = _read(_Runs, header)
    unmanaged = tuple(Unmanaged(**each.model_dump()) for each in said.unmanaged)
    return RunsSeen(tuple(_run(each) for each in said.runs), unmanaged, said.clock, said.error, said.hint)


def run(value: object) -> RunState:
    """One run, as in the reply of a commit."""
    return _run(_read(_Run, value))


def log(header: Mapping[str, object], payload: bytes) -> LogChunk:
    """Bytes of a log."""
    said = _read(_Log, header)
    return LogChunk(RunKey(*said.key), said.offset, payload, said.size, said.restarted)


def sample(name: str, header: Mapping[str, object], payload: bytes) -> Sample:
    """What a command printed."""
    said = _read(_Facts, header)
    if not 0 <= said.stdout_bytes <= len(payload):
        raise WireError("a sample's length does not fit its bytes")
    out, err = payload[: said.stdout_bytes], payload[said.stdout_bytes :]
    return Sample(name, said.at, said.took_s, said.exit_code, out, err, said.truncated)


def key(value: object) -> RunKey:
    """A run's name."""
    if isinstance(value, list) and len(value) == 3 and all(isinstance(each, str) for each in value):
        return RunKey(*value)
    raise WireError(f"not a run's name: {value!r:.80}")


def stop_results(values: object) -> dict[RunKey, StopResult]:
    """Results of a stop."""
    found = {}
    for value in values if isinstance(values, list) else []:
        said = _read(_Stop, value)
        found[RunKey(*said.key)] = _result(said)
    return found


def end_result(value: object) -> StopResult:
    """What the end of an unmanaged process came to."""
    return _result(_read(_Left, value))


def _result(said: _Left) -> StopResult:
    return StopResult(said.outcome, tuple(LeftProcess(*each) for each in said.processes), said.killed, said.reason)


def _run(said: _Run) -> RunState:
    try:
        verdict = RunVerdict(said.verdict)
    except ValueError as error:
        raise WireError(f"unknown state of a run: {said.verdict:.80}") from error
    ended = said.exit
    return RunState(
        key=RunKey(*said.key),
        verdict=verdict,
        pid=said.pid,
        token=said.token,
        started_at=said.started_at,
        zone=_zone(said.zone),
        exit=None if ended is None else Exit(ended.code, ended.signal, ended.at),
        pids=tuple(said.pids),
        halted=tuple(said.halted),
        log_size=said.log_size,
        log_at=said.log_at,
        stopping=said.stopping,
        stop_at=said.stop_at,
        stop_by=said.stop_by,
        abandoned=said.abandoned,
        owner=said.owner,
        reason=said.reason,
        spec=said.spec,
    )


def _zone(value: JsonValue) -> ZoneTable:
    """A table of a time zone; empty for what is none, as of runs of older consoles."""
    if not isinstance(value, list) or len(value) > MOST_STEPS:
        return ()
    steps: list[tuple[float, float]] = []
    for step in value:
        if not isinstance(step, list) or len(step) != 2:
            return ()
        begin, east = step
        if not isinstance(begin, int | float) or not isinstance(east, int | float):
            return ()
        if not abs(begin) < LATEST_S or not abs(east) <= FARTHEST_S or (steps and begin <= steps[-1][0]):
            return ()
        steps.append((float(begin), float(east)))
    return tuple(steps)


def _read(kind: type[T], value: object) -> T:
    try:
        return kind.model_validate(value, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WireError(f"{kind.__name__.lstrip('_').lower()}: {where}: {first['msg']}") from error
