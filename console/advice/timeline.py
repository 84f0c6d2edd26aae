"""Who broke first: the hits of many logs on one clock, and the one that explains the rest. Reading logs is the matcher's job."""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from console.advice.matcher import Hit
from console.advice.signatures import Signature

PEER_DEAD = "peer-dead"
"""The fact that a rank of a group is dead whose own log does not say why."""
LINGER_S = 60.0
"""A rank that died without a word may be known to be dead only when its process ends, so long after its peers noticed."""
TOGETHER_S = 2.0
"""Hits this close count as simultaneous: log times have whole seconds and clocks are compared through a network."""


@dataclass(frozen=True, slots=True)
class RankHits:
    """The hits of one rank's log and what is known about the clock that wrote it."""

    rank: str
    node: str
    hits: tuple[Hit, ...]
    clock_offset_s: float = 0.0
    """Node clock minus jump host clock, seconds."""
    utc_offset_s: float = 0.0
    """Time zone of the container's log lines, seconds east of UTC."""


@dataclass(frozen=True, slots=True)
class Witness:
    """One hit with its place and its time on the jump host's clock."""

    rank: str
    node: str
    hit: Hit
    when: float
    """Seconds since the epoch, jump host's clock."""
    exact: bool
    """False when the log gave no time and the arrival is used instead."""


def timeline(logs: Iterable[RankHits]) -> tuple[Witness, ...]:
    """All hits of all logs in the order in which they happened."""
    found = [_witness(log, hit) for log in logs for hit in log.hits]
    return tuple(sorted(found, key=lambda each: (each.when, each.rank, each.hit.offset)))


def first_cause(witnesses: Iterable[Witness], ended: Mapping[str, float] = MappingProxyType({})) -> Witness | None:
    """The hit that explains the others, or None.

    The first in time wins, with exceptions among those of about its moment: what is vague gives way to an exact cause and to
    what its own rank echoes; what only echoes a failure elsewhere gives way to both, to a wrapper on a rank that echoes
    nothing, and to a rank that died without a word: it names its own rank only where no other is known. Wrappers give way to
    all else, and advice explains nothing. Where log times are equal, they have whole seconds, the
    rank whose process ended first wins; `ended` gives those ends, seconds on the jump host's clock.
    """
    serious = sorted(
        (each for each in witnesses if each.hit.signature.severity != "advice"),
        key=lambda each: (each.when, ended.get(each.rank, math.inf)),
    )
    causes = [each for each in serious if not each.hit.signature.wrapper]
    if not causes:
        return serious[0] if serious else None
    until = causes[0].when + TOGETHER_S
    near = [each for each in causes if each.when <= until]
    echoes = [each for each in near if each.hit.signature.echo]
    telling = {each.rank for each in causes if each.hit.signature.echo}
    local = [each for each in near if not each.hit.signature.echo]
    exact = [each for each in local if not each.hit.signature.vague]
    vague = [each for each in local if each.hit.signature.vague and each.rank not in {echo.rank for echo in echoes}]
    died = [each for each in serious if each.hit.signature.wrapper and each.when <= until and each.rank not in telling]
    silent = [
        each
        for each in causes
        if each.hit.signature.fact == PEER_DEAD and not each.hit.signature.echo and each.when <= until + LINGER_S
    ]
    return (exact or vague or died or silent or echoes or near)[0]


def of_the_dead(signature: Signature) -> Signature:
    """The signature of a lost peer as it is told of the dead rank itself: the cause of its group, though it does not say why."""
    return replace(signature, echo=False, vague=True)


def to_seconds(stamp: str, near: float, log: RankHits) -> float | None:
    """`MM-DD HH:MM:SS` of a rank's log as seconds since the epoch on the jump host's clock; None when it is no time."""
    stamped = _seconds(stamp, near, log.utc_offset_s)
    return None if stamped is None else stamped - log.clock_offset_s


def _witness(log: RankHits, hit: Hit) -> Witness:
    stamped = to_seconds(hit.time, hit.at, log)
    return Witness(log.rank, log.node, hit, hit.at if stamped is None else stamped, stamped is not None)


def _seconds(stamp: str, near: float, utc_offset_s: float) -> float | None:
    """`MM-DD HH:MM:SS` as seconds since the epoch; the year, which vLLM does not print, is the one closest to the arrival."""
    year = time.gmtime(near).tm_year
    candidates = []
    for each in (year - 1, year, year + 1):
        try:
            parsed = time.strptime(f"{each}-{stamp}", "%Y-%m-%d %H:%M:%S")
        except ValueError:
            continue
        candidates.append(calendar.timegm(parsed) - utc_offset_s)
    return min(candidates, key=lambda value: abs(value - near), default=None)
