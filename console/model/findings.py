"""A finding: a rule that does not hold, said so that the operator knows where, why and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from typing_extensions import TypedDict


class Severity(StrEnum):
    """How much a finding matters: an error blocks a launch, a warning does not, a note is for reading."""

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
    """`FILE:LINE` when a file is to blame, else a rank, group or node."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where one rule does not hold."""

    rule: str
    """Stable id, for example R10."""
    severity: Severity
    message: str
    where: str
    """`FILE:LINE` when a file is to blame, else a rank, group or node."""
    why: str = ""
    fix: str = ""
    source: str = ""
    """Where the rule comes from."""

    def data(self) -> FindingData:
        """What programs get of it; the keys are a contract."""
        return {"rule": self.rule, "severity": self.severity, "message": self.message, "where": self.where}
