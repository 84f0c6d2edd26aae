"""What is worth telling between two snapshots: engines that changed state, links that went or came back."""

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
"""What several engines have in common of a stage of their stop, by its first word."""
GATHER_S = 1.0
"""How long ranks of a group are waited for that go the same way: their nodes tell at their own times."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line on what became of an engine, or of several ranks of a group at about one time."""

    level: EventLevel
    text: str
    engine: str = ""
    node: str = ""


class Changes:
    """What engines did, told once for the ranks of a group that did the same within a moment of each other.

    Whoever broke first is told at once and alone; what follows may wait for the rest of the group.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, EngineState], tuple[float, dict[str, EngineSnapshot]]] = {}
        """(group, state) -> since when, and who is in it."""
        self._told: dict[tuple[str, EngineState], float] = {}
        self._stages: dict[tuple[str, str], tuple[float, dict[str, str]]] = {}
        """(node, first word of a stage) -> since when, and the words of each engine."""

    def stage(self, node: str, engine: str, words: str, now: float) -> None:
        """A stop by this console went a stage further."""
        self._stages.setdefault((node, words.split(" ")[0]), (now, {}))[1][engine] = words

    def take(
        self, before: Mapping[str, EngineSnapshot], after: Mapping[str, EngineSnapshot], now: float
    ) -> Iterator[Change]:
        """What is to be told at `now`, from the snapshot before and the one after."""
        sizes = Counter(each.group for each in after.values())
        for engine in _changed(before, after):
            key = (engine.group, engine.state)
            alone = not engine.group or sizes[engine.group] < 2
            first = engine.state in _BROKEN and not engine.after and now - self._told.get(key, 0.0) >= GATHER_S
            if alone or first:
                self._told[key] = now
                yield _one(engine)
            else:
                self._waiting.setdefault(key, (now, {}))[1][engine.id] = engine
        yield from self._stopping(now)
        for key, (since, members) in tuple(self._waiting.items()):
            if now - since >= GATHER_S:
                del self._waiting[key]
                self._told[key] = now
                yield from _together([_newest(each, after) for each in members.values()], after)

    def _stopping(self, now: float) -> Iterator[Change]:
        for key, (since, words) in tuple(self._stages.items()):
            if now - since >= GATHER_S:
                node, stage = key
                del self._stages[key]
                if len(words) == 1:
                    ((engine, text),) = words.items()
                    yield Change(EventLevel.INFO, f"stopping: {text}", engine, node)
                else:
                    text = f"stopping {len(words)} engines: {_STAGES.get(stage, stage)}"
                    yield Change(EventLevel.INFO, text, "", node)


def _changed(before: Mapping[str, EngineSnapshot], after: Mapping[str, EngineSnapshot]) -> Iterator[EngineSnapshot]:
    """Engines whose state is another now. A lost link is the node's event, not each engine's."""
    for name, engine in after.items():
        was = before.get(name)
        old = (was.stale_of or was.state) if was else EngineState.IDLE
        if engine.state in (old, EngineState.UNREACHABLE) or (was is not None and was.state is engine.state):
            continue
        if was is None or old is EngineState.UNREACHABLE:
            continue  # what is heard of it for the first time may have happened long ago
        yield engine


def _newest(engine: EngineSnapshot, after: Mapping[str, EngineSnapshot]) -> EngineSnapshot:
    """What is known of it by now, as long as it is in the state that is to be told: its log may have said why."""
    found = after.get(engine.id)
    return found if found is not None and (found.state, found.run) == (engine.state, engine.run) else engine


def _together(members: Sequence[EngineSnapshot], after: Mapping[str, EngineSnapshot]) -> Iterator[Change]:
    """One line for all, and one for each to whom the end of others is laid."""
    leaders = {each.after for each in after.values()}
    yield from (_one(each) for each in members if each.id in leaders)
    rest = [each for each in members if each.id not in leaders]
    if len(rest) < 2:
        yield from map(_one, rest)
        return
    exits = {_exit_words(each) for each in rest}
    text = f"{len(rest)} ranks of {rest[0].group} {rest[0].state}{exits.pop() if len(exits) == 1 else ''}"
    why = _shared(rest, after)
    yield Change(_LEVELS.get(rest[0].state, EventLevel.INFO), f"{text}: {why}" if why else text)


def _shared(members: Sequence[EngineSnapshot], after: Mapping[str, EngineSnapshot]) -> str:
    """What explains most of them: the rank that broke first, else the reason that most have."""
    first = after.get(next((each.after for each in members if each.after), ""))
    if first is not None:
        return f"{first.id} on {first.node} {first.state} first"
    ((why, count),) = Counter(map(_reason, members)).most_common(1)
    return f"{why} ({count} of them)" if why and count < len(members) else why


def _one(engine: EngineSnapshot) -> Change:
    why = _reason(engine)
    text = f"{engine.state}{_exit_words(engine)}" + (f": {why}" if why else "")
    return Change(_LEVELS.get(engine.state, EventLevel.INFO), text, engine.id, engine.node)


def _exit_words(engine: EngineSnapshot) -> str:
    told = engine.exit is not None and engine.state in (EngineState.FAILED, EngineState.EXITED)
    return f" (exit {engine.exit})" if told else ""


def _reason(engine: EngineSnapshot) -> str:
    wanted = f"stopped {engine.asked.who()}" if engine.asked and engine.state is EngineState.EXITED else ""
    return "; ".join(part for part in (wanted, engine.cause) if part)


def link_event(before: Link, after: Link) -> tuple[EventLevel, str] | None:
    """What to tell when a link changed, None when it is not worth a line."""
    if before.state is after.state:
        return None
    if after.state is LinkState.UP:
        return EventLevel.INFO, "heard again" if before.state is LinkState.STALE else "connected"
    if after.state is LinkState.STALE:
        return EventLevel.WARNING, after.reason
    if after.state is LinkState.BLOCKED:
        return EventLevel.ERROR, f"blocked: {after.reason}"
    if after.state is LinkState.LOST and before.state in (LinkState.UP, LinkState.STALE, LinkState.CONNECTING):
        return EventLevel.WARNING, f"unreachable: {after.reason}"
    return None
