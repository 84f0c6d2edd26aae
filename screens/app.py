"""The Textual app: it owns the session's life on the screen, the look, the keys' guard, and the way out.

`run_app` is the only way in for the command line. The app never decides anything about engines.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import App
from textual.binding import Binding

from console.model.errors import ConsoleError
from screens.actions import BY_ID
from screens.background_work import set_off
from screens.driver import ConsoleDriver
from screens.key_map import Keys
from screens.key_order import KeyOrder, TypedKey
from screens.main import MainScreen
from screens.message_timeout import MessageTimeout
from screens.messages import ROLES
from screens.paste_guard import BURST_S, TOO_FAST, KeyTimes
from screens.startup import Startup
from screens.styled_lines import Line, Pen, shown
from screens.terminal import Terminal
from screens.themes import LOOKS, Look
from screens.widgets import LineWidget
from screens.wrong_keys import answer_wrong_key

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from screens.dialogs.base import Dialog
    from screens.fleet import Fleet
    from screens.protocols import Session


WAYS_OUT = ("ctrl+q", "ctrl+c")
"""Keys that never wait for a console that is still opening."""
TEXT_FOLLOWS = frozenset(key for name in ("command", "find", "filter", "help", "palette") for key in BY_ID[name].keys)
"""Keys that open a place to type in, as the table has them: an operator's own keys are read while the console opens."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the console looks and how much it may send; nothing here changes what it does."""

    theme: str = "dark"
    colour: bool = True
    """Whether any look but the one without colours may be taken."""
    ascii: bool = False
    mouse: bool = False
    low_bandwidth: bool = False
    hints: bool = False
    """Whether who has not been here before is told where help is."""
    keys: Keys = field(default_factory=Keys)
    """Other keys than the table's, by action id."""
    more_keys: Callable[[], Keys] | None = None
    """Reads the operator's own keys once the first frame is painted. Raises ConsoleError when they are wrong."""

    @property
    def frames_per_s(self) -> float:
        """How often logs are redrawn."""
        return 0.8 if self.low_bandwidth else 4.0


def options_from(environment: dict[str, str], **given: object) -> Options:
    """Options with the environment's wishes: `NO_COLOR` takes all colour away whatever theme was asked for."""
    chosen = Options(**given)  # type: ignore[arg-type]
    return replace(chosen, theme="mono", colour=False) if environment.get("NO_COLOR") else chosen


class ConsoleApp(App[int]):
    """One screen, and the clusters that are open on it."""

    CSS_PATH = "console.tcss"
    TITLE = "dsv4-console"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [Binding("ctrl+c", "nothing", show=False), Binding("ctrl+q", "leave", show=False)]

    def __init__(
        self,
        opening: Session | Startup,
        options: Options = Options(),
        *,
        clock: Callable[[], float] = time.monotonic,
        driver: type[ConsoleDriver] | None = None,
    ) -> None:
        for name in (
            "NO_COLOR",
            "COLUMNS",
            "LINES",
        ):  # a shell may export a size it once had; the terminal knows its own
            os.environ.pop(name, None)
        super().__init__(driver_class=driver, ansi_color=True if options.theme == "mono" else None)
        self.opening = opening if isinstance(opening, Startup) else Startup.of(opening)
        self.then: Callable[[ConsoleApp], Awaitable[object]] | None = None
        """Is awaited once the clusters are shown."""
        self.fleet: Fleet | None = None
        """The open clusters; None until the first frame is painted and the files are read."""
        self.failure: ConsoleError | None = None
        """Why nothing could be opened."""
        self.options = options
        self.look: Look = LOOKS[options.theme]
        self.pen = Pen(options.ascii)
        self.keys = KeyTimes(clock)
        self.order = KeyOrder(self, partial(_deliver, self))
        self.first_key_handler: Callable[[events.Key], bool] | None = None
        """Is given every key first; True when the key was for it and is to do nothing else."""
        self.passing = MessageTimeout(clock)
        self.animation_level = "none"
        self.main = MainScreen()
        self.terminal = Terminal(self)
        self._unsubscribe: Callable[[], None] = lambda: None
        for look in LOOKS.values():
            self.register_theme(look.theme)
        _begin_with(self, self.look)

    def get_default_screen(self) -> MainScreen:
        """The one screen everything is on."""
        return self.main

    async def on_mount(self) -> None:
        """Once the first frame is painted, start to open."""
        self.terminal.end_with_signals(lambda code: self.exit(code, return_code=code))
        self.terminal.attach()
        self.main.call_after_refresh(self.run_worker, self._begin, group="open")

    async def _begin(self) -> None:
        try:
            fleet = await self.opening.fleet()
            if self.options.more_keys is not None:
                self.options = replace(self.options, keys=self.options.more_keys())
        except ConsoleError as error:
            self.failure = error
            self.exit(error.exit_code, return_code=error.exit_code)
            return
        self.set_keymap(self.options.keys.keymap())
        from screens.assembly import mount_panes, start_parts

        await mount_panes(self.main)
        await self.show_fleet(fleet)
        await start_parts(self.main)
        if self.then is not None:
            await self.then(self)
        self.order.release()
        for problem in self.options.keys.problems():
            self.notify(f"keys: {problem}", severity="warning", markup=False)
        if not self.is_headless:
            gc.freeze()  # what is there now stays; looking through it for garbage would hold a key press for 60 ms and more

    async def show_fleet(self, fleet: Fleet) -> None:
        """Show these clusters from now on and start to connect; what was shown before is let go."""
        before, self.fleet = self.fleet, fleet
        self._unsubscribe()
        self._unsubscribe = fleet.subscribe(self.main.take)
        self.main.draw()
        for session in before.sessions if before else ():
            await session.close()
        for session in fleet.sessions:
            await session.open()

    @property
    def session(self) -> Session:
        """The cluster that is meant; only to be asked once a fleet is shown."""
        assert self.fleet is not None
        return self.fleet.current

    async def on_unmount(self) -> None:
        """Let the nodes go; engines stay."""
        self._unsubscribe()
        if self.fleet is None:
            return
        from screens.remembered_settings import remember

        remember(self.main)
        for session in self.fleet.sessions:
            await session.close()

    async def on_event(self, event: events.Event) -> None:
        """Time everything typed, and let it wait until what was typed before it has had its effect."""
        if not isinstance(event, (events.Key, events.Paste)) or event.is_forwarded:
            await super().on_event(event)
            return
        if isinstance(event, events.Key) and self.first_key_handler is not None and self.first_key_handler(event):
            return
        typed = TypedKey(event, self.keys.note() if isinstance(event, events.Key) else self.keys.clock())
        key = event.key if isinstance(event, events.Key) else ""
        if self.order.held and key == "escape":
            self.order.drop()
        elif self.order.held and key in WAYS_OUT:
            await _deliver(self, typed)
        else:
            await self.order.take(typed)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Say something in passing; it goes by itself, or with the first key after it could be read.

        A dialog says it in a line of its own, and there it stays until that key.
        """
        self.passing.shown()
        text = f"{title}: {message}" if title else message
        if (dialog := dialog_over(self)) is not None:
            dialog.note(text, ROLES[severity])
        else:
            self.main.messages.say(text, severity, self.NOTIFICATION_TIMEOUT if timeout is None else timeout)

    def clear_notifications(self) -> None:
        """Take them all away."""
        self.passing.gone()
        if (dialog := dialog_over(self)) is not None:
            dialog.note("", "")
        self.main.messages.clear()

    def action_nothing(self) -> None:
        """What ctrl-c does where nobody else wants it."""
        self.notify("q quits; engines keep running", markup=False, timeout=3)

    def action_leave(self) -> None:
        """Leave from anywhere."""
        self.leave()

    def keys_are_calm(self, work: Callable[[], object]) -> None:
        """Do it once it is sure that no burst of keys has started: the first key of a paste is not yet known for one."""

        def settled() -> None:
            if self.keys.burst:
                self.notify(TOO_FAST, severity="warning", markup=False)
            else:
                work()

        self.set_timer(BURST_S, settled)

    def leave(self) -> None:
        """Quit; asks first while a plan runs, or while this console measures."""
        if self.fleet is None or not (self.fleet.acting or self.fleet.measuring):
            self.exit(0)
        else:
            set_off(self, "leave", self._leave)

    async def _leave(self) -> None:
        running = self.fleet.acting if self.fleet else None
        words = "Steps that have started continue on the nodes; no further step starts. Engines keep running."
        title = f"A {running.verb} is running." if running else ""
        if running is None and self.fleet is not None and self.fleet.measuring:
            title = "The built-in load generator is measuring."
            words = "It stops with this console, and its figures are lost. Engines, and runs on nodes, keep running."
        if not title or await self.ask_yes(((f"{title} Quit anyway?", "danger"),), words):
            for session in self.fleet.sessions if self.fleet else ():
                session.operator.cancel()
            self.exit(0)

    async def ask_yes(self, title: Line, text: str) -> bool:
        """Ask something small: `y` says yes, everything else no."""
        from screens.dialogs.confirm import ConfirmDialog

        return (
            await self.push_screen_wait(ConfirmDialog(self.look, self.pen, self.keys, title=title, text=text))
            is not None
        )

    def tell(self, error: ConsoleError) -> None:
        """Show an error with its hint, to be read and copied."""
        body: list[Line] = [((shown(line), "fail"),) for line in str(error).splitlines()]
        body += [((shown(line), "key"),) for line in error.hint.splitlines()]
        self.read((("That was not done", "danger"),), body)

    def read(self, title: Line, body: Sequence[Line]) -> None:
        """Show a text."""
        from screens.dialogs.text import TextDialog

        self.push_screen(TextDialog(self.look, self.pen, self.keys, title=title, body=body, copy=self.copy_out))

    def copy_out(self, text: str) -> None:
        """Copy to the operator's clipboard and a file, and say what was done."""
        from screens import clipboard

        driver = self._driver
        words = clipboard.copy(
            text, Path(self.session.state_dir), driver.write if driver else lambda _text: None, dict(os.environ)
        )
        self.notify(words, markup=False)

    def set_theme(self, name: str) -> bool:
        """Take another look by name; False when there is none."""
        if name not in LOOKS:
            return False
        if not self.options.colour and name != "mono":
            self.notify("NO_COLOR is set: the screen stays without colours", markup=False, timeout=3)
            return True
        self.look = LOOKS[name]
        self.ansi_color = True if name == "mono" else None
        self.theme = self.look.theme.name
        self.main.dress()
        return True


def dialog_over(app: App[int]) -> Dialog[object] | None:
    """The dialog that lies over the main screen; its code is loaded with the first one."""
    screen = app.screen_stack[-1] if app.screen_stack else None
    return cast("Dialog[object]", screen) if hasattr(screen, "accepts_key") else None


async def _deliver(app: ConsoleApp, typed: TypedKey) -> None:
    """Give it to what has the focus, unless that is a dialog which was not there to be read when the key was pressed."""
    event, screen = typed.event, app.screen
    if isinstance(event, events.Key):
        if app.fleet is None and event.key in TEXT_FOLLOWS:
            app.order.hold(typed)  # a prompt that cannot open yet, and the text for it
            app.notify("a moment: still opening; what is typed now is kept", markup=False, timeout=2)
            return
        if app.passing.over():
            app.clear_notifications()
        if (dialog := dialog_over(app)) is not None:
            if not dialog.accepts_key(event, typed.at):
                dialog.unheard(event)
                return
            dialog.heard(event)
        if app.main.greeted and event.key in screen.active_bindings:
            from screens.welcome import welcome_is_over

            welcome_is_over(app.main)
        if screen is app.main and isinstance(app.focused, LineWidget):
            answer_wrong_key(app, event)
    elif screen is app.main and isinstance(app.focused, LineWidget):
        if app.fleet is not None:
            app.main.command_line.pasted(event.text)
        return
    await App.on_event(app, event)


def _begin_with(app: App[int], look: Look) -> None:
    """Take the first theme before anything is styled, which spares the first frame a second reading of all styles."""
    app.set_reactive(App.theme, look.theme.name)
    app.stylesheet.set_variables(app.get_css_variables())
    dark = look.theme.dark
    app.update_classes({f"-theme-{look.theme.name}": True, "-dark-mode": dark, "-light-mode": not dark}, update=False)


def run_app(
    opening: Session | Startup,
    options: Options | None = None,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    then: Callable[[ConsoleApp], Awaitable[object]] | None = None,
) -> int:
    """Run the console until the operator leaves, on the caller's loop if it has one; gives the exit code.

    `then` is awaited once the clusters are shown.

    Raises the ConsoleError for which nothing could be opened.
    """
    chosen = options_from(dict(os.environ)) if options is None else options
    os.environ.setdefault("ESCDELAY", "100")
    app = ConsoleApp(opening, chosen, driver=ConsoleDriver)
    app.then = then
    result = app.run(mouse=chosen.mouse, loop=loop)
    if app.failure is not None:
        raise app.failure
    return app.return_code or result or 0
