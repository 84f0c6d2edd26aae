"""Frames of a helper → the model's nouns. A node is not trusted: what does not fit is an error with the node's words cut short.

No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from console.model.run import Hello, LeftProcess, LogChunk, RunKey, RunState, RunVerdict, Sample, StopResult
from console.model.snapshot import Exit, Process

T = TypeVar("T", bound=BaseModel)


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
    exit: _Exit | None
    pids: list[int]
    log_size: int
    stopping: bool
    reason: str
    spec: dict[str, JsonValue]


class _Runs(_Said):
    runs: list[_Run]
    foreign: list[tuple[int, str, str]]
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


class _Stop(_Said):
    key: tuple[str, str, str]
    outcome: str
    processes: list[tuple[int, str, int, str]]
    killed: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunsSeen:
    """One list of runs, or why there is none."""

    runs: tuple[RunState, ...]
    foreign: tuple[Process, ...]
    clock: float
    error: str = ""
    hint: str = ""


def hello(header: Mapping[str, object]) -> Hello:
    """The first frame."""
    return Hello(**_read(_Hello, header).model_dump())


def runs(header: Mapping[str, object]) -> RunsSeen:
    """A list of runs."""
    said = _read(_Runs, header)
    foreign = tuple(Process(pid, f"{user}: {title}", None) for pid, user, title in said.foreign)
    return RunsSeen(tuple(_run(each) for each in said.runs), foreign, said.clock, said.error, said.hint)


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
        if said.outcome not in ("stopped", "stuck", "absent"):
            raise WireError(f"unknown outcome of a stop: {said.outcome:.80}")
        left = tuple(LeftProcess(*each) for each in said.processes)
        found[RunKey(*said.key)] = StopResult(said.outcome, left, said.killed, said.reason)  # type: ignore[arg-type]
    return found


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
        exit=None if ended is None else Exit(ended.code, ended.signal, ended.at),
        pids=tuple(said.pids),
        log_size=said.log_size,
        stopping=said.stopping,
        reason=said.reason,
        spec=said.spec,
    )


def _read(kind: type[T], value: object) -> T:
    try:
        return kind.model_validate(value, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WireError(f"{kind.__name__.lstrip('_').lower()}: {where}: {first['msg']}") from error
