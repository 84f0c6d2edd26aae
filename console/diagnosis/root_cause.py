"""Who broke first: the hits of many logs on one clock, and the one that explains the rest. Reading logs is the matcher's job."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from console.diagnosis.matcher import Hit
from console.diagnosis.signatures import Signature
from console.probes.log_time import Clock

PEER_DEAD = "peer-dead"
"""The fact that a rank of a group is dead whose own log does not say why."""
TOGETHER_S = 2.0
"""Hits this close count as simultaneous: log times have whole seconds and clocks are compared through a network."""
ARRIVES_S = 600.0
"""A log that is followed has arrived by then."""


@dataclass(frozen=True, slots=True)
class RankHits:
    """The hits of one rank's log and what is known about the clock that wrote it."""

    rank: str
    node: str
    hits: tuple[Hit, ...]
    clock: Clock | None = None
    """The clock that stamped its lines; without one only their arrival is known."""


@dataclass(frozen=True, slots=True)
class TimedHit:
    """One hit with its place and its time on the jump host's clock."""

    rank: str
    node: str
    hit: Hit
    when: float
    """Seconds since the epoch, jump host's clock."""
    exact: bool
    """False when the log gave no time and the arrival is used instead."""


def timeline(logs: Iterable[RankHits]) -> tuple[TimedHit, ...]:
    """All hits of all logs in the order in which they happened."""
    found = [witness for log in logs for witness in _witnesses(log)]
    return tuple(sorted(found, key=lambda each: (each.when, each.rank, each.hit.offset)))


def first_cause(witnesses: Iterable[TimedHit], ended: Mapping[str, float] = MappingProxyType({})) -> TimedHit | None:
    """The hit that explains the others, or None.

    Each rank first says what broke it. The earliest rank wins, except that one that only echoes a failure elsewhere gives way
    to any other, one that died without saying why gives way to one that says it, and what is vague gives way to an exact cause
    of about its moment. Advice explains nothing, what is mild no end. Where log times are equal, they have whole seconds, the
    rank that ended first wins; `ended` gives those ends, seconds on the jump host's clock.
    """
    serious = [each for each in witnesses if each.hit.signature.severity != "advice"]
    serious = [each for each in serious if not each.hit.signature.mild] or serious
    serious.sort(key=lambda each: (each.when, ended.get(each.rank, math.inf)))
    causes = [_of_rank(rank, serious) for rank in dict.fromkeys(each.rank for each in serious)]
    causes.sort(key=serious.index)
    said = [each for each in causes if not each.hit.signature.echo and not each.hit.signature.wrapper]
    if firm := [each for each in said if _is_firm(each.hit.signature)]:
        near = _near(firm)
        return next((each for each in near if not each.hit.signature.vague), near[0])
    died = [each for each in causes if each.hit.signature.wrapper]
    return next(iter((*died, *said, *causes)), None)


def own_causes(witnesses: Iterable[TimedHit]) -> dict[str, TimedHit]:
    """What no other failure explains: rank -> its own cause, unless that only echoes or wraps another; `witnesses` in order."""
    serious: dict[str, list[TimedHit]] = {}
    for each in witnesses:
        if each.hit.signature.severity != "advice":
            serious.setdefault(each.rank, []).append(each)
    causes = {rank: _of_rank(rank, own) for rank, own in serious.items()}
    return {rank: cause for rank, cause in causes.items() if _is_firm(cause.hit.signature)}


def _is_firm(signature: Signature) -> bool:
    """Whether it says itself why a rank broke."""
    return not signature.echo and not signature.wrapper and signature.fact != PEER_DEAD


def of_the_dead(signature: Signature) -> Signature:
    """The signature of a lost peer as it is told of the dead rank itself: the cause of its group, though it does not say why."""
    return replace(signature, echo=False, vague=True)


def _of_rank(rank: str, serious: Sequence[TimedHit]) -> TimedHit:
    """What broke one rank: the first of its hits that no other explains, unless an exact one is of about its moment.

    A wrapper only where nothing else is, or only echoes that its log has after it: the rank failed before it noticed its peers.
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
    """Those of about the moment of the first."""
    return [each for each in ordered if each.when <= ordered[0].when + TOGETHER_S]


def _witnesses(log: RankHits) -> Iterator[TimedHit]:
    before: float | None = None
    for hit in sorted(log.hits, key=lambda hit: hit.offset):
        stamped = _stamped(log.clock, hit, before) if log.clock is not None and hit.time else None
        before = before if stamped is None else stamped
        yield TimedHit(log.rank, log.node, hit, hit.at if stamped is None else stamped, stamped is not None)


def _stamped(clock: Clock, hit: Hit, before: float | None) -> float | None:
    """When a hit was stamped; of two instants in an hour that is repeated the one at which it arrived, or that is in order."""
    late = clock.read(hit.time, after=hit.at)
    return late if late is not None and abs(hit.at - late) < ARRIVES_S else clock.read(hit.time, after=before)
