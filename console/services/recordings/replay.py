"""Replays a recording like a session: at the recorded speed, faster, backwards, or paused.

It has no links and is read-only; changes are refused.
"""

from __future__ import annotations

import asyncio
import bisect
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

from console.model.errors import ConsoleError, Refused
from console.model.snapshot import ClusterSnapshot
from console.services.placement.live_assignment import Change
from console.services.recordings.recording import Recording
from console.services.session import Session

SPEEDS = (1, 4, 16, 60)
LONGEST_PAUSE_S = 5.0
"""Longer gaps in the recording are shortened to this."""


def _replayed(recording: Recording, number: int) -> ClusterSnapshot:
    """A recorded snapshot as shown in a replay: read-only."""
    return replace(recording.snapshot(number), read_only=True)


class ReplayPosition:
    """A position in a recording that advances while it plays."""

    def __init__(self, recording: Recording) -> None:
        """Raises ConsoleError when the first snapshot cannot be read."""
        self.recording = recording
        self.number = 0
        self.speed = SPEEDS[0]
        self.playing = True
        self.told: list[Callable[[ClusterSnapshot], None]] = []
        self.snapshot = _replayed(recording, 0)
        self._moved = asyncio.Event()

    @property
    def words(self) -> str:
        """The position as text: clock time, speed, share of the recording."""
        clock = time.strftime("%m-%d %H:%M:%S", time.localtime(self.recording.times[self.number]))
        last = len(self.recording.times) - 1
        pace = "end" if self.number == last else f"x{self.speed}" if self.playing else "held"
        return f"REPLAY {clock} {pace} {self.number + 1}/{last + 1}"

    def hold(self) -> None:
        """Pause or resume; restarts from the beginning at the end."""
        if self.number == len(self.recording.times) - 1:
            self.playing = True
            self.go(0)
            return
        self.playing = not self.playing
        self._tell()

    def faster(self) -> None:
        """Use the next speed; after the fastest comes the recorded speed."""
        self.speed = SPEEDS[(SPEEDS.index(self.speed) + 1) % len(SPEEDS)]
        self._tell()

    def step(self, by: int) -> None:
        """Move by a number of snapshots and pause."""
        self.playing = False
        self.go(self.number + by)

    def skip(self, seconds: float) -> None:
        """Move by a number of seconds, playing or paused."""
        times = self.recording.times
        self.go(bisect.bisect_left(times, times[self.number] + seconds))

    def seek(self, clock: str) -> bool:
        """Move to the first snapshot at or after a clock time, `HH:MM` or `HH:MM:SS`; False without one."""
        wanted = (f"{clock}:00" if clock.count(":") == 1 else clock).rjust(8, "0")
        for number, at in enumerate(self.recording.times):
            if time.strftime("%H:%M:%S", time.localtime(at)) >= wanted:
                self.go(number)
                return True
        return False

    def go(self, number: int) -> None:
        """Show the snapshot with this number, or the nearest one. Raises ConsoleError when it cannot be read."""
        number = max(0, min(number, len(self.recording.times) - 1))
        self.snapshot = _replayed(self.recording, number)
        self.number = number
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        for listener in tuple(self.told):
            listener(self.snapshot)

    async def run(self) -> None:
        """Play until cancelled; pauses at a snapshot that cannot be read."""
        times = self.recording.times
        while True:
            self._moved.clear()
            following = self.number + 1
            waits = None
            if self.playing and following < len(times):
                waits = min(LONGEST_PAUSE_S, max(0.0, times[following] - times[self.number])) / self.speed
            try:
                async with asyncio.timeout(waits):
                    await self._moved.wait()
            except TimeoutError:
                try:
                    self.go(following)
                except ConsoleError:
                    self.playing = False


class Replay(Session):
    """The session of a recording."""

    def __init__(self, recording: Recording) -> None:
        """Raises ConsoleError when the first snapshot cannot be read."""
        made = recording.deployment
        super().__init__(made.cluster, made.layout.written or made.layout, made.assignment, read_only=True)
        self.tape = ReplayPosition(recording)
        self._play: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start playing."""
        self._play = asyncio.create_task(self.tape.run(), name="replay")

    async def close(self) -> None:
        """Stop playing."""
        if self._play is not None:
            self._play.cancel()
            await asyncio.gather(self._play, return_exceptions=True)
        self.logs.close()

    @property
    def snapshot(self) -> ClusterSnapshot:
        """The shown snapshot."""
        return self.tape.snapshot

    def subscribe(self, listener: Callable[[ClusterSnapshot], None]) -> Callable[[], None]:
        """Call `listener` with each shown snapshot."""
        told = self.tape.told
        told.append(listener)
        return lambda: told.remove(listener) if listener in told else None

    def assign(self, group: str | None, nodes: Sequence[str]) -> None:
        """Raises Refused."""
        self._refuse()

    def change(self, operation: Change) -> None:
        """Raises Refused."""
        self._refuse()

    def fill(self) -> None:
        """Raises Refused."""
        self._refuse()

    def undo(self) -> bool:
        """Raises Refused."""
        self._refuse()

    def redo(self) -> bool:
        """Raises Refused."""
        self._refuse()

    def retry(self, node: str) -> None:
        """Does nothing; a replay has no links."""

    async def accept_host_key(self, node: str) -> None:
        """Raises Refused."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise Refused("this is a replay: nothing can be changed in what has been")
