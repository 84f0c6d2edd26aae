"""What is worth telling between two pictures: engines that changed state, links that went or came back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from console.model.snapshot import EngineSnapshot, EngineState, EventLevel, Link, LinkState

_LEVELS = {
    EngineState.FAILED: EventLevel.ERROR,
    EngineState.LOST: EventLevel.ERROR,
    EngineState.STUCK: EventLevel.ERROR,
    EngineState.DEGRADED: EventLevel.WARNING,
    EngineState.UNMANAGED: EventLevel.WARNING,
}


def engine_events(
    before: Mapping[str, EngineSnapshot], after: Mapping[str, EngineSnapshot]
) -> Iterator[tuple[EventLevel, str, str]]:
    """(level, text, engine) for every engine whose state is another now. A lost link is the node's event, not each engine's."""
    for name, engine in after.items():
        was = before.get(name)
        old = (was.stale_of or was.state) if was else EngineState.IDLE
        if engine.state in (old, EngineState.UNREACHABLE) or (was is not None and was.state is engine.state):
            continue
        if was is None or (old is EngineState.UNREACHABLE and engine.state is EngineState.IDLE):
            continue
        text = str(engine.state)
        if engine.exit is not None and engine.state in (EngineState.FAILED, EngineState.EXITED):
            text += f" (exit {engine.exit})"
        wanted = f"stopped {engine.asked.who()}" if engine.asked and engine.state is EngineState.EXITED else ""
        if why := "; ".join(part for part in (wanted, engine.cause) if part):
            text += f": {why}"
        yield _LEVELS.get(engine.state, EventLevel.INFO), text, name


def link_event(before: Link, after: Link) -> tuple[EventLevel, str] | None:
    """What to tell when a link changed, None when it is not worth a line."""
    if before.state is after.state:
        return None
    if after.state is LinkState.UP:
        return EventLevel.INFO, "connected"
    if after.state is LinkState.BLOCKED:
        return EventLevel.ERROR, f"blocked: {after.reason}"
    if after.state is LinkState.LOST and before.state in (LinkState.UP, LinkState.STALE, LinkState.CONNECTING):
        return EventLevel.WARNING, f"unreachable: {after.reason}"
    return None
