"""Draws pictures of the console as SVG, by the app itself and from a real session, so that the documents stay correct."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType

from screens.app import ConsoleApp
from screens.options import Options
from screens.protocols import Session


@dataclass(frozen=True, slots=True)
class Screenshot:
    """One picture: its file's name, the keys that lead to it, and a text that must be on the screen before it is taken."""

    name: str
    keys: Sequence[str]
    waits_for: str
    size: tuple[int, int] | None = None
    """Columns and rows of the terminal, where it is not the one of the other pictures."""


TOUR = (
    Screenshot("grid", ("g", "3"), "AICORE"),
    Screenshot("narrow", (), "AICORE", (80, 24)),
    Screenshot("wide", (), "AICORE", (200, 50)),
    Screenshot("logs", ("escape", "l"), "following"),
    Screenshot("roles", ("escape", "7"), "nodes"),
    Screenshot("evaluation", ("escape", "B", "enter", "f", "G"), "AICore %"),
    Screenshot("plan", ("escape", "escape", "escape", "g", "x"), "cancel"),
    Screenshot("diagnosis", ("escape", "6"), "failed first"),
)
"""What a reader of the README sees, in this order; for the evaluation one result must be kept, for the causes something must
have failed. The plan dialog is opened and nothing runs."""

STEP_S = 0.1


async def take(
    session: Session,
    directory: Path,
    tour: Sequence[Screenshot] = TOUR,
    *,
    size: tuple[int, int] = (120, 36),
    ready: Callable[[], bool] = lambda: True,
    before: Mapping[str, Callable[[], Awaitable[None]]] = MappingProxyType({}),
    timeout_s: float = 60.0,
) -> tuple[Path, ...]:
    """Walk the tour and write `NAME.svg` for each; `ready` is waited for before the first, and what `before` has by a
    picture's name is done before that one.

    Raises TimeoutError when a screen never shows what it should.
    """
    calm = count()
    app = ConsoleApp(session, Options(), clock=lambda: float(next(calm)))
    taken: list[Path] = []
    directory.mkdir(parents=True, exist_ok=True)
    async with app.run_test(size=size) as pilot:
        await _until(ready, timeout_s)
        for picture in tour:
            if picture.name in before:
                await before[picture.name]()
            await pilot.resize_terminal(*(picture.size or size))
            for key in picture.keys:
                await pilot.press(key)
                await pilot.pause()
            await _until(lambda words=picture.waits_for: words in _text(app), timeout_s)  # type: ignore[misc]
            path = directory / f"{picture.name}.svg"
            path.write_text(app.export_screenshot(title="dsv4-console"), encoding="utf-8")
            taken.append(path)
        await pilot.press("escape")
    return tuple(taken)


def _text(app: ConsoleApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the screen never showed what the picture is of")
        await asyncio.sleep(STEP_S)
