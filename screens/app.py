"""The Textual app: it owns the session's life on the screen, the look, the keys' guard, and the way out.

`run_app` is the only way in for the command line. The app never decides anything about engines.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding

from console.model.errors import ConsoleError
from console.model.snapshot import ClusterSnapshot
from screens import clipboard
from screens.dialogs.asking import Asking
from screens.dialogs.base import Dialog
from screens.dialogs.reading import Reading
from screens.driver import ConsoleDriver
from screens.guard import KeyTimes
from screens.keys import Keys
from screens.lines import Line, Pen, shown
from screens.looks import LOOKS, Look
from screens.main import MainScreen
from screens.ports import Session
from screens.remembering import remember


@dataclass(frozen=True, slots=True)
class Options:
    """How the console looks and how much it may send; nothing here changes what it does."""

    theme: str = "dark"
    ascii: bool = False
    mouse: bool = False
    low_bandwidth: bool = False
    keys: Keys = field(default_factory=Keys)
    """Other keys than the table's, by action id."""

    @property
    def frames_per_s(self) -> float:
        """How often logs are redrawn."""
        return 0.8 if self.low_bandwidth else 4.0


def options_from(environment: dict[str, str], **given: object) -> Options:
    """Options with the environment's wishes: `NO_COLOR` takes all colour away whatever theme was asked for."""
    chosen = Options(**given)  # type: ignore[arg-type]
    return replace(chosen, theme="mono") if environment.get("NO_COLOR") else chosen


class ConsoleApp(App[int]):
    """One cluster on one screen."""

    CSS_PATH = "console.tcss"
    TITLE = "dsv4-console"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [Binding("ctrl+c", "nothing", show=False), Binding("ctrl+q", "leave", show=False)]

    def __init__(
        self,
        session: Session,
        options: Options = Options(),
        *,
        clock: Callable[[], float] = time.monotonic,
        driver: type[ConsoleDriver] | None = None,
    ) -> None:
        os.environ.pop("NO_COLOR", None)
        super().__init__(driver_class=driver, ansi_color=True if options.theme == "mono" else None)
        self.session = session
        self.options = options
        self.look: Look = LOOKS[options.theme]
        self.pen = Pen(options.ascii)
        self.keys = KeyTimes(clock)
        self.animation_level = "none"
        self.main = MainScreen()
        self._unsubscribe: Callable[[], None] = lambda: None
        for look in LOOKS.values():
            self.register_theme(look.theme)
        self.theme = self.look.theme.name
        self.set_keymap(options.keys.keymap())

    async def on_mount(self) -> None:
        """Show the first frame, then begin to connect."""
        self._catch_signals()
        await self.push_screen(self.main)
        self.main.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        self._unsubscribe = self.session.subscribe(self._news)
        for problem in self.options.keys.problems():
            self.notify(f"keys: {problem}", severity="warning", markup=False)
        await self.session.open()

    def _news(self, snapshot: ClusterSnapshot) -> None:
        self.main.take(snapshot)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self._end, 128 + number)
            except (NotImplementedError, RuntimeError, ValueError):
                return

    def _end(self, code: int) -> None:
        self.exit(code, return_code=code)

    async def on_unmount(self) -> None:
        """Let the nodes go; engines stay."""
        self._unsubscribe()
        remember(self.main)
        await self.session.close()

    async def on_event(self, event: events.Event) -> None:
        """Time every key, and keep a dialog that has just opened from hearing what was meant for something else."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            self.keys.note()
            if isinstance(self.screen, Dialog) and not self.screen.hears():
                return
        await super().on_event(event)

    def action_nothing(self) -> None:
        """What ctrl-c does where nobody else wants it."""
        self.notify("q leaves the console; engines keep running", markup=False, timeout=3)

    def action_leave(self) -> None:
        """Leave from anywhere."""
        self.leave()

    def leave(self) -> None:
        """Leave; asks only while a plan runs, or something is measured from here."""
        if self.session.operator.running is None and not self.session.evaluator.local:
            self.exit(0)
        else:
            self.run_worker(self._leave(), group="leave", exclusive=True)

    async def _leave(self) -> None:
        running = self.session.operator.running
        words = "Steps that have begun go on on the nodes; no further step will begin. Engines keep running either way."
        title = f"A {running.verb} is running." if running else ""
        if running is None and self.session.evaluator.local:
            title = "The built-in generator is measuring."
            words = "It ends with this console and its figures are lost. Engines, and runs on nodes, go on."
        if not title or await self.ask_yes(((f"{title} Leave all the same?", "danger"),), words):
            self.session.operator.cancel()
            self.exit(0)

    async def ask_yes(self, title: Line, text: str) -> bool:
        """Ask something small: `y` says yes, everything else no."""
        return await self.push_screen_wait(Asking(self.look, self.pen, self.keys, title=title, text=text)) is not None

    def tell(self, error: ConsoleError) -> None:
        """Show an error with its hint, to be read and copied."""
        body: list[Line] = [((shown(line), "fail"),) for line in str(error).splitlines()]
        body += [((shown(line), "key"),) for line in error.hint.splitlines()]
        self.read((("That was not done", "danger"),), body)

    def read(self, title: Line, body: Sequence[Line]) -> None:
        """Show a text."""
        self.push_screen(Reading(self.look, self.pen, self.keys.clock, title=title, body=body, copy=self.copy_out))

    def copy_out(self, text: str) -> None:
        """Copy to the operator's clipboard and a file, and say what was done."""
        driver = self._driver
        words = clipboard.copy(
            text, Path(self.session.state_dir), driver.write if driver else lambda _text: None, dict(os.environ)
        )
        self.notify(words, markup=False)

    def switch_mouse(self) -> None:
        """Mouse on or off."""
        driver = self._driver
        if isinstance(driver, ConsoleDriver):
            self.notify(
                f"mouse {'on: shift selects text' if driver.switch_mouse() else 'off'}", markup=False, timeout=3
            )

    def wear(self, name: str) -> bool:
        """Take another look by name; False when there is none."""
        if name not in LOOKS:
            return False
        self.look = LOOKS[name]
        self.ansi_color = True if name == "mono" else None
        self.theme = self.look.theme.name
        self.main.dress()
        return True


def run_app(session: Session, options: Options | None = None, *, loop: asyncio.AbstractEventLoop | None = None) -> int:
    """Run the console on a session until the operator leaves, on the caller's loop if it has one; gives the exit code."""
    chosen = options_from(dict(os.environ)) if options is None else options
    os.environ.setdefault("ESCDELAY", "100")
    app = ConsoleApp(session, chosen, driver=ConsoleDriver)
    result = app.run(mouse=chosen.mouse, loop=loop)
    return app.return_code or result or 0
