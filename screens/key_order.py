"""Processes each key completely before the next one. Does not know what keys mean.

Textual chooses the widget for a key when the key arrives, and runs the key's binding only after the key went through the
queues of that widget and its parents. In a burst, as a slow link or a paste delivers it, the text behind a key that opens a
prompt or a dialog would therefore reach the widget that had the focus before: letters are lost and some run as actions.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

ROUNDS = 2
"""How often the queues are walked after a key: once behind the key itself, once behind what it has posted."""
MOST_ROUNDS = 8
"""Where every round finds the focus somewhere else, something moves it for ever."""
LOST_S = 0.25
"""How often it is looked whether the widget whose queue is walked is still there (seconds)."""


@dataclass(frozen=True, slots=True)
class TypedKey:
    """A key or a paste, and when it arrived (seconds, the clock of the keys)."""

    event: events.Key | events.Paste
    at: float


class KeyOrder:
    """Keeps what was typed until the key before it is done."""

    def __init__(self, app: App[int], deliver: Callable[[TypedKey], Awaitable[None]]) -> None:
        """`deliver` gives a key to whatever has the focus; it is awaited in the task of the app."""
        self._app = app
        self._deliver = deliver
        self._waiting: deque[TypedKey] = deque()
        self._busy = False
        self._held = False
        self._number = 0
        self._at: MessagePump = app
        """Whose queue is walked."""
        self._watch: asyncio.TimerHandle | None = None

    async def take(self, typed: TypedKey) -> None:
        """Deliver it now, or once everything typed before it is done."""
        self._waiting.append(typed)
        if not self._busy:
            await self._next()

    @property
    def held(self) -> bool:
        """Whether nothing is delivered for now."""
        return self._held

    @property
    def busy(self) -> bool:
        """Whether a key still has its effect, or waits for one that has."""
        return self._busy

    def hold(self, typed: TypedKey) -> None:
        """Keep this one, which is being delivered, and all later ones, until `release`."""
        self._waiting.appendleft(typed)
        self._held = self._busy = True

    def drop(self) -> None:
        """Forget what was kept."""
        self._waiting.clear()
        self._held = self._busy = False

    def release(self) -> None:
        """Deliver what was kept."""
        if self._held:
            self._held = False
            self._app.call_later(self._next)

    async def _next(self) -> None:
        while self._waiting and not self._held:
            typed = self._waiting.popleft()
            self._busy = True
            self._number += 1
            await self._deliver(typed)
            if not self._held and self._begin_round(self._number, ROUNDS, MOST_ROUNDS):
                self._look_again(self._number)
                return
        self._busy = self._held

    def _begin_round(self, number: int, left: int, most: int) -> bool:
        """Send a callback behind everything that waits in the queues from the focus up to the app."""
        screens = self._app.screen_stack
        if not screens:
            return False
        focused = screens[-1].focused or screens[-1]
        path = [node for node in focused.ancestors_with_self if node is not self._app]
        return self._hop((*path, self._app), number, left, most, focused)

    def _hop(self, path: Sequence[MessagePump], number: int, left: int, most: int, focused: MessagePump) -> bool:
        for at, node in enumerate(path):
            self._at = node
            if node is self._app:
                return node.call_later(self._round_over, number, left, most, focused)
            if node.call_later(self._hop, path[at + 1 :], number, left, most, focused):
                return True
        return False

    async def _round_over(self, number: int, left: int, most: int, focused: MessagePump) -> None:
        if number != self._number:
            return
        screens = self._app.screen_stack
        moved = not screens or focused is not (screens[-1].focused or screens[-1])
        left = ROUNDS if moved else left - 1
        if left and most and self._begin_round(number, left, most - 1):
            return
        await self._done()

    async def _done(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._busy = False
        await self._next()

    def _look_again(self, number: int) -> None:
        self._watch = asyncio.get_running_loop().call_later(LOST_S, self._look_after, number)

    def _look_after(self, number: int) -> None:
        """Go on without a widget that has gone and took with it what waited in its queue."""
        if number != self._number:
            return
        if not self._at._closed:
            self._look_again(number)
        else:
            self._number += 1
            self._app.call_later(self._done)
