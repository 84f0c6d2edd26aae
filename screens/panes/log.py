"""The log pane: the local copy of an engine's log through `Window`, with its keys, its title and its background counting.

It never copies bytes from a node; that goes on below whether anybody looks or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.worker import Worker

from console.services.places import file_name
from screens.actions import bindings
from screens.lines import Line, Span, plain, shown
from screens.logs import saving, times
from screens.logs.file import LogFile
from screens.logs.sieve import ERRORS, WARNINGS, Pattern, Sieve, pattern
from screens.logs.window import Window
from screens.panes.base import Shown
from screens.ports import LogSource
from screens.room import Room, Verbs

RANGES_S = {2: 60.0, 3: 300.0, 4: 900.0, 5: 1800.0, 6: 3600.0}
"""What the digits mean, in seconds of log."""
SLICE_S = 0.004
"""How long counting or searching may keep the screen waiting."""


class LogView(Room):
    """The log of the engine under the cursor, drawn as it grows; it has no keys of its own."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.moment: Shown | None = None
        self.source: LogSource | None = None
        self.window: Window | None = None
        self.engine: str | None = None
        self.run_name: str | None = None
        self.on_title: Callable[[], None] = lambda: None
        self.numbers = True
        self.wrapped = False
        self.sieve = Sieve()
        self._scan: Worker[None] | None = None
        self._words = ""

    def take(self, moment: Shown) -> None:
        """Follow the cursor to another engine."""
        self.moment = moment
        engines = moment.engines
        wanted = moment.target.engine or (engines[0].id if engines else None)
        if wanted != self.engine:
            self.engine, self.run_name = wanted, None
        source = moment.session.logs.copy(wanted, self.run_name) if wanted else None
        if source is not self.source:
            self._open(source)
        self.tick()

    def _open(self, source: LogSource | None) -> None:
        if self.window is not None:
            self.window.file.close()
        self.source = source
        self.window = None
        if source is not None:
            self.window = Window(LogFile(source.path))
            self.window.manner = replace(self.window.manner, numbers=self.numbers, wrapped=self.wrapped)
            self.window.filter(self.sieve)
        self.draw(whole=True)

    def tick(self) -> None:
        """Show what has arrived; called a few times a second while the pane is on the screen."""
        window, source = self.window, self.source
        if window is None or source is None:
            self.draw()
            return
        changed = window.grow(source.size, source.notes)
        if changed or not self._painted:
            self.draw()
        self._work()
        self._tell()

    def draw(self, *, whole: bool = False) -> None:
        """Repaint the rows that differ."""
        if whole:
            self._painted = []
            if self.is_mounted:
                self.refresh()
        if self.window is None:
            text = "no engine under the cursor" if self.engine is None else f"no log of {shown(self.engine)} here yet"
            self.paint([(((f" {text}", "dim"),), ())])
            return
        self.window.resize(self.size.width, self.size.height) if self._resized() else None
        rows = self.window.rows()
        if not rows:
            sieving = self.window.kept is not None and self.window.file.size > 0
            rows = [((" no line passes the filter" if sieving else " the log is empty so far", "dim"),)]
        self.paint([(row, ()) for row in rows])

    def _resized(self) -> bool:
        return self.window is not None and (self.window.manner.cells, self.window.height) != (
            self.size.width,
            max(1, self.size.height),
        )

    def _work(self) -> None:
        if self.window is None or not self.window.work():
            return
        if self._scan is None or self._scan.is_finished:
            self._scan = self.run_worker(self._count(), group="count", exclusive=True)

    async def _count(self) -> None:
        window = self.window
        while window is not None and window is self.window:
            until = time.perf_counter() + SLICE_S
            while (more := window.work()) and time.perf_counter() < until:
                pass
            if not more:
                break
            await asyncio.sleep(0)
        if window is not None and window is self.window:
            self.draw()
            self._tell()

    def _tell(self) -> None:
        words = plain(self.title())
        if words != self._words:
            self._words = words
            self.on_title()

    def title(self) -> Line:
        """Engine, run, place, filter, and whether it follows."""
        window = self.window
        if self.engine is None or window is None:
            return ()
        spans: list[Span] = [(shown(self.engine), "bold")]
        if self.run_name:
            spans.append((f" run {shown(self.run_name)}", "warn"))
        if window.kept is not None:
            spans.append((f" & {shown(window.kept.sieve.words())}{_sieve_words(window)}", "key"))
        if window.needle is not None:
            spans.append((f" / {shown(window.needle.text)}", "key"))
        line, total = window.place()
        if window.following:
            spans.append((f" {total} lines" if total is not None else "", "dim"))
            spans.append((" following", "ok"))
        else:
            spans.append((f" line {line if line is not None else '?'} of {total if total is not None else '?'}", "dim"))
            fresh = window.new_lines()
            spans.append((f" PAUSED +{fresh} new" if fresh else " PAUSED", "warn"))
        return tuple(spans)

    def on_resize(self) -> None:
        """Another size shows other rows."""
        self.draw(whole=True)

    def clipping(self) -> str:
        """What `y` copies: the line the search stands on, else the rows on the screen."""
        if self.window is None:
            return ""
        if self.window.hit is not None:
            raw, _ = self.window.file.text(self.window.hit)
            return shown(raw.decode("utf-8", "backslashreplace"))
        return "\n".join(plain(row).rstrip() for row in self.window.rows())

    def wrap(self) -> None:
        """Break long lines, or cut them."""
        self.wrapped = not self.wrapped
        if self.window is not None:
            self.window.wrap(self.wrapped)
            self.draw()

    def number(self) -> None:
        """Line numbers on or off."""
        self.numbers = not self.numbers
        if self.window is not None:
            self.window.manner = replace(self.window.manner, numbers=self.numbers)
            self.draw()

    def sideways(self, by: int) -> None:
        """Move the cut at the left."""
        if self.window is not None and not self.wrapped:
            self.window.manner = replace(self.window.manner, left=max(0, self.window.manner.left + by))
            self.draw()


class LogPane(LogView, can_focus=True):
    """A viewer over a file that grows."""

    place: ClassVar[str] = "log"
    BINDINGS: ClassVar = bindings("log", "verb")

    def verbs(self) -> Verbs:
        """Everything the log's keys do."""
        return {
            **self._moves(),
            "follow": self.follow,
            "next-hit": lambda: self.seek(None, forward=True),
            "previous-hit": lambda: self.seek(None, forward=False),
            "next-error": lambda: self.seek(ERRORS, forward=True),
            "previous-error": lambda: self.seek(ERRORS, forward=False),
            "next-warning": lambda: self.seek(WARNINGS, forward=True),
            "previous-warning": lambda: self.seek(WARNINGS, forward=False),
            "wrap": self.wrap,
            "numbers": self.number,
            "left": lambda: self.sideways(-16),
            "right": lambda: self.sideways(16),
            "previous-run": self.earlier,
            **self._places(),
        }

    def _places(self) -> Verbs:
        ranges = {f"range-{number}": lambda s=seconds: self.last(s) for number, seconds in RANGES_S.items()}
        return {
            **ranges,
            "range-0": self.to_end,
            "range-1": self.to_top,
            "mark-line": self.mark,
            "next-mark": lambda: self.go_to(
                self.window.next_mark() if self.window else None, "no marked line; m marks"
            ),
            "save": self.save,
        }

    def _moves(self) -> Verbs:
        page = max(1, self.size.height - 1)
        return {
            "up": lambda: self.move(-1),
            "down": lambda: self.move(1),
            "page-up": lambda: self.move(-page),
            "space-up": lambda: self.move(-page),
            "page-down": lambda: self.move(page),
            "space-down": lambda: self.move(page),
            "half-up": lambda: self.move(-(page + 1) // 2),
            "half-down": lambda: self.move((page + 1) // 2),
            "top": self.to_top,
            "end": self.to_end,
        }

    def move(self, by: int) -> None:
        """So many rows."""
        if self.window is not None:
            self.window.move(by)
            self.draw()
            self._tell()

    def to_top(self) -> None:
        """To the first line."""
        if self.window is not None:
            self.window.to_top()
            self.draw()
            self._tell()

    def to_end(self) -> None:
        """To the end, and stay there."""
        if self.window is not None:
            self.window.follow()
            self.draw()
            self._tell()

    def follow(self) -> None:
        """Follow or pause."""
        if self.window is not None and self.window.following:
            self.window.pause()
            self._tell()
        else:
            self.to_end()

    def go_to(self, start: int | None, otherwise: str) -> None:
        """Put a line on the screen, or say why not."""
        if self.window is None or start is None:
            self.notify(otherwise, markup=False)
            return
        self.window.hit = start
        self.window.go(start)
        self.draw()
        self._tell()

    def last(self, seconds: float) -> None:
        """To where the last so many seconds of the log begin."""
        start = times.ago(self.window.file, seconds) if self.window else None
        self.go_to(start, "the log bears no time stamps")

    def go_line(self, number: int) -> None:
        """To a line by its number."""
        start = self.window.count.start_of_line(number) if self.window else None
        self.go_to(start, f"no line {number}, or not counted yet")

    def go_clock(self, words: str) -> None:
        """To a time of day by the node's clock."""
        start = times.clock(self.window.file, words) if self.window else None
        self.go_to(start, f"no line at {words}; write HH:MM, HH:MM:SS or MM-DD HH:MM")

    def mark(self) -> None:
        """Mark a line, or take the mark away."""
        if self.window is not None:
            self.window.mark()
            self.draw()

    def save(self) -> None:
        """Write what is shown of the log, or all of it, to a file of its own."""
        if self.window is not None and self.moment is not None:
            self.run_worker(
                self._save(self.window, self.moment.session.state_dir / "saved"), group="save", exclusive=True
            )

    async def _save(self, window: Window, directory: Path) -> None:
        name = f"{file_name(self.engine or 'log')}-{time.strftime('%Y%m%d-%H%M%S')}.log"
        try:
            written = await asyncio.to_thread(
                saving.save, window.file.path, window.file.size, self.sieve, directory / name
            )
        except OSError as error:
            self.notify(f"not saved: {error.strerror}", severity="error", markup=False)
            return
        self.notify(f"{written} bytes saved to {directory / name}", markup=False)

    def earlier(self) -> None:
        """The run before the one shown; from the oldest back to the current one."""
        if self.moment is None or self.engine is None:
            return
        runs = self.moment.session.logs.runs(self.engine)
        current = self.run_name or (runs[0] if runs else None)
        position = runs.index(current) + 1 if current in runs else len(runs)
        self.run_name = runs[position] if position < len(runs) else None
        if self.run_name is None:
            self.notify(
                "the current run; there is no earlier one" if len(runs) < 2 else "back at the current run", markup=False
            )
        self.take(self.moment)

    def filter(self, text: str) -> None:
        """Add a filter: lines must have the text, or must not when it begins with `!`. Empty takes all filters away."""
        self.sieve = self._more(text)
        if self.window is not None:
            self.window.filter(self.sieve)
            self.draw()
            self._work()
            self._tell()

    def _more(self, text: str) -> Sieve:
        if not text:
            return Sieve()
        out = text.startswith("!") and len(text) > 1
        added = pattern(text[1:] if out else text)
        if added.taken_literally:
            self.notify(f"{added.text}: not a regular expression, searched as plain text", markup=False)
        if out:
            return replace(self.sieve, unwanted=(*self.sieve.unwanted, added))
        return replace(self.sieve, wanted=(*self.sieve.wanted, added))

    def look_for(self, text: str) -> None:
        """Search; empty ends it."""
        if self.window is None:
            return
        self.window.search(pattern(text) if text else None)
        self.draw()
        if text:
            self.seek(None, forward=True)
        self._tell()

    def seek(self, wanted: Pattern | None, *, forward: bool) -> None:
        """Go to the next or previous line that has the pattern; without one, what was searched for last."""
        window = self.window
        if window is None:
            return
        looked_for = wanted or window.needle
        if looked_for is None:
            self.notify("nothing is searched for; / begins a search", markup=False)
            return
        self.run_worker(self._seek(window, looked_for, forward), group="seek", exclusive=True)

    async def _seek(self, window: Window, wanted: Pattern, forward: bool) -> None:
        until = time.perf_counter() + SLICE_S
        for found in window.find(wanted, forward=forward):
            if window is not self.window:
                return
            if found is not None:
                window.hit = found
                window.go(found, above=window.height // 3)
                self.draw()
                self._tell()
                return
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + SLICE_S
        where = "below" if forward else "above"
        self.notify(f"no more {wanted.text} {where}", markup=False)


def _sieve_words(window: Window) -> str:
    assert window.kept is not None
    if window.kept.share < 1.0:
        return f" {window.kept.share:.0%} searched"
    kept, total = window.kept.total(), window.count.total()
    hidden = "" if total is None else f", {total - kept} hidden"
    return f" {kept} shown{hidden}"
