"""Watches the terminal of the app: whether it keeps up, how wide it draws characters, and when it closes.

How bytes reach it is the driver's.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from textual.app import App

from screens.driver import ConsoleDriver


class Terminal:
    """The terminal of one app; in tests there may be none."""

    def __init__(self, app: App[int]) -> None:
        self._app = app
        self._draw: Callable[[], None] = lambda: None

    @property
    def _driver(self) -> ConsoleDriver | None:
        driver = self._app._driver
        return driver if isinstance(driver, ConsoleDriver) else None

    def attach(self, *, draw: Callable[[], None], draw_narrow: Callable[[], None]) -> None:
        """Hear from the driver from now on; after a stop by `ctrl-z` the shell has cleared what was drawn.

        `draw` draws what has changed; `draw_narrow` is called when the terminal draws some characters in two cells, which
        would shift rows.
        """
        self._draw = draw
        self._app.app_resume_signal.subscribe(self._app, lambda _: self.redraw())
        driver = self._driver
        if driver is not None:
            driver.on_drained = self.caught_up
            driver.on_wide = draw_narrow
            if driver.wide:
                draw_narrow()

    def end_with_signals(self, end: Callable[[int], None]) -> None:
        """Have `end` called with the exit code when the terminal goes away or somebody ends the process; on the app's loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            try:
                loop.add_signal_handler(number, end, 128 + number)
            except (NotImplementedError, RuntimeError, ValueError):
                return

    @property
    def behind(self) -> bool:
        """Whether it does not keep up with what it is sent."""
        return self._driver is not None and self._driver.late

    def caught_up(self, lost: bool) -> None:
        """It reads again: draw what was not drawn meanwhile, and everything when it lost something."""
        if lost:
            self.redraw()
        else:
            self._draw()

    def redraw(self) -> None:
        """Draw everything anew, whatever it shows now; nodes are not asked."""
        self._draw()
        self._app.screen.refresh(repaint=True, layout=True)

    def switch_mouse(self) -> bool | None:
        """Mouse on or off; gives whether it is on, None where there is no terminal."""
        return self._driver.switch_mouse() if self._driver is not None else None
