"""The log of the engine under the cursor, or the logs of several, drawn as they grow: what is open, and when it is drawn.

Keys are not its matter; it never copies bytes from a node: that goes on below whether anybody looks or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from textual.worker import Worker

from console.model.snapshot import EngineState
from screens.actions import BY_ID
from screens.background_work import set_off
from screens.key_map import Keys
from screens.logs.emptiness import why_no_line, why_no_log
from screens.logs.line_drawing import Stamps
from screens.logs.merged import Merged
from screens.logs.open_logs import OpenLogs, open_one, open_several
from screens.logs.patterns import LineFilter
from screens.logs.title import head_of_one, head_of_several, title
from screens.logs.view_base import View
from screens.pane_moment import PaneMoment
from screens.styled_lines import Line, plain
from screens.widgets import LineWidget

SLICE_S = 0.004
"""How long counting or searching may keep the screen waiting."""
REST_S = 0.001
"""How long the event loop has for others between two slices."""


class LogView(LineWidget):
    """What is open and how it looks; it has no keys of its own."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.moment: PaneMoment | None = None
        self.opened: OpenLogs | None = None
        self.engine: str | None = None
        self.run_name: str | None = None
        self.several: tuple[str, ...] = ()
        """Engines whose logs are shown merged; empty for the engine under the cursor alone."""
        self.on_title: Callable[[], None] = lambda: None
        self.keys = Keys()
        self.numbers: bool | None = None
        """Line numbers; None where there is room."""
        self.wrapped = False
        self.folded = True
        self.stamps: Stamps = "short"
        self.sieve = LineFilter()
        self.around = 0
        """Lines shown around each that the filter keeps."""
        self.polls = False
        """Whether the console's own polling is shown too."""
        self._scan: Worker[None] | None = None
        self._words = ""

    @property
    def window(self) -> View[Any] | None:
        """The view of what is open; None without a log."""
        return self.opened.view if self.opened else None

    @property
    def earlier_run(self) -> bool:
        """Whether it is an engine's run before the current one; runs of evaluations have names of their own."""
        return self.run_name is not None and self.moment is not None and self.engine in self.moment.snapshot.engines

    def take(self, moment: PaneMoment) -> None:
        """Follow the cursor to another engine or cluster; one outside of those that are merged is shown alone."""
        if self.moment is not None and self.moment.session is not moment.session:
            self.engine, self.run_name, self.several = None, None, ()
        stays = self.moment is not None and moment.target == self.moment.target
        self.moment = moment
        wanted = _wanted(moment, self.engine if stays else None)
        if wanted is not None and wanted not in self.several:
            self.several = ()
        if wanted != self.engine:
            self.engine, self.run_name = wanted, None
            if self.opened is not None and self.is_on_screen and not self.several:
                self.call_after_refresh(self._turn, moment)
                return
        self._turn(moment)

    def _turn(self, moment: PaneMoment) -> None:
        """Open what the cursor is on; while it moves on, once it has been seen to move, and only where it stays."""
        if moment.target != (self.moment or moment).target:
            return
        before = self.opened
        self._choose(moment)
        self._hide_polls()
        if self.opened is not before or before is None:
            self.tick()

    def _choose(self, moment: PaneMoment) -> None:
        logs = moment.session.logs
        if self.several:
            found = [(name, source) for name in self.several if (source := logs.copy(name)) is not None]
            if self.opened is None or [source for _, source in found] != list(self.opened.sources):
                self._open(open_several(moment, found) if found else None)
            return
        source = logs.copy(self.engine, self.run_name) if self.engine else None
        if source is None or self.engine is None:
            self._open(None)
        elif self.opened is None or self.opened.sources != (source,) or isinstance(self.opened.view, Merged):
            self._open(open_one(moment, self.engine, source))

    def _open(self, opened: OpenLogs | None) -> None:
        if opened is None and self.opened is None:
            return
        if self.opened is not None:
            self.opened.close()
        self.opened = opened
        if opened is not None:
            view = opened.view
            numbers = False if isinstance(view, Merged) else self.numbers
            view.manner = replace(view.manner, numbers=numbers, wrapped=self.wrapped)
            view.filter(self.sieve, self.around)
            self._hide_polls()
            if isinstance(view, Merged) and not self.folded:
                view.fold(False)
            self.time_stamps()
        self._painted = []
        if self.is_mounted:
            self.refresh()

    def show_polls(self, on: bool) -> None:
        """Show the lines of the console's own polling too, or hide them."""
        self.polls = on
        self._hide_polls()
        self.draw()
        self._work()
        self.tell()

    def _hide_polls(self) -> None:
        if self.opened is not None and self.moment is not None:
            self.opened.hide_polls(self.moment, not self.polls)

    def merge(self, engines: Sequence[str]) -> None:
        """Show the logs of these engines by time; none of them goes back to the engine under the cursor."""
        self.several, self.run_name = tuple(engines), None
        if self.moment is not None:
            self._choose(self.moment)
            self.tick()

    def tick(self) -> None:
        """Show what has arrived; called a few times a second while the pane is on the screen."""
        opened = self.opened
        if opened is None:
            self.draw()
            return
        changed = opened.grow()
        if self.stamps == "age":
            self.time_stamps()
            changed = True
        if changed or not self._painted:
            self.draw()
        self._work()
        self.tell()

    def draw(self, *, whole: bool = False) -> None:
        """Repaint the rows that differ."""
        if whole:
            self._painted = []
            if self.is_mounted:
                self.refresh()
        view = self.window
        if view is None:
            self.paint([(((f" {why_no_log(self.moment, self.engine, self.keys)}", "dim"),), ())])
            return
        if (view.manner.cells, view.height) != (self.size.width, max(1, self.size.height)):
            view.resize(self.size.width, self.size.height)
        rows = view.rows()
        if not rows:
            rows = [((f" {why_no_line(view, self.keys)}", "dim"),)]
        self.paint([(row, ()) for row in rows])

    def _work(self) -> None:
        if self.window is None or not self.window.work():
            return
        if self._scan is None or self._scan.is_finished:
            self._scan = set_off(self, "count", self._count)

    async def _count(self) -> None:
        view = self.window
        told = time.perf_counter()
        while view is not None and view is self.window:
            until = time.perf_counter() + SLICE_S
            while (more := view.work()) and time.perf_counter() < until:
                pass
            if not more:
                break
            await asyncio.sleep(REST_S)
            if time.perf_counter() - told > 0.5:
                told = time.perf_counter()
                self.tell()
        if view is not None and view is self.window:
            self.draw()
            self.tell()

    def tell(self) -> None:
        """Say so when the title has changed."""
        words = plain(self.title())
        if words != self._words:
            self._words = words
            self.on_title()

    def title(self) -> Line:
        """Engine or engines, run, place, filter, and whether it follows."""
        opened = self.opened
        if self.engine is None or opened is None:
            return (("Logs", "bold"),)
        if isinstance(opened.view, Merged):
            head = head_of_several(self.several, opened.names, opened.view, folded=self.folded)
        else:
            head = head_of_one(opened.names[0], self.run_name)
        gone = sum(source.gap.end - source.gap.begin for source in opened.sources if source.gap is not None)
        key = self.keys.word(BY_ID["polls"])
        return title(opened.view, head, past=self.earlier_run, gone=gone, polls_key=key)

    def on_show(self) -> None:
        """Nobody drew it while it was hidden."""
        self.tick()

    def on_resize(self) -> None:
        """Another size shows other rows."""
        self.draw(whole=True)

    def sift(self, sieve: LineFilter, around: int) -> None:
        """Show only what a sieve keeps, and so many lines around each."""
        self.sieve, self.around = sieve, around
        if self.window is not None:
            self.window.filter(sieve, around)
            self.draw()
            self._work()
            self.tell()

    def time_stamps(self, stamps: Stamps | None = None) -> None:
        """Show times another way, or count them from what is now."""
        self.stamps = stamps or self.stamps
        if self.opened is not None:
            origin = {"age": time.time, "since": self.opened.began}.get(self.stamps, lambda: None)()
            view = self.opened.view
            view.manner = replace(view.manner, stamps=self.stamps, origin=origin)


def _wanted(moment: PaneMoment, open_now: str | None) -> str | None:
    """Whose log to show: the engine under the cursor; of a node or group the one that broke, else its first.

    What is open for the same row stays, so that no log changes under its reader.
    """
    names = [each.id for each in moment.engines]
    if moment.target.engine or open_now in names:
        return moment.target.engine or open_now
    causes = [each.engine for each in moment.snapshot.diagnoses if each.first]
    failed = [each.id for each in moment.engines if each.state is EngineState.FAILED]
    return next((each for each in (*causes, *failed) if each in names), names[0] if names else None)
