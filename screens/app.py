"""The Textual app: it opens and closes sessions, and holds the theme, the paste guard and the exit.

`run_app` is the only way in for the command line. The app never decides anything about engines.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding

from console.model.errors import ConsoleError
from screens.actions import BY_ID
from screens.driver import ConsoleDriver
from screens.fleet import Fleet
from screens.interaction import Interaction, dialog_over
from screens.key_order import KeyOrder, TypedKey
from screens.main import MainScreen
from screens.message_timeout import MessageTimeout
from screens.messages import ROLES
from screens.options import Options, options_from
from screens.paste_guard import KeyTimes
from screens.startup import Startup
from screens.styled_lines import Pen
from screens.terminal import Terminal
from screens.themes import LOOKS, Look
from screens.widgets import LineWidget
from screens.wrong_keys import answer_wrong_key

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from screens.assembly import Assembly
    from screens.protocols import Session


WAYS_OUT = ("ctrl+q", "ctrl+c")
"""Keys that never wait for a console that is still opening."""
TEXT_FOLLOWS = frozenset(key for name in ("command", "find", "filter", "help", "palette") for key in BY_ID[name].keys)
"""Keys that open a place to type in, as the table has them: an operator's own keys are read while the console opens."""


class ConsoleApp(App[int]):
    """One screen, and the clusters that are open on it."""

    CSS_PATH = "console.tcss"
    TITLE = "dsv4-console"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [Binding("ctrl+c", "nothing", show=False), Binding("ctrl+q", "leave", show=False)]

    def __init__(
        self,
        opening: Session | Startup,
        options: Options | None = None,
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
        options = options or Options()
        super().__init__(driver_class=driver, ansi_color=True if options.theme == "mono" else None)
        self.opening = opening if isinstance(opening, Startup) else Startup.of(opening)
        self.then: Callable[[ConsoleApp], Awaitable[object]] | None = None
        """Is awaited once the clusters are shown."""
        self.failure: ConsoleError | None = None
        """Why nothing could be opened."""
        self.options = options
        self.fleet = Fleet()
        self.keys = KeyTimes(clock)
        self.interaction = Interaction(
            self,
            look=LOOKS[options.theme],
            pen=Pen(options.ascii),
            keys=options.keys,
            key_times=self.keys,
            state_dir=lambda: Path(self.fleet.session.state_dir),
        )
        self.order = KeyOrder(self, partial(_deliver, self))
        self.first_key_handler: Callable[[events.Key], bool] | None = None
        """Is given every key first; True when the key was for it and is to do nothing else."""
        self.passing = MessageTimeout(clock)
        self.animation_level = "none"
        self.terminal = Terminal(self)
        self.main = MainScreen(self.interaction, self.fleet, self.terminal, self.opening.words, self.leave)
        self.fleet.on_snapshot, self.fleet.on_change = self.main.take, self.main.draw
        self._assembly: Assembly | None = None
        for look in LOOKS.values():
            self.register_theme(look.theme)
        _begin_with(self, self.interaction.look)

    def get_default_screen(self) -> MainScreen:
        """The one screen everything is on."""
        return self.main

    async def on_mount(self) -> None:
        """Once the first frame is painted, start to open."""
        self.terminal.end_with_signals(lambda code: self.exit(code, return_code=code))
        self.terminal.attach(draw=self.main.draw, draw_narrow=self._draw_narrow)
        self.main.call_after_refresh(self.run_worker, self._begin, group="open")

    async def _begin(self) -> None:
        try:
            sessions = await self.opening.sessions()
            if self.options.more_keys is not None:
                self.interaction.keys = self.options.more_keys()
        except ConsoleError as error:
            self.failure = error
            self.exit(error.exit_code, return_code=error.exit_code)
            return
        self.set_keymap(self.interaction.keys.keymap())
        from screens.assembly import Assembly

        self._assembly = Assembly(self.main, self.opening, self.options, self.set_theme)
        await self._assembly.mount()
        await self.fleet.show(sessions)
        await self._assembly.start()
        if self.then is not None:
            await self.then(self)
        self.order.release()
        for problem in self.interaction.keys.problems():
            self.interaction.warn(f"keys: {problem}")
        if not self.is_headless:
            gc.freeze()  # what is there now stays; looking through it for garbage would hold a key press for 60 ms and more

    async def on_unmount(self) -> None:
        """Disconnect from the nodes; engines keep running."""
        if self._assembly is not None and self.fleet.opened:
            self._assembly.remember()
        await self.fleet.close()

    async def on_event(self, event: events.Event) -> None:
        """Record the time of each key, and queue it until the earlier keys have had their effect."""
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
        """Remove all messages."""
        self.passing.gone()
        if (dialog := dialog_over(self)) is not None:
            dialog.note("", "")
        self.main.messages.clear()

    def action_nothing(self) -> None:
        """The action of ctrl-c when no widget handles it."""
        self.interaction.explain_quit()

    def action_leave(self) -> None:
        """Quit from anywhere."""
        self.leave()

    def leave(self) -> None:
        """Quit; asks first while a plan runs, or while this console measures."""
        if not (self.fleet.acting or self.fleet.measuring):
            self.exit(0)
        else:
            self.interaction.start("leave", self._leave)

    async def _leave(self) -> None:
        running = self.fleet.acting
        words = "Steps that have started continue on the nodes; no further step starts. Engines keep running."
        title = f"A {running.verb} is running." if running else ""
        if running is None and self.fleet.measuring:
            title = "The built-in load generator is measuring."
            words = "It stops with this console, and its figures are lost. Engines, and runs on nodes, keep running."
        if not title or await self.interaction.ask_yes(((f"{title} Quit anyway?", "danger"),), words):
            for session in self.fleet.sessions:
                session.operator.cancel()
            self.exit(0)

    def set_theme(self, name: str) -> bool:
        """Set another theme by name; False when there is none."""
        if name not in LOOKS:
            return False
        if not self.options.colour and name != "mono":
            self.interaction.notify("NO_COLOR is set: the screen stays without colours", timeout=3)
            return True
        self.interaction.look = LOOKS[name]
        self.ansi_color = True if name == "mono" else None
        self.theme = LOOKS[name].theme.name
        self.main.dress()
        return True

    def _draw_narrow(self) -> None:
        """Draw what every terminal draws in one cell."""
        self.interaction.pen = Pen(ascii=True, wide=True)
        self.main.dress()
        self.interaction.notify("this terminal draws some signs in two cells, so ASCII is used", timeout=6)


async def _deliver(app: ConsoleApp, typed: TypedKey) -> None:
    """Deliver a key to the focused widget, unless that is a dialog that opened after the key was pressed."""
    event, screen = typed.event, app.screen
    if isinstance(event, events.Key):
        if not app.fleet.opened and event.key in TEXT_FOLLOWS:
            app.order.hold(typed)  # a prompt that cannot open yet, and the text for it
            app.interaction.notify("still opening; keys typed now are kept", timeout=2)
            return
        if app.passing.over():
            app.clear_notifications()
        if (dialog := dialog_over(app)) is not None:
            if not dialog.accepts_key(event, typed.at):
                dialog.unheard(event)
                return
            dialog.heard(event)
        if app.main.welcome is not None and event.key in screen.active_bindings:
            app.main.welcome.remove()
            app.main.welcome = None
        if screen is app.main and isinstance(app.focused, LineWidget):
            answer_wrong_key(app.interaction, event, screen.active_bindings)
    elif screen is app.main and isinstance(app.focused, LineWidget):
        app.main.take_paste(event.text)
        return
    await App.on_event(app, event)


def _begin_with(app: App[int], look: Look) -> None:
    """Set the first theme before anything is styled, so that the first frame reads all styles only once."""
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
    """Run the console until the operator quits, on the caller's event loop if given; gives the exit code.

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
