"""Derives alerts from snapshots: grouped, raised after a hold time, resolved after a calm time. Pure; sends nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from console.commands.masking import masked_text
from console.model.alert import Alert, Level
from console.model.deployment import engine_count
from console.model.role import BESIDE_ENGINES
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineSnapshot, EngineState, LinkState
from console.services.monitoring.stall_detection import phase_text, slowest

HOLD_S = 5.0
"""How long a condition must hold before it becomes an alert."""
CALM_S = 30.0
"""How long a condition must be gone before its alert is resolved, so that a flapping condition is one alert."""
WAKE_S = 60.0
"""A failure within this time after the first cause belongs to the alert of the first cause."""
MANY = 6

_BROKEN = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)
_ENDED = (EngineState.FAILED, EngineState.LOST)
_AT_REST = (*_ENDED, EngineState.EXITED, EngineState.IDLE)


def active_conditions(snapshot: ClusterSnapshot) -> Iterator[Alert]:
    """All alert conditions of one snapshot."""
    wanted, stopped = _being_stopped(snapshot), _handled_failures(snapshot)
    yield from _groups(snapshot, wanted | stopped)
    yield from _silent_starts(snapshot, wanted)
    yield from _links(snapshot)
    since = snapshot.work.since if snapshot.work else 0.0
    known = [
        each
        for each in snapshot.diagnoses
        if each.engine not in stopped and not (each.engine in wanted and each.at >= since)
    ]
    yield from _failures(known, snapshot.at)


def _being_stopped(snapshot: ClusterSnapshot) -> frozenset[str]:
    """Engines that a running plan stops, in any console; they raise no alert until they are stopped."""
    work, found = snapshot.work, set[str]()
    for each in snapshot.engines.values() if work is not None else ():
        if work is not None and each.state is not EngineState.STUCK:
            began = None if each.started_at is None else _here(snapshot, each, each.started_at)
            found.update({each.id} if work.takes_down(each.id, began) else ())
    return frozenset(found)


def _handled_failures(snapshot: ClusterSnapshot) -> frozenset[str]:
    """Failed engines whose group was stopped after the failure: an operator has handled them."""
    found = set[str]()
    for group in {each.group for each in snapshot.engines.values() if each.state in _ENDED and each.group}:
        mine = [each for each in snapshot.engines.values() if each.group == group]
        asked = [each.asked.at or 0.0 for each in mine if each.asked and each.state is EngineState.EXITED]
        if not asked or any(each.state not in _AT_REST for each in mine):
            continue
        for each in mine:
            ended = each.exit.at if each.exit else None
            if each.state in _ENDED and (ended is None or _here(snapshot, each, ended) <= max(asked)):
                found.add(each.id)
    return frozenset(found)


def _here(snapshot: ClusterSnapshot, engine: EngineSnapshot, at: float) -> float:
    """A time of the engine's node, converted to this machine's clock."""
    node = snapshot.nodes.get(engine.node)
    return at - (node.system.clock_offset_s or 0.0 if node else 0.0)


def _groups(snapshot: ClusterSnapshot, spared: frozenset[str]) -> Iterator[Alert]:
    for group in dict.fromkeys(each.group for each in snapshot.engines.values() if each.group):
        mine = [each for each in snapshot.engines.values() if each.group == group]
        broken = [each for each in mine if each.state in _BROKEN and each.id not in spared]
        bad = broken or [each for each in mine if each.state is EngineState.DEGRADED and each.id not in spared]
        if bad:
            word = str(bad[0].state) if len({each.state for each in bad}) == 1 else "broken"
            names = tuple(each.id for each in bad)
            counts = f"{engine_count(names)} of {engine_count([each.id for each in mine])} engines"
            title = f"{group} {word}" if bad[0].role in BESIDE_ENGINES else f"{group}: {counts} {word}"
            why = next((each for each in snapshot.diagnoses if each.first and each.engine in names), None)
            lead = next((each for each in bad if why is not None and each.id == why.engine), bad[0])
            # Text and remedy must belong to the same failure; the cause of the state may be another one.
            seen = (lead.cause or lead.state) if why is None else f"{why.signature} {why.title}: {why.text}"
            text = f"{lead.id} on {lead.node}: {seen}"
            remedy = why.remedy if why is not None else f"read its log: dsv4-console logs {lead.id}"
            level: Level = "error" if broken else "warning"
            yield Alert(f"group/{group}", level, title, snapshot.at, text, remedy, names)


def _silent_starts(snapshot: ClusterSnapshot, spared: frozenset[str]) -> Iterator[Alert]:
    """Stalled starts without new log lines, one alert for each group."""
    quiet = [each for each in snapshot.engines.values() if each.silent_since is not None and each.id not in spared]
    for group in dict.fromkeys(each.group for each in quiet):
        mine = [each for each in quiet if each.group == group]
        last = slowest(mine)
        more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
        title = f"{group}: start stalled, {last.id}{more} silent {phase_text(last)}"
        text = f"{last.id} on {last.node}: its log has had no new line for longer than usual ({last.held_up})"
        names = tuple(each.id for each in mine)
        remedy = f"read its log: dsv4-console logs {last.id}; if it hangs, restart its group"
        yield Alert(f"silent/{group}", "warning", title, snapshot.at, text, remedy, names)


def _links(snapshot: ClusterSnapshot) -> Iterator[Alert]:
    lost = [each for each in snapshot.nodes.values() if each.link.state in (LinkState.LOST, LinkState.BLOCKED)]
    if lost:
        names = tuple(each.name for each in lost)
        shown = ", ".join(names[:MANY]) + (" …" if len(names) > MANY else "")
        title = f"{len(lost)} of {len(snapshot.nodes)} nodes out of reach: {shown}"
        text, hint = lost[0].link.reason, lost[0].link.hint
        yield Alert("links", "warning", title, snapshot.at, text, hint, names)


def _failures(diagnoses: Sequence[Diagnosis], now: float) -> Iterator[Alert]:
    first_at = next((each.at for each in diagnoses if each.first), None)
    for signature in dict.fromkeys(each.signature for each in diagnoses if each.severity != "advice"):
        found = [each for each in diagnoses if each.signature == signature]
        first = found[0]
        if first_at is not None and not any(each.first for each in found) and _follows_first_cause(found, first_at):
            continue
        level: Level = "error" if first.severity == "fatal" else "warning"
        names = tuple(dict.fromkeys(each.engine for each in found))
        shown = ", ".join(names[:MANY]) + (" …" if len(names) > MANY else "")
        title = f"{signature} {first.title}: {shown}"
        yield Alert(signature, level, title, now, first.text, first.remedy, names)


def _follows_first_cause(found: Sequence[Diagnosis], first_at: float) -> bool:
    """Whether a failure follows the first cause, whose alert covers it; failures of the proxy always have their own alert."""
    return all(abs(each.at - first_at) <= WAKE_S and each.engine != "proxy" for each in found)


class AlertBook:
    """The active alerts, and the changes since they were last read."""

    def __init__(self, *, hold_s: float = HOLD_S, calm_s: float = CALM_S) -> None:
        self._hold_s = hold_s
        self._calm_s = calm_s
        self._seen: dict[str, Alert] = {}
        """All conditions that hold, as alerts; `since` is the time when the condition started."""
        self._runs: dict[str, dict[str, str | None]] = {}
        """Alert key -> the runs of its engines when the condition was first seen. Diagnoses arrive later than the snapshot,
        which may already have the next run."""
        self._gone: dict[str, float] = {}
        self._active: dict[str, Alert] = {}
        self._raised: dict[str, Alert] = {}
        self._over: dict[str, Alert] = {}

    def copy(self, *, hold_s: float) -> AlertBook:
        """A copy with another hold time."""
        made = AlertBook(hold_s=hold_s, calm_s=self._calm_s)
        made._seen, made._active, made._gone = dict(self._seen), dict(self._active), dict(self._gone)
        made._raised, made._over = dict(self._raised), dict(self._over)
        made._runs = {key: dict(runs) for key, runs in self._runs.items()}
        return made

    @property
    def active(self) -> tuple[Alert, ...]:
        """The active alerts, errors first, then by age."""
        told = (replace(each, calm=key in self._gone) for key, each in self._active.items())
        return tuple(sorted(told, key=lambda each: (each.level != "error", each.since)))

    def update(self, snapshot: ClusterSnapshot) -> None:
        """Update the alerts from a snapshot."""
        now = snapshot.at
        holding = {each.key: _masked(each) for each in active_conditions(snapshot)}
        self._seen = {
            key: replace(each, since=self._seen[key].since if key in self._seen else now)
            for key, each in holding.items()
        }
        for key, each in self._seen.items():
            now_of = {name: engine.run for name in each.subjects if (engine := snapshot.engines.get(name))}
            self._runs[key] = {**now_of, **self._runs.get(key, {})}
            self._gone.pop(key, None)
            if key in self._active:
                self._active[key] = replace(each, since=self._active[key].since)
            elif now - each.since >= self._hold_s:
                self._active[key] = self._raised[key] = each
                self._over.pop(key, None)
        for key in [key for key in self._active if key not in self._seen]:
            if self._may_return(key, snapshot):
                self._gone[key] = now
            calm = now - self._gone.setdefault(key, now) >= self._calm_s
            if calm or self._resolved(key, snapshot):
                self._over[key] = self._active.pop(key)
                self._raised.pop(key, None)
                del self._gone[key]
        self._runs = {key: runs for key, runs in self._runs.items() if key in self._seen or key in self._active}

    def _may_return(self, key: str, snapshot: ClusterSnapshot) -> bool:
        """Whether a condition that is gone may return: its engine is unreachable, or a stalled start failed or was restarted.

        A start may stall again at the same point, so the alert stays active until a start gets further.
        """
        runs = self._runs.get(key, {})
        shown = [each for name in runs if (each := snapshot.engines.get(name))]
        if any(each.state is EngineState.UNREACHABLE for each in shown):
            return True
        return key.startswith("silent/") and any(
            each.run != runs[each.id] or each.state not in (EngineState.STARTING, EngineState.READY) for each in shown
        )

    def _resolved(self, key: str, snapshot: ClusterSnapshot) -> bool:
        """Whether the condition cannot return by itself: the whole group is ready or stopped, or newer runs of its engines
        are.
        """
        runs = self._runs.get(key, {})
        if key.startswith("silent/") and snapshot.work is not None:
            return False
        group = [each for each in snapshot.engines.values() if key in (f"group/{each.group}", f"silent/{each.group}")]
        later = [each for name, run in runs.items() if (each := snapshot.engines.get(name)) and each.run != run]
        shown = [each for name in runs if (each := snapshot.engines.get(name))]
        if shown and all(each.state is EngineState.EXITED for each in shown):
            return True
        if not group and len(later) < len(runs):
            return False
        ends = (EngineState.READY, EngineState.EXITED) if group else (EngineState.READY,)
        return bool(group or later) and any(all(each.state is end for each in group or later) for end in ends)

    def changes(self) -> tuple[tuple[Alert, ...], tuple[Alert, ...]]:
        """(raised, resolved) since the last call; an alert that was both is only resolved."""
        found = (tuple(self._raised.values()), tuple(self._over.values()))
        self._raised, self._over = {}, {}
        return found


def _masked(alert: Alert) -> Alert:
    return replace(alert, text=masked_text(alert.text)[:500])


def summary(cluster: str, raised: Mapping[str, str], over: Mapping[str, str]) -> str:
    """One line for a message: the cluster, raised alerts, resolved alerts (key → title)."""
    parts = [*raised.values(), *(f"over: {title}" for title in over.values())]
    more = f" (+{len(parts) - MANY} more)" if len(parts) > MANY else ""
    return f"{cluster}: " + "; ".join(parts[:MANY]) + more
