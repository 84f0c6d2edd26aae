"""Finds the events between two snapshots: engines that changed state, links that were lost or restored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from console.model.snapshot import EngineSnapshot, EngineState, EventLevel, Link, LinkState

_LEVELS = {
    EngineState.FAILED: EventLevel.ERROR,
    EngineState.LOST: EventLevel.ERROR,
    EngineState.STUCK: EventLevel.ERROR,
    EngineState.DEGRADED: EventLevel.WARNING,
    EngineState.UNMANAGED: EventLevel.WARNING,
}
_BROKEN = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)
_STAGES = {"TERM": "TERM sent", "KILL": "KILL for what is left"}
"""Text for a stop stage of several engines, by the first word of the stage."""
GATHER_S = 1.0
"""How long to wait for the same change of other ranks of a group, because nodes report at different times."""


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """One event of an engine, or of several ranks of a group."""

    level: EventLevel
    text: str
    engine: str = ""
    node: str = ""


class EngineEvents:
    """Collects events of engines; ranks of a group with the same change at about the same time become one event.

    The rank that failed first gets its own event at once; later ones wait for the rest of the group.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, EngineState], tuple[float, dict[str, EngineSnapshot]]] = {}
        """(group, state) -> time of the first change, and the engines with this change."""
        self._reported: dict[tuple[str, EngineState], float] = {}
        self._stages: dict[tuple[str, str], tuple[float, dict[str, str]]] = {}
        """(node, first word of a stage) -> time of the first one, and the text of each engine."""

    def stage(self, node: str, engine: str, words: str, now: float) -> None:
        """Add a stage of a stop by this console."""
        self._stages.setdefault((node, words.split(" ")[0]), (now, {}))[1][engine] = words

    def collect(
        self, before: Mapping[str, EngineSnapshot], after: Mapping[str, EngineSnapshot], now: float
    ) -> Iterator[EngineEvent]:
        """The events that are due at `now`, from the engines of the previous and the new snapshot."""
        sizes = Counter(each.group for each in after.values())
        for engine in _changed(before, after):
            key = (engine.group, engine.state)
            alone = not engine.group or sizes[engine.group] < 2
            first = engine.state in _BROKEN and not engine.after and now - self._reported.get(key, 0.0) >= GATHER_S
            if alone or first:
                self._reported[key] = now
                yield _event_of(engine)
            else:
                self._waiting.setdefault(key, (now, {}))[1][engine.id] = engine
        yield from self._stopping(now)
        for key, (since, members) in tuple(self._waiting.items()):
            if now - since >= GATHER_S:
                del self._waiting[key]
                self._reported[key] = now
                yield from _group_events([_newest(each, after) for each in members.values()], after)

    def _stopping(self, now: float) -> Iterator[EngineEvent]:
        for key, (since, words) in tuple(self._stages.items()):
            if now - since >= GATHER_S:
                node, stage = key
                del self._stages[key]
                if len(words) == 1:
                    ((engine, text),) = words.items()
                    yield EngineEvent(EventLevel.INFO, f"stopping: {text}", engine, node)
                else:
                    text = f"stopping {len(words)} engines: {_STAGES.get(stage, stage)}"
                    yield EngineEvent(EventLevel.INFO, text, "", node)


def _changed(before: Mapping[str, EngineSnapshot], after: Mapping[str, EngineSnapshot]) -> Iterator[EngineSnapshot]:
    """Engines whose state has changed. A lost link is an event of the node and not of its engines."""
    for name, engine in after.items():
        previous = before.get(name)
        old = (previous.stale_of or previous.state) if previous else EngineState.IDLE
        if engine.state in (old, EngineState.UNREACHABLE) or (previous is not None and previous.state is engine.state):
            continue
        if previous is None or old is EngineState.UNREACHABLE:
            continue  # the first report of an engine may be about a change long ago
        yield engine


def _newest(engine: EngineSnapshot, after: Mapping[str, EngineSnapshot]) -> EngineSnapshot:
    """The newest snapshot of an engine in the same state, because its log may have shown the cause meanwhile."""
    found = after.get(engine.id)
    return found if found is not None and (found.state, found.run) == (engine.state, engine.run) else engine


def _group_events(members: Sequence[EngineSnapshot], after: Mapping[str, EngineSnapshot]) -> Iterator[EngineEvent]:
    """One event for all members, and one for each rank that caused the change of others."""
    leaders = {each.after for each in after.values()}
    yield from (_event_of(each) for each in members if each.id in leaders)
    rest = [each for each in members if each.id not in leaders]
    if len(rest) < 2:
        yield from map(_event_of, rest)
        return
    exits = {_exit_text(each) for each in rest}
    text = f"{len(rest)} ranks of {rest[0].group} {rest[0].state}{exits.pop() if len(exits) == 1 else ''}"
    why = _common_cause(rest, after)
    yield EngineEvent(_LEVELS.get(rest[0].state, EventLevel.INFO), f"{text}: {why}" if why else text)


def _common_cause(members: Sequence[EngineSnapshot], after: Mapping[str, EngineSnapshot]) -> str:
    """The common cause: the rank that failed first, else the most frequent cause."""
    first = after.get(next((each.after for each in members if each.after), ""))
    if first is not None:
        return f"{first.id} on {first.node} {first.state} first"
    ((why, count),) = Counter(map(_reason, members)).most_common(1)
    return f"{why} ({count} of them)" if why and count < len(members) else why


def _event_of(engine: EngineSnapshot) -> EngineEvent:
    why = _reason(engine)
    text = f"{engine.state}{_exit_text(engine)}" + (f": {why}" if why else "")
    return EngineEvent(_LEVELS.get(engine.state, EventLevel.INFO), text, engine.id, engine.node)


def _exit_text(engine: EngineSnapshot) -> str:
    relevant = engine.exit is not None and engine.state in (EngineState.FAILED, EngineState.EXITED)
    return f" (exit {engine.exit})" if relevant else ""


def _reason(engine: EngineSnapshot) -> str:
    requested = f"stopped {engine.asked.who()}" if engine.asked and engine.state is EngineState.EXITED else ""
    return "; ".join(part for part in (requested, engine.cause) if part)


def link_event(before: Link, after: Link) -> tuple[EventLevel, str] | None:
    """The event of a changed link, or None."""
    if before.state is after.state:
        return None
    if after.state is LinkState.UP:
        return EventLevel.INFO, "answers again" if before.state is LinkState.STALE else "connected"
    if after.state is LinkState.STALE:
        return EventLevel.WARNING, after.reason
    if after.state is LinkState.BLOCKED:
        return EventLevel.ERROR, f"blocked: {after.reason}"
    if after.state is LinkState.LOST and before.state in (LinkState.UP, LinkState.STALE, LinkState.CONNECTING):
        return EventLevel.WARNING, f"unreachable: {after.reason}"
    return None
