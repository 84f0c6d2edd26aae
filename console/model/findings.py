"""A finding: a rule that does not hold, with its place, the reason and the fix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from typing_extensions import TypedDict


class Severity(StrEnum):
    """The severity of a finding: an error blocks a start, a warning and a note do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class FindingData(TypedDict):
    """A finding for programs."""

    rule: str
    """Stable id, for example R10."""
    severity: Severity
    message: str
    where: str
    """`FILE:LINE` when a file is the cause, else a rank, group or node."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where one rule does not hold."""

    rule: str
    """Stable id, for example R10."""
    severity: Severity
    message: str
    where: str
    """`FILE:LINE` when a file is the cause, else a rank, group or node."""
    why: str = ""
    fix: str = ""
    source: str = ""
    """Where the rule comes from."""

    def data(self) -> FindingData:
        """The finding as data for programs."""
        return {"rule": self.rule, "severity": self.severity, "message": self.message, "where": self.where}
