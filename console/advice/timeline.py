"""Who broke first: the hits of many logs on one clock, and the one that explains the rest. Reading logs is the matcher's job."""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from console.advice.matcher import Hit

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
    what its own rank echoes; what only echoes a failure elsewhere gives way to both, and to a wrapper on a rank that echoes
    nothing; wrappers give way to all else, and advice explains nothing. Where log times are equal, they have whole seconds, the
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
    return (exact or vague or died or echoes or near)[0]


def _witness(log: RankHits, hit: Hit) -> Witness:
    stamped = _seconds(hit.time, hit.at, log.utc_offset_s)
    if stamped is None:
        return Witness(log.rank, log.node, hit, hit.at, False)
    return Witness(log.rank, log.node, hit, stamped - log.clock_offset_s, True)


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
