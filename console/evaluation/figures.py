"""The figures that readers of result files return, and the parsing of a figure with a unit. A doubtful value is an error."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from console.evaluation.records import Figure, TimePoint
from console.model.errors import ConsoleError

_FIGURE = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z%][A-Za-z/%]*)?\s*")
_UNITS = {"token/s": "token/s", "tok/s": "token/s", "req/s": "req/s", "ms": "ms", "s": "s", "%": "%", "": ""}


class ResultError(ConsoleError):
    """A result file is missing, incomplete or empty."""


@dataclass(frozen=True, slots=True)
class ToolFigures:
    """The figures in the files of one tool."""

    numbers: Mapping[str, Figure] = field(default_factory=dict)
    failed_requests: int | None = None
    total_requests: int | None = None
    timeline: tuple[TimePoint, ...] = ()
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the run that the file contains."""


def figure(text: str) -> Figure | None:
    """`123.4 ms` as a figure; None for other text, and for an unknown unit."""
    found = _FIGURE.fullmatch(text)
    unit = _UNITS.get(found.group(2) or "") if found else None
    if found is None or unit is None:
        return None
    value = float(found.group(1))
    return Figure(value, unit) if math.isfinite(value) else None


def csv_rows(text: str) -> list[list[str]]:
    """The non-empty rows of a csv file. Raises ResultError for an invalid file."""
    try:
        return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise ResultError(f"the csv cannot be read: {error}", hint="the file can be incomplete") from error
