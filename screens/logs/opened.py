"""What the log pane has open: one log, or several merged, with where their bytes come from. It draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from screens.logs import times
from screens.logs.clocks import Clock
from screens.logs.file import LogFile
from screens.logs.frame import View
from screens.logs.member import Member
from screens.logs.merged import Merged
from screens.logs.window import Window
from screens.panes.base import Shown
from screens.protocols import LogSource


class Opened:
    """A view, the logs it is made of, and how it takes what has arrived."""

    def __init__(
        self,
        names: Sequence[str],
        sources: Sequence[LogSource],
        files: Sequence[LogFile],
        view: View[Any],
        grow: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self.names = tuple(names)
        self.sources = tuple(sources)
        self.files = tuple(files)
        self.view = view
        self.grow = grow
        """Take what has arrived; whether something on the screen may have changed."""
        self.now = now
        """This moment by the clock of the logs."""

    def close(self) -> None:
        """Let the files go."""
        for file in self.files:
            file.close()

    def began(self) -> float | None:
        """The first stamp of all."""
        firsts = [found for file in self.files if (found := times.first_stamp(file, 0)) is not None]
        return times.seconds(min(firsts)) if firsts else None


def open_one(moment: Shown, engine: str, source: LogSource, *, current: bool) -> Opened:
    """The log of one engine."""
    file = LogFile(source.path)
    window = Window(file)
    window.grow(source.size, source.notes)
    clock = Clock(moment.snapshot, engine, file, current=current)
    return Opened((engine,), (source,), (file,), window, lambda: window.grow(source.size, source.notes), clock.now)


def open_several(moment: Shown, found: Sequence[tuple[str, LogSource]]) -> Opened:
    """The logs of several engines by time, each corrected by the clock of its node."""
    files = [LogFile(source.path) for _, source in found]
    for file, (_, source) in zip(files, found, strict=True):
        file.grow(source.size)
    clocks = [Clock(moment.snapshot, engine, file) for file, (engine, _) in zip(files, found, strict=True)]
    zone = next((clock.zone_s for clock in clocks if clock.zone_s is not None), None)
    members = [
        Member(engine, file, ahead_s=clock.ahead_s(zone))
        for (engine, _), file, clock in zip(found, files, clocks, strict=True)
    ]
    for member in members:
        seen = moment.snapshot.engines.get(member.engine)
        member.ended = seen is not None and seen.exit is not None
    merged = Merged(members)
    sources = [source for _, source in found]
    return Opened(
        [engine for engine, _ in found],
        sources,
        files,
        merged,
        lambda: merged.grow([source.size for source in sources], [source.notes for source in sources]),
        lambda: clocks[0].now() - clocks[0].ahead_s(zone),
    )
