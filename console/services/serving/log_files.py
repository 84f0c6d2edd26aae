"""Diagnoses log files: finds known failures in them and which engine failed first. Needs no cluster.

The command reads the files from disk.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from console.diagnosis.matcher import Hit, Matcher
from console.diagnosis.root_cause import PEER_DEAD, RankHits, TimedHit, first_cause, of_the_dead, own_causes, timeline
from console.diagnosis.signatures import Signature, of_fact
from console.model.snapshot import Diagnosis
from console.probes.engine_log import LaunchLog, LogState
from console.probes.external_log import Stream, by_rank, streams
from console.probes.log_time import Around, Clock, Zone, find, newest_date, utc, written, zone_of
from console.services.serving.diagnosis import diagnosis_of, relevant_hits

BLOCK_BYTES = 64 * 1024
"""Size of a block; lines without a time stamp get the time of their block."""
_FAR = 2.0**40
"""The time of a line without any known time: after all others."""


@dataclass(frozen=True, slots=True)
class LogText:
    """One log file."""

    path: str
    """The path as the user gave it."""
    engine: str
    """The engine of the log, unless its lines name another one."""
    text: str
    written_at: float
    """Time of the last write, seconds since the epoch; gives the year for time stamps without one."""


@dataclass(frozen=True, slots=True)
class FileCause:
    """A known failure with its file and line."""

    diagnosis: Diagnosis
    file: str
    line: int
    """From 1."""
    time: str
    """The time stamp as written in the line; empty when unknown."""


@dataclass(frozen=True, slots=True)
class FileDiagnosis:
    """The result of all files."""

    first: FileCause | None
    causes: tuple[FileCause, ...]
    """All failures except advice, by time; includes the first cause."""
    advice: tuple[FileCause, ...]
    unknown: tuple[tuple[str, int, str], ...]
    """File, line and text of the first error of each log in which no known failure was found."""


@dataclass(slots=True)
class _Log:
    """The log of one engine, after reading."""

    file: str
    stream: Stream
    clock: Clock
    said: LogState
    ranks: list[_Rank] = field(default_factory=list)

    def line(self, offset: int | None) -> int | None:
        """The line of the file at an offset of the whole log."""
        return None if offset is None else self.stream.number(offset)


@dataclass(slots=True)
class _Rank:
    """The lines of one rank in such a log; usually all lines."""

    name: str
    stream: Stream
    matcher: Matcher
    last_at: float = -math.inf


def diagnose(files: Sequence[LogText], signatures: Sequence[Signature]) -> FileDiagnosis:
    """Diagnose all files."""
    parts = [(file, name, stream) for file in files for name, stream in streams(file.text, file.engine).items()]
    newest = newest_date([line for _, _, stream in parts for line in stream.lines()])
    around = Around.until(newest if newest is not None else max((each.written_at for each in files), default=0.0))
    zones = [_zone(stream) for _, _, stream in parts]
    common = next((each for each in zones if each is not None), utc)
    logs: dict[str, _Log] = {}
    for (file, name, stream), zone in zip(parts, zones, strict=True):
        clock = Clock(zone or common, around)
        engine = _unique_name(name, file.path, logs)
        logs[engine] = log = _Log(file.path, stream, clock, _state(stream, clock))
        log.ranks = [_rank(rank, own, clock, signatures) for rank, own in by_rank(stream, engine).items()]
    now = max((rank.last_at for log in logs.values() for rank in log.ranks), default=_FAR)
    return _result(tuple(logs.values()), signatures, now)


def _unique_name(name: str, path: str, taken: Mapping[str, object]) -> str:
    """A unique name for an engine of a file: with as much of the path as needed."""
    parts = [part for part in path.replace("\\", "/").split("/")[:-1] if part not in ("", ".", "..")]
    while name in taken and parts:
        name = f"{parts.pop()}/{name}"
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name} ({number})"
    return free


def _zone(stream: Stream) -> Zone | None:
    """The time zone of a log's own stamps, when its collector added stamps in a known zone."""
    both = stream.both()
    if both is None:
        return None
    carried = Clock(utc, Around(0.0)).read(both[1])
    return None if carried is None else zone_of(both[0], carried)


def _state(stream: Stream, clock: Clock) -> LogState:
    launch = LaunchLog()
    for block, at in _blocks(stream, clock):
        launch.feed(block, at)
    return launch.state


def _rank(name: str, stream: Stream, clock: Clock, signatures: Sequence[Signature]) -> _Rank:
    rank = _Rank(name, stream, Matcher(signatures, calm_bytes=math.inf))
    for block, rank.last_at in _blocks(stream, clock):
        rank.matcher.feed(block, rank.last_at)
    return rank


def _blocks(stream: Stream, clock: Clock) -> Iterator[tuple[bytes, float]]:
    """The data in blocks of whole lines, each with its time: the first stamp in it, else the time of the block before."""
    data, start = bytes(stream.data), 0
    at: float | None = None
    while start < len(data):
        end = data.rfind(b"\n", start, start + BLOCK_BYTES) + 1 or data.find(b"\n", start) + 1
        block = data[start:end]
        first = next((line for line in block.split(b"\n") if find(line) is not None), b"")
        carried = clock.read(stream.stamp(stream.number(start)))
        at = next((each for each in (clock.at(first), carried, at) if each is not None), _FAR)
        yield block, at
        start = end


def _result(logs: Sequence[_Log], signatures: Sequence[Signature], now: float) -> FileDiagnosis:
    places = {rank.name: (log, rank) for log in logs for rank in log.ranks}
    ranks = [RankHits(name, "", _hits(log, rank, signatures, now), log.clock) for name, (log, rank) in places.items()]
    witnesses = timeline(ranks)
    first = first_cause(witnesses, dict(_ends(places)))
    plain = [each for each in witnesses if not each.hit.signature.wrapper]
    told = {(places[each.rank][0].file, places[each.rank][1].stream.number(each.hit.offset)) for each in plain}
    own = own_causes(witnesses, {rank: rank.rpartition("-")[0] or rank for rank in places})
    made = [
        (each, _cause(*places[each.rank], each, told, first=each is first, own=own.get(each.rank) is each))
        for each in witnesses
    ]
    serious = [(each, cause) for each, cause in made if each.hit.signature.severity != "advice"]
    known = {cause.file for _, cause in serious}
    return FileDiagnosis(
        first=next((cause for each, cause in serious if each is first), None),
        causes=tuple(cause for _, cause in serious),
        advice=tuple(cause for each, cause in made if each.hit.signature.severity == "advice"),
        unknown=tuple(
            (log.file, line, log.said.first_error)
            for log in logs
            if (line := log.line(log.said.first_error_offset)) is not None and log.file not in known
        ),
    )


def _ends(places: Mapping[str, tuple[_Log, _Rank]]) -> Iterator[tuple[str, float]]:
    """When each rank died, where its log shows that."""
    for name, (log, _) in places.items():
        at = log.clock.read(log.said.died_at)
        if at is not None:
            yield name, at


def _hits(log: _Log, rank: _Rank, signatures: Sequence[Signature], now: float) -> tuple[Hit, ...]:
    """The relevant hits in the lines of one rank."""
    said, stream = log.said, rank.stream
    found = (*rank.matcher.hits, *(rank.matcher.silent(now) if now < _FAR else ()))
    up = replace(said, up_offset=stream.offset(log.line(said.up_offset)))
    hits = relevant_hits(found, up, unhurt=said.ready and not said.first_error)
    end = stream.offset(log.line(said.ends_offset))
    if end is not None and not said.dead and not said.first_error:
        hits = tuple(hit for hit in hits if hit.offset < end and hit.signature.severity != "fatal")
    if rank is log.ranks[0] and said.dead and all(hit.signature.severity == "advice" for hit in hits):
        hits = (*hits, *_death(signatures, said, rank.last_at))
    return tuple(_with_time(hit, stream) for hit in hits)


def _death(signatures: Sequence[Signature], said: LogState, at: float) -> Iterator[Hit]:
    """The hit for a rank that died without a known cause."""
    signature = of_fact(signatures, PEER_DEAD)
    if signature is not None:
        offset = said.first_error_offset if said.first_error_offset is not None else said.ends_offset or 0
        yield Hit(of_the_dead(signature), said.dead, offset, said.died_at, at)


def _with_time(hit: Hit, stream: Stream) -> Hit:
    """The hit; without a time stamp in its line, with the stamp of its collector."""
    line = bytes(stream.data[hit.offset : stream.data.find(b"\n", hit.offset)])
    carried = "" if written(line) else stream.stamp(stream.number(hit.offset))
    return replace(hit, time=carried) if carried else hit


def _cause(
    log: _Log, rank: _Rank, witness: TimedHit, told: Collection[tuple[str, int]], *, first: bool, own: bool
) -> FileCause:
    """The cause of a hit: its file, line, text and time are of one line.

    For a wrapper that is the line of the log's first error, unless another cause has that line (`told`: file and line of
    those).
    """
    hit, said = witness.hit, log.said
    line, time, log_error = rank.stream.number(hit.offset), hit.time, ""
    more = log.line(said.first_error_offset)
    if hit.signature.wrapper and more is not None and (log.file, more) not in told:
        line, time, log_error = more, said.first_error_at or log.stream.stamp(more), said.first_error
    return FileCause(diagnosis_of(witness, first, own, log_error), log.file, line, time)
