"""Makes readable entries from the journal and from operations that nodes report: who did what to which engines, when, and the
outcome. Pure.

Records may be of another version or incomplete; missing values are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from console.model.counting import counted
from console.model.ongoing_work import ObservedOperation

_BAD = ("failed", "unknown")
SLACK_S = 10.0
"""Tolerance between the time of a run on its node and the time of its operation in the journal."""
OPEN_S = 3600.0
"""Maximum duration to assume for an operation without a recorded end."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One operation. Times are seconds since the epoch on the machine that wrote them."""

    at: float
    """Start time."""
    who: str
    """`USER@HOST`."""
    what: str
    """For example `stop of 16 engines`."""
    whom: str
    """Engines or nodes, as recorded."""
    outcome: str
    """The outcome: `done`, `1 failed`, `no end recorded` …"""
    good: bool | None = None
    """Whether it succeeded; None when unknown."""
    took_s: float | None = None
    """Duration in seconds; None without a recorded end."""
    details: tuple[str, ...] = ()
    """The failures by step, and overridden checks."""
    seen: bool = False
    """Whether only nodes report it, and this journal does not contain it."""


def audit_entries(records: Sequence[Mapping[str, object]]) -> tuple[AuditEntry, ...]:
    """The operations of these records (oldest first), newest first; joins each end to its start."""
    found: list[AuditEntry] = []
    open_acts: dict[tuple[str, ...], int] = {}
    for record in records:
        what, key = _text(record, "what"), _key(record)
        if what == "end" and key in open_acts:
            at = open_acts.pop(key)
            found[at] = _end_entry(found[at], record)
            continue
        trace = _start_entry(record)
        found.append(_end_entry(trace, record) if what == "end" else trace)
        if what == "begin":
            open_acts[key] = len(found) - 1
    return tuple(reversed(found))


def with_others(known: Sequence[AuditEntry], observed: Sequence[ObservedOperation]) -> tuple[AuditEntry, ...]:
    """The operations of the journal (newest first) merged with operations that only nodes report."""
    others = [_observed_entry(each) for each in observed if not any(_same_operation(trace, each) for trace in known)]
    return tuple(sorted((*known, *others), key=lambda each: -each.at))


def _same_operation(trace: AuditEntry, sighting: ObservedOperation) -> bool:
    """Whether the journal contains an observed operation."""
    until = trace.at + (OPEN_S if trace.took_s is None else trace.took_s)
    mine = sighting.who.partition(" (")[0] == trace.who
    return mine and trace.at - SLACK_S <= sighting.at <= until + SLACK_S


def _observed_entry(sighting: ObservedOperation) -> AuditEntry:
    count = len(sighting.engines)
    what = f"{sighting.verb} of {counted(count, 'engine')}"
    return AuditEntry(sighting.at, sighting.who, what, ", ".join(sighting.engines), "seen, not done here", seen=True)


def _start_entry(record: Mapping[str, object]) -> AuditEntry:
    what = _text(record, "what") or "?"
    engines = _names(record.get("engines")) or _names([record.get("engine")])
    nodes = _names(record.get("nodes")) or _names([record.get("node")])
    verb = _text(record, "verb")
    count = f" of {counted(len(engines), 'engine')}" if engines and verb else ""
    override = _names(record.get("override"))
    details = [f"overridden: {', '.join(override)}"] if override else []
    if record.get("takeover") is True:
        details.append("taken over from another operator")
    if record.get("restarts"):
        details.append("by the restart policy")
    error, command = _text(record, "error"), _text(record, "command")
    if command:
        details.append(command)
    waits = what == "begin"
    return AuditEntry(
        at=_number(record.get("at")) or 0.0,
        who=_text(record, "who") or "?",
        what=f"{verb}{count}" if verb else what.replace("-", " "),
        whom=", ".join(engines or nodes),
        outcome=error or ("no end recorded" if waits else ""),
        good=False if error else None if waits else True,
        details=tuple(details),
    )


def _end_entry(trace: AuditEntry, record: Mapping[str, object]) -> AuditEntry:
    outcomes = record.get("outcomes")
    steps = {str(step): str(outcome) for step, outcome in outcomes.items()} if isinstance(outcomes, Mapping) else {}
    bad = {step: outcome for step, outcome in steps.items() if outcome in _BAD}
    held = any(outcome in ("skipped", "pending") for outcome in steps.values())
    messages = record.get("messages")
    said = messages if isinstance(messages, Mapping) else {}
    counts = [f"{list(bad.values()).count(word)} {word}" for word in _BAD if word in bad.values()]
    ended = _number(record.get("at"))
    overtaken = _text(record, "taken_over")
    well = "launched, not waited for" if record.get("awaited") is False else "done"
    short = f"taken over by {overtaken}" if overtaken else "stopped on the way"
    return replace(
        trace,
        outcome=", ".join(counts) or (short if held or overtaken else well),
        good=not bad and not held and not overtaken,
        took_s=None if ended is None or not trace.at else max(0.0, ended - trace.at),
        details=(*trace.details, *(f"{step} {word}: {said.get(step, '')}".rstrip(": ") for step, word in bad.items())),
    )


def _key(record: Mapping[str, object]) -> tuple[str, ...]:
    """The key that joins an end to its start; unique even for two consoles of one person."""
    if plan := _text(record, "plan"):
        return (plan,)
    return (_text(record, "who"), _text(record, "verb"), _text(record, "deployment"), *_names(record.get("engines")))


def _text(record: Mapping[str, object], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value if each) if isinstance(value, list | tuple) else ()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
