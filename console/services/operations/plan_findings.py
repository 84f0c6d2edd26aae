"""What an operation should know before it: how the attempt before a start failed and what is different now, whom a stop
cannot reach.

Pure; it blocks nothing.
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
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineSnapshot, EngineState
from console.releases.facts import facts_of, release_name
from console.rules.release_changes import changes
from console.services.placement.layout_files import named
from console.services.placement.upgrade_report import in_short

_ENDED = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK, EngineState.DEGRADED)
MOST_CHANGES = 6
RELEASE = "RELEASE"
"""The rule of a finding that engines start with another release than they ran with."""
UNREACHED = "REACH"
"""The rule of a finding that something stays as it is because its node cannot be asked."""


def of_earlier(snapshot: ClusterSnapshot, ranks: Mapping[str, Rank], to_start: Sequence[str]) -> Iterable[Finding]:
    """For each group that is to be started: what its settings change, and the known failure that brought it down.

    The same settings fail the same way; where nothing has changed that is said, with what to do about it first.
    """
    seen = {name: each for name in to_start if (each := snapshot.engines.get(name)) is not None and each.run}
    for group in dict.fromkeys(ranks[name].group for name in to_start):
        mine = {name: each for name, each in seen.items() if ranks[name].group == group}
        changes = _changes(mine)
        if changes:
            yield Finding(
                "CHANGED", Severity.NOTE, f"would start differently from the last run: {'; '.join(changes)}", group
            )
        why = _why(snapshot.diagnoses, mine)
        if why is None:
            continue
        failed = f"{why.engine} failed with {why.signature} {why.title}"
        if changes:
            yield Finding("BEFORE", Severity.NOTE, failed, why.engine, fix=_fix(why))
        elif "restart" not in why.remedy.casefold():
            message = f"{failed}, and it starts with the settings of then"
            yield Finding("BEFORE", Severity.WARNING, message, why.engine, fix=_fix(why))


def of_release(deployment: Deployment, snapshot: ClusterSnapshot, to_start: Sequence[str]) -> Iterable[Finding]:
    """For each other release that engines ran with before: what the release of now makes of this layout, in short."""
    planned = release_named(deployment.layout)
    new = facts_of(release_name(planned))
    ran: dict[str, list[str]] = {}
    for name in to_start if planned else ():
        seen = snapshot.engines.get(name)
        if seen is None or seen.role in BESIDE_ENGINES or not seen.release:
            continue
        if release_name(seen.release) != release_name(planned):
            ran.setdefault(seen.release, []).append(seen.group)
    for was, groups in ran.items():
        old, where = facts_of(release_name(was)), ", ".join(dict.fromkeys(groups))
        if old is None or new is None:
            message = (
                f"ran with {was}, starts with {planned}: there are no facts about {planned if new is None else was}"
            )
            yield Finding(RELEASE, Severity.NOTE, message, where, fix="read the release notes")
            continue
        found = changes(layout_data(deployment.layout), old, new)
        severity = Severity.WARNING if any(each.kind.breaks or each.new for each in found) else Severity.NOTE
        message = f"ran with {was}, starts with {planned}: {in_short(found)}"
        fix = f"all of it: dsv4-console upgrade --from {was} --to {planned} {quote(named(deployment.layout))}"
        yield Finding(RELEASE, severity, message, where, fix=fix)


def unreached(snapshot: ClusterSnapshot, names: Sequence[str]) -> dict[str, list[str]]:
    """Nodes out of reach, each with the engines of these that are there: whether they run nobody can tell."""
    found: dict[str, list[str]] = {}
    for name in names:
        seen = snapshot.engines.get(name)
        if seen is not None and seen.out_of_reach:
            found.setdefault(seen.node, []).append(name)
    return found


def of_unreached(snapshot: ClusterSnapshot, verb: Verb, names: Sequence[str]) -> Iterable[Finding]:
    """A warning for each node that a stop cannot reach: what runs there goes on, and a restart fails half way."""
    for node, mine in unreached(snapshot, names).items() if verb != "start" else ():
        some = ", ".join(mine[:3]) + (f" +{len(mine) - 3} more" if len(mine) > 3 else "")
        rest = "the others of their group would be stopped and could not start without them" if verb == "restart" else (
            "what runs there goes on"
        )  # fmt: skip
        link = snapshot.nodes[node].link if node in snapshot.nodes else None
        fix = f"bring the node back first: {link.hint}" if link and link.hint else "bring the node back first"
        message = f"{node} is out of reach, so {some} cannot be stopped: {rest}"
        yield Finding(UNREACHED, Severity.WARNING, message, node, fix=fix)


def _why(diagnoses: Iterable[Diagnosis], engines: Mapping[str, EngineSnapshot]) -> Diagnosis | None:
    """The failure that explains why one of these is down: the first cause, else the earliest that was fatal."""
    if not any(each.state in _ENDED for each in engines.values()):
        return None
    mine = [each for each in diagnoses if each.engine in engines and each.severity == "fatal"]
    return min(mine, key=lambda each: (not each.first, each.at), default=None)


def _fix(why: Diagnosis) -> str:
    return f"{why.remedy} See {why.where}" if why.where else why.remedy


def _changes(engines: Mapping[str, EngineSnapshot]) -> list[str]:
    """Each difference once, with how many engines have it where not all do."""
    counts: dict[str, int] = {}
    for each in engines.values():
        for line in each.drift:
            counts[line] = counts.get(line, 0) + 1
    lines = [
        line if count == len(engines) else f"{line} ({count} of {len(engines)} engines)"
        for line, count in counts.items()
    ]
    more = len(lines) - MOST_CHANGES
    return lines[:MOST_CHANGES] + ([f"and {more} more"] if more > 0 else [])
