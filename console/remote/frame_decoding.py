"""Decodes and validates the frames of a helper. A node is not trusted: invalid data is an error.

Numbers are finite and plausible, names are valid names of runs, counts and lengths are limited, so that no other part needs to
check them again. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from console.model.run import Hello, LeftProcess, LogChunk, RunKey, RunState, RunVerdict, StopResult
from console.model.snapshot import Exit, ZoneTable
from console.model.unmanaged_process import UnmanagedProcess, UnmanagedReason
from console.node.frames import MAX_RUNS, MAX_UNMANAGED
from console.node.run_dirs import NAME
from console.node.run_report import (
    MAX_PID,
    MAX_PIDS,
    MAX_SIZE,
    MAX_STEPS,
    MAX_TIME,
    NAME_CHARS,
    SPEC_DEPTH,
    TEXT_CHARS,
)

T = TypeVar("T", bound=BaseModel)
T_Json = TypeVar("T_Json", bound=JsonValue)
MAX_NUMBER = 2**63
"""Largest number in the spec of a run."""

LATEST_S = 1e11
FARTHEST_S = 15 * 3600.0
"""Larger than the difference of any time zone to UTC."""


class WireError(ValueError):
    """A well-formed frame with invalid content."""


def _named(name: str) -> str:
    """The rule for names of directories on nodes."""
    if not NAME.match(name):
        raise ValueError(f"{name[:40]!r} is not a valid name")
    return name


def _plain(value: T_Json) -> T_Json:
    _sound(value, SPEC_DEPTH)
    return value


def _sound(value: JsonValue, depth: int) -> None:
    """Refuses data that is nested too deep and numbers that are too large."""
    if isinstance(value, dict | list):
        if depth == 0:
            raise ValueError(f"nested deeper than {SPEC_DEPTH}")
        for each in value.values() if isinstance(value, dict) else value:
            _sound(each, depth - 1)
    elif isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        raise ValueError("a number is out of range")


Word = Annotated[str, Field(max_length=NAME_CHARS)]
Text = Annotated[str, Field(max_length=TEXT_CHARS)]
Name = Annotated[str, AfterValidator(_named)]
Moment = Annotated[float, Field(ge=0, le=MAX_TIME, allow_inf_nan=False)]
"""Seconds since the epoch."""
Seconds = Annotated[float, Field(ge=0, le=MAX_TIME, allow_inf_nan=False)]
Pid = Annotated[int, Field(ge=0, le=MAX_PID)]
Code = Annotated[int, Field(ge=-MAX_PID, le=MAX_PID)]
Size = Annotated[int, Field(ge=0, le=MAX_SIZE)]
Pids = Annotated[list[Pid], Field(max_length=MAX_PIDS)]
Key = tuple[Name, Name, Name]
Spec = Annotated[dict[str, JsonValue], AfterValidator(_plain)]


class HelperData(BaseModel):
    """Base of all data of a helper; additional keys of a newer helper are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Hello(HelperData):
    hostname: Word
    boot_id: Word
    uid: Pid
    user: Word
    python: Word
    clock: Moment
    zone: JsonValue = None


class _Exit(HelperData):
    code: Code | None = None
    signal: Code | None = None
    at: Moment | None = None


class _Run(HelperData):
    key: Key
    verdict: RunVerdict
    pid: Pid | None
    token: Word
    started_at: Moment | None
    zone: JsonValue = None
    exit: _Exit | None
    pids: Pids
    halted: Pids
    log_size: Size
    log_at: Moment | None = None
    stopping: bool
    stop_at: Moment | None = None
    stop_by: Word = ""
    abandoned: bool = False
    owner: Word = ""
    reason: Text
    spec: Spec


class _Unmanaged(HelperData):
    pid: Pid
    start: Size
    owner: Word
    command: Text
    why: UnmanagedReason
    base: Text
    container: Word
    started_at: Moment | None
    below: Annotated[tuple[Pid, ...], Field(max_length=MAX_PIDS)]


class _Runs(HelperData):
    runs: Annotated[list[_Run], Field(max_length=MAX_RUNS)]
    unmanaged: Annotated[list[_Unmanaged], Field(max_length=MAX_UNMANAGED)]
    left_runs: Size = 0
    left_unmanaged: Size = 0
    error: Text
    hint: Text
    clock: Moment


class _Grown(HelperData):
    logs: Annotated[list[tuple[Size, Size, Moment | None]], Field(max_length=MAX_RUNS)]
    clock: Moment


class _Refused(HelperData):
    message: Text
    hint: Text = ""


class _LogError(HelperData):
    key: Key
    message: Text


class _Stage(HelperData):
    key: Key
    stage: Annotated[str, Field(pattern=r"^(TERM|KILL|stuck|stopped)( [ -~]{0,80})?$")]


class _Log(HelperData):
    key: Key
    offset: Size
    size: Size
    restarted: Literal["", "truncated", "replaced", "rewritten"]


class _Digest(HelperData):
    length: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Left(HelperData):
    outcome: Literal["stopped", "stuck", "absent"]
    processes: Annotated[list[tuple[Pid, Word, Pid, Word]], Field(max_length=MAX_PIDS)]
    killed: Size
    reason: Text


class _Stop(_Left):
    key: Key


class _Lease(HelperData):
    holder: Word
    verb: Word
    token: Word
    since: Moment
    renewed: Moment
    pid: Pid | None = None
    started: Size | None = None
    ends: Annotated[list[Word], Field(max_length=MAX_RUNS)] = []
    age_s: float | None = Field(default=None, allow_inf_nan=False, ge=-MAX_TIME, le=MAX_TIME)
    gone: bool = False
    expired: bool = False
    taken_from: Word | None = None


class _LeaseAnswer(HelperData):
    lease: _Lease | None = None
    notes: Spec | None = None
    given: bool | None = None


@dataclass(frozen=True, slots=True)
class RunsSeen:
    """A list of runs, or the reason why there is none."""

    runs: tuple[RunState, ...]
    unmanaged: tuple[UnmanagedProcess, ...]
    clock: float
    error: str = ""
    hint: str = ""
    remark: str = ""
    """What the node left out; empty for a complete list."""


def hello(header: Mapping[str, object]) -> Hello:
    """The first frame."""
    said = read_as(_Hello, header)
    return Hello(**said.model_dump(exclude={"zone"}), zone=_zone(said.zone))


def runs(header: Mapping[str, object]) -> RunsSeen:
    """A list of runs."""
    said = read_as(_Runs, header)
    unmanaged = tuple(UnmanagedProcess(**each.model_dump()) for each in said.unmanaged)
    more = ((said.left_runs, f"runs, the newest {MAX_RUNS} are read"), (said.left_unmanaged, "unmanaged processes"))
    remark = " and ".join(f"{count} more {what}" for count, what in more if count)
    remark = f"has {remark}" if remark else ""
    return RunsSeen(tuple(_run(each) for each in said.runs), unmanaged, said.clock, said.error, said.hint, remark)


def grown(before: RunsSeen, header: Mapping[str, object]) -> RunsSeen:
    """The list of runs in which some logs grew since the last list."""
    said = read_as(_Grown, header)
    found = list(before.runs)
    for place, size, at in said.logs:
        if place >= len(found):
            raise WireError("a log grew of a run that it did not list")
        found[place] = replace(found[place], log_size=size, log_at=at)
    return replace(before, runs=tuple(found), clock=said.clock)


def run(value: object) -> RunState:
    """One run, as in the reply of a commit."""
    return _run(read_as(_Run, value))


def log(header: Mapping[str, object], payload: bytes) -> LogChunk:
    """Bytes of a log."""
    said = read_as(_Log, header)
    return LogChunk(RunKey(*said.key), said.offset, payload, said.size, said.restarted)


def digest(header: Mapping[str, object]) -> tuple[int, str]:
    """Length and SHA-256 of a part of a log."""
    said = read_as(_Digest, header)
    return said.length, said.sha256


def refused(header: Mapping[str, object]) -> tuple[str, str]:
    """(reason why a node refuses to be watched, hint)."""
    said = read_as(_Refused, header)
    return said.message, said.hint


def log_error(header: Mapping[str, object]) -> tuple[RunKey, str]:
    """Why a log cannot be read."""
    said = read_as(_LogError, header)
    return RunKey(*said.key), said.message


def stage(header: Mapping[str, object]) -> tuple[RunKey, str]:
    """The stage of a stop."""
    said = read_as(_Stage, header)
    return RunKey(*said.key), said.stage


def lease(header: Mapping[str, object]) -> dict[str, JsonValue]:
    """The lease of a deployment, and the notes on it."""
    return read_as(_LeaseAnswer, header).model_dump()


def stop_results(values: object) -> dict[RunKey, StopResult]:
    """Results of a stop."""
    found = {}
    for value in values if isinstance(values, list) else []:
        said = read_as(_Stop, value)
        found[RunKey(*said.key)] = _result(said)
    return found


def end_result(value: object) -> StopResult:
    """The result of stopping an unmanaged process."""
    return _result(read_as(_Left, value))


def _result(said: _Left) -> StopResult:
    return StopResult(said.outcome, tuple(LeftProcess(*each) for each in said.processes), said.killed, said.reason)


def _run(said: _Run) -> RunState:
    ended = said.exit
    return RunState(
        key=RunKey(*said.key),
        verdict=said.verdict,
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
    """The table of a time zone; empty for other data, for example of runs of older consoles."""
    if not isinstance(value, list) or len(value) > MAX_STEPS:
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


def read_as(kind: type[T], value: object) -> T:
    try:
        return kind.model_validate(value, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WireError(f"{kind.__name__.lstrip('_').lower()}: {where[:80]}: {first['msg'][:200]}") from error
    except (RecursionError, OverflowError) as error:
        raise WireError(f"{kind.__name__.lstrip('_').lower()}: {error}") from error
