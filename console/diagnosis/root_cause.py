"""Orders the hits of many logs on one clock, and finds the first cause that explains the others. Does not read logs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from console.diagnosis.matcher import Hit
from console.diagnosis.signatures import Signature
from console.probes.log_time import Clock

PEER_DEAD = "peer-dead"
"""The name of the fact that a rank of a group is dead and its own log does not show why."""
TOGETHER_S = 2.0
"""Hits within this time count as simultaneous, because log times have whole seconds and clocks are compared over a network."""
ARRIVES_S = 600.0
"""A line of a followed log arrives within this time after it was written."""


@dataclass(frozen=True, slots=True)
class RankHits:
    """The hits in the log of one rank, and the clock of that log."""

    rank: str
    node: str
    hits: tuple[Hit, ...]
    clock: Clock | None = None
    """The clock of the time stamps; None when only the arrival of lines is known."""


@dataclass(frozen=True, slots=True)
class TimedHit:
    """A hit with its rank, its node and its time on the clock of the jump host."""

    rank: str
    node: str
    hit: Hit
    when: float
    """Seconds since the epoch, on the clock of the jump host."""
    exact: bool
    """False when the log has no time, and `when` is the arrival."""


def timeline(logs: Iterable[RankHits]) -> tuple[TimedHit, ...]:
    """All hits of all logs in the order in which they happened."""
    found = [each for log in logs for each in _timed_hits(log)]
    return tuple(sorted(found, key=lambda each: (each.when, each.rank, each.hit.offset)))


def first_cause(hits: Iterable[TimedHit], ended: Mapping[str, float] = MappingProxyType({})) -> TimedHit | None:
    """The hit that explains the others, or None.

    First the cause of each rank is chosen. Then the earliest rank wins, with these exceptions: an echo loses against any other
    cause; a rank that died without a reason loses against a rank with a reason; a vague cause loses against an exact cause at
    about the same time. Advice never explains a failure, and a mild cause never explains an exit. At equal log times the rank
    that ended first wins. `ended` gives the ends of ranks in seconds on the clock of the jump host.
    """
    serious = [each for each in hits if each.hit.signature.severity != "advice"]
    serious = [each for each in serious if not each.hit.signature.mild] or serious
    serious.sort(key=lambda each: (each.when, ended.get(each.rank, math.inf)))
    causes = [_of_rank(rank, serious) for rank in dict.fromkeys(each.rank for each in serious)]
    causes.sort(key=serious.index)
    own = [each for each in causes if not each.hit.signature.echo and not each.hit.signature.wrapper]
    if certain := [each for each in own if _is_own_cause(each.hit.signature)]:
        near = _near(certain)
        return next((each for each in near if not each.hit.signature.vague), near[0])
    died = [each for each in causes if each.hit.signature.wrapper]
    return next(iter((*died, *own, *causes)), None)


def own_causes(hits: Iterable[TimedHit], groups: Mapping[str, str]) -> dict[str, TimedHit]:
    """Maps each rank to the cause of its failure that no other failure explains; `hits` are in the order of time.

    A hit that only echoes or wraps another failure is none. `groups` gives the group of each rank: the ranks of a group depend
    on each other, so a later failure that differs from the first one of the group is a consequence.
    """
    serious: dict[str, list[TimedHit]] = {}
    for each in hits:
        if each.hit.signature.severity != "advice":
            serious.setdefault(each.rank, []).append(each)
    causes = {rank: _of_rank(rank, own) for rank, own in serious.items()}
    causes = {rank: cause for rank, cause in causes.items() if _is_own_cause(cause.hit.signature)}
    earliest: dict[str, TimedHit] = {}
    for rank, cause in sorted(causes.items(), key=lambda item: item[1].when):
        earliest.setdefault(groups.get(rank, rank), cause)
    firsts = {rank: earliest[groups.get(rank, rank)] for rank in causes}
    return {
        rank: cause
        for rank, cause in causes.items()
        if cause.hit.signature.id == firsts[rank].hit.signature.id or cause.when <= firsts[rank].when + TOGETHER_S
    }


def _is_own_cause(signature: Signature) -> bool:
    """Whether the signature itself says why a rank failed."""
    return not signature.echo and not signature.wrapper and signature.fact != PEER_DEAD


def of_the_dead(signature: Signature) -> Signature:
    """The signature of a lost peer for the dead rank itself: it is the cause of its group, although the reason is unknown."""
    return replace(signature, echo=False, vague=True)


def _of_rank(rank: str, serious: Sequence[TimedHit]) -> TimedHit:
    """The cause of one rank: its first hit that no other hit explains, or an exact hit at about the same time.

    A wrapper is the cause only when there is no other hit, or only later echoes: then the rank failed before it noticed its
    peers.
    """
    own = [each for each in serious if each.rank == rank]
    explained = {id for each in own for id in each.hit.signature.explains}
    first = min(own, key=lambda each: each.hit.offset)
    causes = [each for each in own if not each.hit.signature.wrapper]
    if first.hit.signature.wrapper and all(each.hit.signature.echo for each in causes):
        return first
    causes = [each for each in causes if each.hit.signature.id not in explained] or causes
    if not causes:
        return own[0]
    near = _near(causes)
    return next((each for each in near if not each.hit.signature.echo and not each.hit.signature.vague), near[0])


def _near(ordered: Sequence[TimedHit]) -> list[TimedHit]:
    """The hits at about the time of the first."""
    return [each for each in ordered if each.when <= ordered[0].when + TOGETHER_S]


def _timed_hits(log: RankHits) -> Iterator[TimedHit]:
    before: float | None = None
    for hit in sorted(log.hits, key=lambda hit: hit.offset):
        stamped = _stamped(log.clock, hit, before) if log.clock is not None and hit.time else None
        before = before if stamped is None else stamped
        yield TimedHit(log.rank, log.node, hit, hit.at if stamped is None else stamped, stamped is not None)


def _stamped(clock: Clock, hit: Hit, before: float | None) -> float | None:
    """The time of a hit. In an hour that the clock repeats it is the instant near its arrival, or else after the hit before."""
    late = clock.read(hit.time, after=hit.at)
    return late if late is not None and abs(hit.at - late) < ARRIVES_S else clock.read(hit.time, after=before)
