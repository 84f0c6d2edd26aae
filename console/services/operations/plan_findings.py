"""Findings about the plan itself: why the previous run failed and which settings differ, and which nodes a stop cannot reach.

Pure. None of these findings blocks a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from console.commands.quoting import quote
from console.files import layout_data
from console.model.deployment import Deployment, Rank
from console.model.findings import Finding, Severity
from console.model.image_name import release_named
from console.model.plan import Verb
from console.model.role import BESIDE_ENGINES
from console.model.shortening import list_text
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineSnapshot, EngineState
from console.releases.facts import facts_of, release_name
from console.rules.release_changes import changes
from console.services.placement.layout_files import layout_argument
from console.services.placement.upgrade_report import summary_line

_ENDED = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK, EngineState.DEGRADED)
MOST_CHANGES = 6
RELEASE = "RELEASE"
"""The rule of the finding that engines start with another release than in their previous run."""
CHANGED = "CHANGED"
"""The rule of the finding that a group starts with other settings than in its previous run."""
BEFORE = "BEFORE"
"""The rule of the finding that a known failure ended the previous run."""
PART = "PART"
"""The rule of the finding that a part of the deployment stays down."""
UNREACHED = "REACH"
"""The rule of the finding that engines cannot be stopped because their node is unreachable."""


def previous_run_findings(
    snapshot: ClusterSnapshot, ranks: Mapping[str, Rank], to_start: Sequence[str]
) -> Iterable[Finding]:
    """For each group to start: which settings differ from its previous run, and the known failure that ended that run.

    Unchanged settings fail the same way again, so that case is a warning with the remedy.
    """
    seen = {name: each for name in to_start if (each := snapshot.engines.get(name)) is not None and each.run}
    for group in dict.fromkeys(ranks[name].group for name in to_start):
        mine = {name: each for name, each in seen.items() if ranks[name].group == group}
        changes = _changes(mine)
        if changes:
            message = f"changed since the last run: {list_text(changes, MOST_CHANGES, '; ')}"
            yield Finding(CHANGED, Severity.NOTE, message, group)
        why = _why(snapshot.diagnoses, mine)
        if why is None:
            continue
        failed = f"{why.engine} failed with {why.signature} {why.title}"
        if changes:
            yield Finding(BEFORE, Severity.NOTE, failed, why.engine, fix=_fix(why))
        elif "restart" not in why.remedy.casefold():
            message = f"{failed}, and its settings have not changed"
            yield Finding(BEFORE, Severity.WARNING, message, why.engine, fix=_fix(why))


def release_findings(deployment: Deployment, snapshot: ClusterSnapshot, to_start: Sequence[str]) -> Iterable[Finding]:
    """For each other release in previous runs: a summary of what the planned release changes for this layout."""
    planned = release_named(deployment.layout)
    new = facts_of(release_name(planned))
    groups_by_release: dict[str, list[str]] = {}
    for name in to_start if planned else ():
        seen = snapshot.engines.get(name)
        if seen is None or seen.role in BESIDE_ENGINES or not seen.release:
            continue
        if release_name(seen.release) != release_name(planned):
            groups_by_release.setdefault(seen.release, []).append(seen.group)
    for previous, groups in groups_by_release.items():
        old, where = facts_of(release_name(previous)), ", ".join(dict.fromkeys(groups))
        if old is None or new is None:
            message = (
                f"ran with {previous}, starts with {planned}: no facts about {planned if new is None else previous}"
            )
            yield Finding(RELEASE, Severity.NOTE, message, where, fix="read the release notes")
            continue
        found = changes(layout_data(deployment.layout), old, new)
        severity = Severity.WARNING if any(each.kind.breaks or each.new for each in found) else Severity.NOTE
        message = f"ran with {previous}, starts with {planned}: {summary_line(found)}"
        fix = f"details: dsv4-console upgrade --from {previous} --to {planned} {quote(layout_argument(deployment.layout))}"
        yield Finding(RELEASE, severity, message, where, fix=fix)


def unreached(snapshot: ClusterSnapshot, names: Sequence[str]) -> dict[str, list[str]]:
    """Unreachable nodes, each with those of the named engines that are assigned to it; whether they run is unknown.

    It is known as soon as a node has listed its runs, also while the rest of its first sample is awaited.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        seen = snapshot.engines.get(name)
        listed = (
            seen is not None and seen.connecting and seen.node in snapshot.nodes and snapshot.nodes[seen.node].listed
        )
        if seen is not None and seen.out_of_reach and not listed:
            found.setdefault(seen.node, []).append(name)
    return found


def unreached_findings(snapshot: ClusterSnapshot, verb: Verb, names: Sequence[str]) -> Iterable[Finding]:
    """A warning for each node that a stop cannot reach: engines there keep running, and a restart would fail half-way."""
    for node, mine in unreached(snapshot, names).items() if verb != "start" else ():
        rest = "they keep running"
        if verb == "restart":
            rest = "the other ranks of the group would be stopped and could not start without them"
        link = snapshot.nodes[node].link if node in snapshot.nodes else None
        fix = "restore the link first" + (f": {link.hint}" if link and link.hint else "")
        message = f"{node} is unreachable, so {list_text(mine, 3)} cannot be stopped: {rest}"
        yield Finding(UNREACHED, Severity.WARNING, message, node, fix=fix)


def _why(diagnoses: Iterable[Diagnosis], engines: Mapping[str, EngineSnapshot]) -> Diagnosis | None:
    """The failure that explains why one of these engines is down: the first cause, else the earliest fatal one."""
    if not any(each.state in _ENDED for each in engines.values()):
        return None
    mine = [each for each in diagnoses if each.engine in engines and each.severity == "fatal"]
    return min(mine, key=lambda each: (not each.first, each.at), default=None)


def _fix(why: Diagnosis) -> str:
    return f"{why.remedy} See {why.where}" if why.where else why.remedy


def _changes(engines: Mapping[str, EngineSnapshot]) -> list[str]:
    """Each difference once, with the number of engines that have it when not all do."""
    counts: dict[str, int] = {}
    for each in engines.values():
        for line in each.drift:
            counts[line] = counts.get(line, 0) + 1
    return [
        line if count == len(engines) else f"{line} ({count} of {len(engines)} engines)"
        for line, count in counts.items()
    ]
