"""Copies lines of a log: selected lines to the clipboard, or the log to a file or a pager."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from console.model.errors import ConsoleError
from console.private_files import private_directory
from console.services.xdg_paths import file_name
from screens.actions import BY_ID
from screens.background_work import set_off
from screens.external_programs import pager_command
from screens.logs import saving
from screens.logs.merged import Merged
from screens.logs.patterns import LineFilter
from screens.logs.view import LogView
from screens.logs.window import Window
from screens.widgets import Verbs


class Extraction:
    """Keys that take lines out."""

    def __init__(self, view: LogView) -> None:
        self._view = view
        self.run_away: Callable[[Sequence[str], dict[str, str]], Awaitable[int]] | None = None
        """How a program is run in the place of the screen; given by the screen."""

    def verbs(self) -> Verbs:
        """Save, open elsewhere, select."""
        return {"save": self.save, "pager": self.page, "select": self.select}

    def clipping(self) -> str:
        """What `y` copies: the selection, else the line the search stands on, else the lines on the screen, all in full."""
        view = self._view.window
        if view is None:
            return ""
        spots = view.chosen() if view.anchor is not None else [view.hit] if view.hit is not None else view.seen()
        return "\n".join(view.texts(spots))

    def select(self) -> None:
        """Begin to select lines, at the one the search stands on or the last one seen; again ends it."""
        view = self._view.window
        if view is None or not view.has_lines:
            return
        if view.anchor is not None:
            self.unselect()
            return
        view.pause()
        seen = view.seen()
        view.begin_selection(view.hit if view.hit in seen else seen[-1] if seen else None)
        self._view.draw()
        self._view.tell()

    def unselect(self) -> bool:
        """Select nothing any more; False when nothing was."""
        view = self._view.window
        if view is None or view.anchor is None:
            return False
        view.begin_selection(None)
        self._view.draw()
        self._view.tell()
        return True

    def _target(self, directory: Path, kind: str = ".log") -> Path:
        opened = self._view.opened
        names = opened.names if opened else ()
        name = names[0] if len(names) == 1 else f"{names[0]}-and-{len(names) - 1}-more" if names else "log"
        return directory / f"{file_name(name)}-{time.strftime('%Y%m%d-%H%M%S')}{kind}"

    def save(self) -> None:
        """Write what is shown of the log, or all of it, to a file of its own."""
        if self._view.opened is not None and self._view.moment is not None:
            directory = self._view.moment.session.state_dir / "saved"
            set_off(self._view, "save", self._save, self._target(directory))

    async def _save(self, target: Path) -> None:
        view = self._view.window
        words = ""
        try:
            if isinstance(view, Window):
                file = view.file
                sieve = view.shown.sieve if view.shown is not None else LineFilter()
                written = await asyncio.to_thread(saving.save, file.path, file.size, sieve, target, file.gap)
                words = self._polls_left_out(view)
            else:
                assert isinstance(view, Merged)
                lines = view.texts([entry.spots[0] for entry in view.merge.entries])
                words = f", the {len(lines)} lines around here; `dsv4-console logs` writes all"
                written = await asyncio.to_thread(saving.save_lines, lines, target)
        except OSError as error:
            self._view.notify(f"not saved: {error.strerror}", severity="error", markup=False)
            return
        self._view.notify(f"{written} bytes saved to {target}{words}", markup=False)

    def _polls_left_out(self, view: Window) -> str:
        polls = view.hidden_lines()
        key = self._view.keys.word(BY_ID["polls"])
        return f", without {polls} polls of this console; {key} shows them, then they are saved too" if polls else ""

    def page(self) -> None:
        """Open what is shown in the operator's pager, at the line on top."""
        if self._view.opened is None or self._view.moment is None or self.run_away is None:
            self._view.notify("no log to open", markup=False)
            return
        directory = private_directory(self._view.moment.session.state_dir)
        set_off(self._view, "save", self._page, directory)

    async def _page(self, directory: Path) -> None:
        assert self.run_away is not None
        with tempfile.TemporaryDirectory(prefix="pager-", dir=directory) as place:
            path = self._target(Path(place))
            try:
                words, more = pager_command(os.environ, path, await self._write_page(path))
                await self.run_away(words, more)
            except ConsoleError as error:
                self._view.notify(f"{error}. {error.hint}", severity="error", markup=False)
            except OSError as error:
                self._view.notify(f"not opened: {error.strerror}", severity="error", markup=False)

    async def _write_page(self, path: Path) -> int:
        view = self._view.window
        if isinstance(view, Window):
            top = next(iter(view.seen()), 0)
            made = await asyncio.to_thread(
                saving.page, view.file.path, view.file.size, view.shown, top, path, view.file.gap
            )
            if made.left_out:
                self._view.notify(f"{made.left_out} bytes far from this line are left out", markup=False)
            return made.line
        assert isinstance(view, Merged)
        top_spot = next(iter(view.seen()), None)
        entries = view.merge.entries
        lines = view.texts([entry.spots[0] for entry in entries])
        await asyncio.to_thread(saving.save_lines, lines, path)
        return next((index for index, entry in enumerate(entries, start=1) if top_spot in entry.spots), 1)
