"""What the terminal turns out to be while the app runs on it: whether it keeps up, how wide it draws, when it goes away.

How bytes reach it is the driver's.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from screens.driver import ConsoleDriver
from screens.styled_lines import Pen

if TYPE_CHECKING:
    from screens.app import ConsoleApp


class Terminal:
    """The terminal of one app; in tests there may be none."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app

    @property
    def _driver(self) -> ConsoleDriver | None:
        driver = self._app._driver
        return driver if isinstance(driver, ConsoleDriver) else None

    def attach(self) -> None:
        """Hear from the driver from now on; after a stop by `ctrl-z` the shell has cleared what was drawn."""
        self._app.app_resume_signal.subscribe(self._app, lambda _: self.redraw())
        driver = self._driver
        if driver is not None:
            driver.on_drained = self.caught_up
            driver.on_wide = self.draw_narrow
            if driver.wide:
                self.draw_narrow()

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
            self._app.main.draw()

    def redraw(self) -> None:
        """Draw everything anew, whatever it shows now; nodes are not asked."""
        self._app.main.draw()
        self._app.screen.refresh(repaint=True, layout=True)

    def draw_narrow(self) -> None:
        """It draws some characters in two cells, which would shift rows: write ASCII from now on."""
        self._app.pen = Pen(ascii=True, wide=True)
        self._app.main.dress()
        self._app.notify("this terminal draws some signs in two cells, so ASCII is used", markup=False, timeout=6)

    def switch_mouse(self) -> None:
        """Mouse on or off."""
        if self._driver is not None:
            now = "on: shift selects text" if self._driver.switch_mouse() else "off"
            self._app.notify(f"mouse {now}", markup=False, timeout=3)
