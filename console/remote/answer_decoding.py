"""Decodes and validates what a helper says of the answers of its engines. A node is not trusted. Does no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated

from pydantic import Field, JsonValue

from console.node.metrics_text import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    MAX_BOUNDS,
    MAX_MODEL,
    MAX_RANKS,
    MAX_REASONS,
    MAX_VALUE,
)
from console.node.questions import FIGURES, MAX_MODELS, MAX_QUESTIONS, MAX_TEXT, MODELS, TEXT
from console.probes.metrics import EngineScrape, Histogram, Scrape
from console.remote.frame_decoding import HelperData, Moment, Seconds, Size, Text, WireError, Word, read_as

Figure = Annotated[float, Field(ge=0, le=MAX_VALUE, allow_inf_nan=False)]
Steps = Annotated[list[Figure], Field(min_length=1, max_length=MAX_BOUNDS)]
Status = Annotated[int, Field(ge=0, le=999)]
Model = Annotated[str, Field(max_length=MAX_MODEL)]
Shown = Annotated[str, Field(max_length=MAX_TEXT)]
_WORDS = len(COUNTERS) + MAX_REASONS


class _Answer(HelperData):
    id: Size
    took_s: Seconds
    status: Status
    error: Text
    said: JsonValue = None


class _Same(HelperData):
    ids: Annotated[list[tuple[Size, Seconds]], Field(max_length=MAX_QUESTIONS)]


class _Engine(HelperData):
    g: Annotated[dict[Word, Figure], Field(max_length=len(GAUGES) + 1)]
    c: Annotated[dict[Word, Figure], Field(max_length=_WORDS)]
    h: Annotated[dict[Word, tuple[Figure, Steps]], Field(max_length=len(HISTOGRAMS))]
    t: Moment | None = None


class _Figures(HelperData):
    model: Model
    bounds: Annotated[
        dict[Word, Annotated[list[Figure], Field(max_length=MAX_BOUNDS)]], Field(max_length=len(HISTOGRAMS))
    ]
    engines: Annotated[dict[Word, _Engine], Field(min_length=1, max_length=MAX_RANKS)]


class _Fault(HelperData):
    fault: Shown


class _Models(HelperData):
    ids: Annotated[list[Model], Field(max_length=MAX_MODELS)]


class _Words(HelperData):
    text: Shown


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a question as its helper sent it."""

    number: int
    status: int
    took_s: float
    error: str
    said: JsonValue
    """Not validated: what it must be depends on the question."""


def answer(header: Mapping[str, object]) -> Answered:
    """An answer to a standing question, or the reply to a single request."""
    said = read_as(_Answer, header)
    return Answered(said.id, said.status, said.took_s, said.error, said.said)


def same(header: Mapping[str, object]) -> list[tuple[int, float]]:
    """(number of a question, seconds since it got its last answer again)."""
    return read_as(_Same, header).ids


def wanted(want: str, said: JsonValue) -> str | tuple[str, ...] | Scrape | None:
    """The wanted part of an answer: a text, ids of models, or figures; None without one."""
    if said is None:
        return None
    if want == FIGURES:
        return figures(said)
    if want == MODELS:
        return tuple(read_as(_Models, {"ids": said}).ids)
    if want == TEXT:
        return read_as(_Words, {"text": said}).text
    raise WireError("it sent an answer that was not requested")


def figures(value: JsonValue) -> Scrape:
    """The figures of metrics, with the time 0; or why they cannot be read."""
    if isinstance(value, dict) and "fault" in value:
        return Scrape(0.0, error=read_as(_Fault, value).fault or "the metrics cannot be read")
    said = read_as(_Figures, value)
    return Scrape(0.0, {name: _engine(each, said.bounds) for name, each in said.engines.items()}, said.model)


def _engine(said: _Engine, bounds: Mapping[str, list[float]]) -> EngineScrape:
    histograms = {}
    for word, (total, steps) in said.h.items():
        edges = bounds.get(word, [])
        if len(steps) != len(edges) + 1 or any(one >= other for one, other in pairwise(edges)):
            raise WireError("a histogram does not match its bounds")
        histograms[word] = Histogram(tuple(zip((*edges, math.inf), accumulate(steps), strict=True)), total)
    return EngineScrape(said.g, said.c, histograms, said.t)
