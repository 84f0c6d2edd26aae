"""What an operator must know about a plan before it runs, as a few rows. The screen and the command line show the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from console.model.counting import counted
from console.model.durations import about
from console.model.findings import Finding, Severity
from console.model.name_ranges import name_ranges
from console.model.payload import EngineStops, ProxyChange, RunsAwaited
from console.model.plan import Act, Plan
from console.model.role import BESIDE_ENGINES
from console.services.operations.plan_findings import BEFORE, CHANGED, PART

Grade = Literal["plain", "note", "warning", "error"]
DOWN: frozenset[Act] = frozenset(("drain", "leave", "stop", "kill", "end"))
"""Steps after which an engine or a service no longer serves."""
MANY_NOTES = 3
"""This many notes or more share one row."""
MOST_ROWS = 4
"""How many losses have a row of their own."""
_NAME = "\x1f"
"""Replaces the name of a group where findings of groups are compared."""
_LABELS = {CHANGED: "Changed", BEFORE: "Last run", PART: "Stays down"}
_WORDS = {Severity.ERROR: "Error", Severity.WARNING: "Warning", Severity.NOTE: "Note"}
_GRADES: dict[Severity, Grade] = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One fact about a plan: a label, a sentence, and the details that unfold below it."""

    label: str
    text: str
    grade: Grade = "plain"
    more: tuple[str, ...] = ()


def plan_summary(plan: Plan, asked: Sequence[str] = ()) -> tuple[SummaryRow, ...]:
    """What the plan does, where, how long it takes, what changed since the last run, what is lost, and what is wrong with it.

    `asked` are the engines that the operator chose; the plan may include more.
    """
    found: dict[Severity, list[Finding]] = {severity: [] for severity in Severity}
    for each in plan.findings:
        if each.rule not in _LABELS:
            found[each.severity].append(each)
    return (
        *_findings(found[Severity.ERROR]),
        *_what(plan, asked),
        *_time(plan),
        *_changed(plan),
        *_lost(plan),
        *_findings([each for each in plan.findings if each.rule == PART]),
        *_findings(found[Severity.WARNING]),
        *_notes(found[Severity.NOTE]),
    )


def _what(plan: Plan, asked: Sequence[str]) -> Iterator[SummaryRow]:
    if plan.process:
        yield SummaryRow("Process", f"{plan.process}, not an engine of this console")
    elif plan.engines:
        yield SummaryRow("Engines", name_ranges(plan.engines, 6))
        more = [name for name in plan.engines if name not in asked]
        if asked and more:
            why = "ranks of a group start and stop together"
            text = f"{name_ranges(asked, 3)}; {counted(len(more), 'more engine')} included: {why}"
            yield SummaryRow("You chose", text, "note")
    if nodes := _nodes(plan):
        yield SummaryRow("Nodes" if len(nodes) > 1 else "Node", name_ranges(nodes, 6))
    yield from (SummaryRow(label, text) for label, text in plan.purpose)
    if plan.change:
        yield from (SummaryRow("Groups", step.title) for step in plan.steps if step.act == "reassign")


def _nodes(plan: Plan) -> list[str]:
    """The nodes on which something starts, stops or changes, in the order of the cluster file."""
    steps = [step for step in plan.steps if step.act != "reassign"]
    seen = {step.node for step in steps if step.act not in ("leave", "drain", "join")} or {step.node for step in steps}
    known = list(plan.made_from.cluster.nodes) if plan.made_from else []
    return [*(name for name in known if name in seen), *sorted(seen.difference(known))]


def _time(plan: Plan) -> Iterator[SummaryRow]:
    grace = {step.payload.grace_s for step in plan.steps if isinstance(step.payload, EngineStops)} - {0.0}
    drains = any(isinstance(step.payload, ProxyChange) and step.payload.drain_s for step in plan.steps)
    parts = [f"running requests have up to {plan.drain_s:.0f} s"] if drains else []
    parts += [f"engines have up to {max(grace):.0f} s to exit after TERM, then KILL"] if grace else []
    if plan.launches:
        parts.append(_start_time(plan))
    if parts:
        yield SummaryRow("Time", "; then ".join(parts))


def _start_time(plan: Plan) -> str:
    """The expected time of the start, from earlier starts. Groups of one stage start side by side, stages one after another."""
    waits = [
        [step.payload.group for step in stage.steps if isinstance(step.payload, RunsAwaited)] for stage in plan.stages
    ]
    groups = [name for names in waits for name in names]
    if not groups:
        return "the plan ends when the engines are started; it does not wait until they are ready"
    known = [plan.usual[name] for name in groups if name in plan.usual]
    if not known:
        return "time until ready unknown: no earlier start recorded"
    seconds = sum(
        max((plan.usual[name].seconds for name in names if name in plan.usual), default=0.0) for names in waits
    )
    words = f"about {about(seconds)} until ready, as in {counted(min(each.of for each in known), 'earlier start')}"
    beside = {launch.rank.group for launch in plan.launches if launch.rank.role in BESIDE_ENGINES}
    missing = [name for name in groups if name not in plan.usual and name not in beside]
    return words + (f"; unknown for {name_ranges(missing, 3)}" if missing else "")


def _changed(plan: Plan) -> Iterator[SummaryRow]:
    found = [each for each in plan.findings if each.rule == CHANGED]
    yield from _findings(found)
    if not found and plan.launches:
        ran = any(launch.expected is not None for launch in plan.launches)
        text = "no known change since the last run" if ran else "these engines have not run before"
        yield SummaryRow(_LABELS[CHANGED], text)
    yield from _findings([each for each in plan.findings if each.rule == BEFORE])


def _lost(plan: Plan) -> Iterator[SummaryRow]:
    for loss in plan.losses[:MOST_ROWS]:
        yield SummaryRow("Lost", loss, "warning")
    if rest := plan.losses[MOST_ROWS:]:
        yield SummaryRow("Lost", f"and {len(rest)} more", "warning", rest)
    if plan.losses or not plan.engines:
        return
    if any(step.act in DOWN for step in plan.steps):
        yield SummaryRow("Lost", "no known loss")
    elif plan.launches:
        yield SummaryRow("Lost", "nothing: none of these engines is running")


def _findings(findings: Sequence[Finding]) -> Iterator[SummaryRow]:
    """A row for each finding; findings that differ only in the group share one."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for each in findings:
        name = each.where.removeprefix("group ")
        message = _without_name(each.message, name)
        alike.setdefault((each.rule, each.severity, message, each.fix), []).append(name)
    for (rule, severity, message, fix), names in alike.items():
        label = _LABELS.get(rule)
        where, named = name_ranges(names), _NAME in message
        text = message.replace(_NAME, where)
        text = text if named or not where else f"{where} {text}" if label else f"{text} ({where})"
        grade = _GRADES[Severity(severity)]
        yield SummaryRow(
            label or _WORDS[Severity(severity)], text if label else f"{rule}: {text}", grade, (fix,) if fix else ()
        )


def _without_name(message: str, name: str) -> str:
    """The message with `_NAME` for each whole word that is the name; without the name where the message starts with it."""
    whole = rf"(?<![\w.-]){re.escape(name)}(?![\w.-])"
    return re.sub(whole, _NAME, message.removeprefix(f"{name}: ")) if name else message


def _notes(notes: Sequence[Finding]) -> Iterator[SummaryRow]:
    """A row for each note; for many notes, one row that names their rules."""
    rows = list(_findings(notes))
    if len(rows) < MANY_NOTES:
        yield from rows
        return
    rules = ", ".join(dict.fromkeys(each.rule for each in notes))
    yield SummaryRow(
        "Notes", f"{len(rows)}: {rules}", "note", tuple(text for row in rows for text in (row.text, *row.more))
    )
