"""Run the app in memory and read its screen as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from textual.pilot import Pilot

from screens.app import ConsoleApp
from screens.interaction import dialog_over
from screens.options import Options
from tests.screens.fakes import FakeSession
from tests.waiting import until

LARGE = (120, 40)
SMALL = (80, 24)


@dataclass(slots=True)
class Clock:
    """A clock a test moves; by itself it goes on by `step` each time it is asked, as between keys of a calm person."""

    step: float = 1.0
    now: float = 0.0

    def __call__(self) -> float:
        """Seconds."""
        self.now += self.step
        return self.now


@dataclass(slots=True)
class Seen:
    """The app with its pilot."""

    app: ConsoleApp
    pilot: Pilot[int]
    session: FakeSession
    clock: Clock
    bells: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The screen, row by row."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines())

    def header(self) -> str:
        """The line or lines at the top."""
        return "\n".join(self.lines()[: self.app.main.header.size.height])

    def heading(self) -> str:
        """The titles of the grid's columns."""
        return self.lines()[self.app.main.grid.region.y]

    async def press(self, *keys: str) -> None:
        """Keys one by one, each with time to be answered."""
        for key in keys:
            await until(lambda: getattr(self.app.screen, "_drawn_at", 0.0) is not None)
            await self.pilot.press(key)
            await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Text as keys."""
        await self.press(*({" ": "space", "-": "minus", "/": "slash"}.get(char, char) for char in text))

    async def command(self, line: str) -> None:
        """A line of the command line."""
        await self.press("colon")
        await self.type(line)
        await self.press("enter")

    async def sees(self, what: str | Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait until a text is on the screen, or something is true."""
        if callable(what):
            await until(what, timeout_s)
            return
        words = what
        await until(lambda: words in self.text(), timeout_s, f"{words!r} on\n{self.text()}")

    def toasts(self) -> str:
        """What has been said in passing."""
        dialog = dialog_over(self.app)
        noted = [text for text, _ in dialog._noted] if dialog is not None else []
        return " | ".join([*self.app.main.messages.texts, *noted])


@asynccontextmanager
async def running(
    session: FakeSession,
    size: tuple[int, int] = SMALL,
    *,
    step: float = 1.0,
    options: Options | None = None,
) -> AsyncIterator[Seen]:
    """The app on a session, mounted and drawn."""
    clock = Clock(step)
    app = ConsoleApp(session, options or Options(), clock=clock)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await until(lambda: session.opened)
        yield Seen(app, pilot, session, clock)
