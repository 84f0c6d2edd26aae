"""The state of a link with reason and hint: stores it, notifies listeners, and lets callers wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from console.model.snapshot import Link, LinkState


class LinkStatus:
    """The state of one link."""

    def __init__(self, tell: Callable[[Link], None]) -> None:
        self.link = Link(since=time.time())
        self._tell = tell
        self._changed = asyncio.Event()

    def set(
        self,
        state: LinkState,
        reason: str = "",
        hint: str = "",
        retry_at: float | None = None,
        *,
        question: bool = False,
    ) -> None:
        """Set a new state; `retry_at` is in seconds since the epoch."""
        self._take(Link(state, time.time(), reason, hint, None, retry_at, question))

    def dialling(self) -> None:
        """The link connects. A lost link stays lost until the node answers."""
        if self.link.state is LinkState.LOST:
            self._take(replace(self.link, retry_at=None))
        else:
            self.set(LinkState.CONNECTING)

    def answered(self, round_trip_s: float) -> None:
        """The node answered a ping: a stale link is up again."""
        if self.link.state in (LinkState.UP, LinkState.STALE):
            since = self.link.since if self.link.state is LinkState.UP else time.time()
            self._take(Link(LinkState.UP, since, round_trip_s=round_trip_s))

    async def wait_up(self, timeout_s: float) -> bool:
        """Whether the link is up within the time; returns at once when it is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.link.state not in (LinkState.UP, LinkState.CLOSED):
                    await self._changed.wait()
        return self.link.state is LinkState.UP

    def _take(self, link: Link) -> None:
        self.link = link
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._tell(link)
