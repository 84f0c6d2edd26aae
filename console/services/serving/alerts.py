"""Which alerts hold, from pictures: grouped, raised after they held a while, over after a calm. Pure; sending is others' job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from console.commands.masking import masked_text
from console.model.alert import Alert, Level
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineState, LinkState

HOLD_S = 5.0
"""How long something must hold before it is an alert."""
CALM_S = 30.0
"""How long it must be gone before it is over: what comes and goes is one alert."""
WAKE_S = 60.0
"""A failure within this time of the first cause is told with it."""
MANY = 6

_BROKEN = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)


def conditions(snapshot: ClusterSnapshot) -> Iterator[Alert]:
    """Everything that holds in a picture, whatever it held before."""
    yield from _groups(snapshot)
    yield from _links(snapshot)
    yield from _failures(snapshot)


def _groups(snapshot: ClusterSnapshot) -> Iterator[Alert]:
    for group in dict.fromkeys(each.group for each in snapshot.engines.values() if each.group):
        mine = [each for each in snapshot.engines.values() if each.group == group]
        broken = [each for each in mine if each.state in _BROKEN]
        bad = broken or [each for each in mine if each.state is EngineState.DEGRADED]
        if bad:
            word = str(bad[0].state) if len({each.state for each in bad}) == 1 else "broken"
            title = f"{group}: {len(bad)} of {len(mine)} engines {word}"
            names = tuple(each.id for each in bad)
            why = next((each for each in snapshot.diagnoses if each.first and each.engine in names), None)
            lead = next((each for each in bad if why is not None and each.id == why.engine), bad[0])
            text = f"{lead.id} on {lead.node}: {lead.cause or lead.state}"
            remedy = why.remedy if why is not None else f"see logs {lead.id}"
            level: Level = "error" if broken else "warning"
            yield Alert(f"group/{group}", level, title, snapshot.at, text, remedy, names)


def _links(snapshot: ClusterSnapshot) -> Iterator[Alert]:
    lost = [each for each in snapshot.nodes.values() if each.link.state in (LinkState.LOST, LinkState.BLOCKED)]
    if lost:
        names = tuple(each.name for each in lost)
        shown = ", ".join(names[:MANY]) + (" …" if len(names) > MANY else "")
        title = f"{len(lost)} of {len(snapshot.nodes)} nodes out of reach: {shown}"
        text, hint = lost[0].link.reason, lost[0].link.hint
        yield Alert("links", "warning", title, snapshot.at, text, hint, names)


def _failures(snapshot: ClusterSnapshot) -> Iterator[Alert]:
    first_at = next((each.at for each in snapshot.diagnoses if each.first), None)
    for signature in dict.fromkeys(each.signature for each in snapshot.diagnoses if each.severity != "advice"):
        found = [each for each in snapshot.diagnoses if each.signature == signature]
        first = found[0]
        if first_at is not None and not any(each.first for each in found) and _follows(found, first_at):
            continue
        level: Level = "error" if first.severity == "fatal" else "warning"
        names = tuple(dict.fromkeys(each.engine for each in found))
        shown = ", ".join(names[:MANY]) + (" …" if len(names) > MANY else "")
        title = f"{signature} {first.title}: {shown}"
        yield Alert(signature, level, title, snapshot.at, first.text, first.remedy, names)


def _follows(found: Sequence[Diagnosis], first_at: float) -> bool:
    """Whether a failure shows in the wake of the first cause, whose alert speaks for it; the proxy's speak for themselves."""
    return all(abs(each.at - first_at) <= WAKE_S and each.engine != "proxy" for each in found)


class AlertBook:
    """What holds now, and what is new since it was last asked."""

    def __init__(self, *, hold_s: float = HOLD_S, calm_s: float = CALM_S) -> None:
        self._hold_s = hold_s
        self._calm_s = calm_s
        self._seen: dict[str, Alert] = {}
        """Everything that holds, whether an alert already or not; `since` is when it began."""
        self._gone: dict[str, float] = {}
        self._active: dict[str, Alert] = {}
        self._raised: dict[str, Alert] = {}
        self._over: dict[str, Alert] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        """The alerts that hold, errors first, then by age."""
        return tuple(sorted(self._active.values(), key=lambda each: (each.level != "error", each.since)))

    def take(self, snapshot: ClusterSnapshot) -> None:
        """Take a picture."""
        now = snapshot.at
        holding = {each.key: _masked(each) for each in conditions(snapshot)}
        self._seen = {
            key: replace(each, since=self._seen[key].since if key in self._seen else now)
            for key, each in holding.items()
        }
        for key, each in self._seen.items():
            self._gone.pop(key, None)
            if key in self._active:
                self._active[key] = replace(each, since=self._active[key].since)
            elif now - each.since >= self._hold_s:
                self._active[key] = self._raised[key] = each
                self._over.pop(key, None)
        for key in [key for key in self._active if key not in self._seen]:
            if now - self._gone.setdefault(key, now) >= self._calm_s:
                self._over[key] = self._active.pop(key)
                self._raised.pop(key, None)
                del self._gone[key]

    def news(self) -> tuple[tuple[Alert, ...], tuple[Alert, ...]]:
        """(raised, over) since it was last asked; what was both is only over."""
        found = (tuple(self._raised.values()), tuple(self._over.values()))
        self._raised, self._over = {}, {}
        return found


def _masked(alert: Alert) -> Alert:
    return replace(alert, text=masked_text(alert.text)[:500])


def summary(cluster: str, raised: Mapping[str, str], over: Mapping[str, str]) -> str:
    """One line for a message: the cluster, what is raised, what is over (key → title)."""
    parts = [*raised.values(), *(f"over: {title}" for title in over.values())]
    more = f" (+{len(parts) - MANY} more)" if len(parts) > MANY else ""
    return f"{cluster}: " + "; ".join(parts[:MANY]) + more
