"""The open logs of the log pane: one log, or several merged ones, and the files of their bytes. Draws nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from console.probes.access_log import ALWAYS
from console.probes.log_time import Clock
from console.services.logs.clocks import run_clock
from console.services.logs.own_polls import own_polls
from screens.logs.file import LogFile
from screens.logs.merge_member import MergeMember
from screens.logs.merged import Merged
from screens.logs.patterns import LineFilter, prepared
from screens.logs.time_seek import LogTimes
from screens.logs.view_base import View
from screens.logs.window import Window
from screens.pane_moment import PaneMoment
from screens.protocols import LogSource


class OpenLogs:
    """A view, the logs it is made of, and how it takes what has arrived."""

    def __init__(
        self,
        names: Sequence[str],
        sources: Sequence[LogSource],
        files: Sequence[LogFile],
        times: Sequence[LogTimes],
        view: View[Any],
        grow: Callable[[], bool],
    ) -> None:
        self.names = tuple(names)
        self.sources = tuple(sources)
        self.files = tuple(files)
        self.view = view
        self.grow = grow
        """Take what has arrived; whether something on the screen may have changed."""
        self._times = tuple(times)
        self._hidden = (LineFilter(),) * len(self.names)

    def close(self) -> None:
        """Let the files go."""
        for file in self.files:
            file.close()

    def hide_polls(self, moment: PaneMoment, hide: bool) -> None:
        """Hide in each log the lines by which this console itself asked its engine, or none of them any more."""
        hidden = tuple(_without_polls(moment, name) if hide else LineFilter() for name in self.names)
        if hidden != self._hidden:
            self._hidden = hidden
            self.view.filter(self.view.sieve, self.view.around, hidden)

    def began(self) -> float | None:
        """The first stamp of all."""
        return min((found for each in self._times if (found := each.first(0)) is not None), default=None)


def _without_polls(moment: PaneMoment, engine: str) -> LineFilter:
    seen = moment.snapshot.engines.get(engine)
    found = own_polls(moment.session.deployment, seen.node) if seen is not None else None
    return LineFilter((), (prepared("polls", found, ALWAYS),)) if found is not None else LineFilter()


def _times(moment: PaneMoment, engine: str, source: LogSource, file: LogFile) -> LogTimes:
    """The times of a log, by the clock of its run and node."""

    def clock(head: bytes) -> Clock:
        written_at = source.path.stat().st_mtime if source.path.exists() else time.time()
        return run_clock(moment.snapshot, engine, source.path.stem, head, written_at)

    return LogTimes(file, clock)


def open_one(moment: PaneMoment, engine: str, source: LogSource) -> OpenLogs:
    """The log of one engine."""
    file = LogFile(source.path)
    times = _times(moment, engine, source, file)
    window = Window(file, times)

    def grow() -> bool:
        file.revise(source.revision)
        file.let_go(source.gap)
        return window.grow(source.size, source.notes)

    grow()
    return OpenLogs((engine,), (source,), (file,), (times,), window, grow)


def open_several(moment: PaneMoment, found: Sequence[tuple[str, LogSource]]) -> OpenLogs:
    """The logs of several engines by time, each by the clock of its node."""
    files = [LogFile(source.path) for _, source in found]
    for file, (_, source) in zip(files, found, strict=True):
        file.revise(source.revision)
        file.let_go(source.gap)
        file.grow(source.size)
    times = [_times(moment, *each, file) for each, file in zip(found, files, strict=True)]
    members = [MergeMember(engine, file, each) for (engine, _), file, each in zip(found, files, times, strict=True)]
    for member in members:
        seen = moment.snapshot.engines.get(member.engine)
        member.ended = seen is not None and seen.exit is not None
    merged = Merged(members)
    sources = [source for _, source in found]

    def grow() -> bool:
        for file, source in zip(files, sources, strict=True):
            file.revise(source.revision)
            file.let_go(source.gap)
        return merged.grow([source.size for source in sources], [source.notes for source in sources])

    return OpenLogs([engine for engine, _ in found], sources, files, times, merged, grow)
