"""Findings and rules as lines and as data, for all commands that check something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from console.model.errors import ExitCode, UsageError
from console.model.findings import Finding, Severity
from console.probes.sanitize import clean
from console.rules import RULES


def failed(findings: Sequence[Finding]) -> int:
    """The exit code: 1 when a finding is an error, else 0."""
    return ExitCode.FAILED if any(finding.severity is Severity.ERROR for finding in findings) else ExitCode.OK


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Two lines for each finding: the message with its place, then the fix."""
    for finding in findings:
        yield clean(f"{finding.severity} {finding.rule}: {finding.message} [{finding.where}]")
        if finding.fix:
            yield clean(f"    {finding.fix}")


def explanation(rule_id: str) -> Iterator[str]:
    """A rule with its reason, fix and source, as lines. Raises UsageError for an unknown id."""
    rule = RULES.get(rule_id.upper())
    if rule is None:
        raise UsageError(f"there is no rule {rule_id!r}", hint=f"rules: {' '.join(RULES)}")
    yield f"{rule.id}  {rule.title}  ({rule.severity})"
    yield f"why:    {rule.why}"
    yield f"fix:    {rule.fix}"
    yield f"source: {rule.source}"
    from console.diagnosis.signatures import load_signatures  # only an explanation needs the failures

    if rule.id in {each.id for each in load_signatures()}:
        yield f"There is also a failure {rule.id}: see docs/failures.md."
