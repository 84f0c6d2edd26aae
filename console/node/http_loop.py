"""One thread that waits for all sockets and times of HTTP requests. It sleeps while nothing happens."""

from __future__ import annotations

import collections
import heapq
import itertools
import os
import selectors
import socket
import time
from typing import Callable, Deque, Dict, Iterator, List, NamedTuple, Tuple

from console.node.threads import start

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
IDLE_S = 30.0
"""How long an unused connection stays open; vLLM closes it after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE)."""
MAX_IDLE = 2
"""Most unused connections to one server."""

Place = Tuple[str, int, str, bool]
"""Host, port, path of a socket, TLS."""


class Timer:
    """One call at a time; it can be cancelled."""

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call."""
        self.cancelled = True


class _Watched(NamedTuple):
    sock: socket.socket
    events: int
    call: Callable[[], None]


class HttpLoop:
    """The thread. All methods but `start` and `call` are used in it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watched: Dict[int, _Watched] = {}
        self._calls: Deque[Callable[[], None]] = collections.deque()
        self._timers: List[Tuple[float, int, Timer]] = []
        self._numbers: Iterator[int] = itertools.count()
        self._idle: Dict[Place, List[Tuple[socket.socket, Timer]]] = {}
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._selector.register(self._woken, READ)

    def start(self) -> None:
        """Start the thread."""
        start("http", self._run)

    def call(self, work: Callable[[], None]) -> None:
        """Call `work` in the thread soon. Any thread may use this."""
        self._calls.append(work)
        try:
            os.write(self._waker, b"x")
        except BlockingIOError:
            pass

    def after(self, seconds: float, work: Callable[[], None]) -> Timer:
        """Call `work` after that time."""
        timer = Timer(time.monotonic() + seconds, work)
        heapq.heappush(self._timers, (timer.when, next(self._numbers), timer))
        return timer

    def watch(self, sock: socket.socket, events: int, call: Callable[[], None]) -> None:
        """Call whenever the socket is ready for one of the events."""
        number = sock.fileno()
        before = self._watched.get(number)
        self._watched[number] = _Watched(sock, events, call)
        if before is None:
            self._selector.register(number, events)
        elif before.events != events:
            self._selector.modify(number, events)

    def unwatch(self, sock: socket.socket) -> None:
        """Do not wait for the socket any more; call it before the socket is closed."""
        if self._watched.pop(sock.fileno(), None) is not None:
            self._selector.unregister(sock.fileno())

    def keep(self, place: Place, sock: socket.socket) -> None:
        """Keep an unused connection for the next request, until the server closes it."""
        kept = self._idle.setdefault(place, [])
        if len(kept) >= MAX_IDLE:
            sock.close()
            return

        def forget() -> None:
            self.unwatch(sock)
            sock.close()
            timer.cancel()
            kept[:] = [each for each in kept if each[0] is not sock]
            if not kept:
                self._idle.pop(place, None)

        timer = self.after(IDLE_S, forget)
        kept.append((sock, timer))
        self.watch(sock, READ, forget)

    def kept(self, place: Place) -> "socket.socket | None":
        """An unused connection to a server, or None."""
        found = self._idle.get(place)
        if not found:
            return None
        sock, timer = found.pop()
        timer.cancel()
        if not found:
            del self._idle[place]
        self.unwatch(sock)
        return sock

    def _run(self) -> None:
        while True:
            for number, events in self._wait():
                if number == self._woken:
                    _drain(number)
                    continue
                watched = self._watched.get(number)
                if watched is not None and watched.events & events:
                    watched.call()
            for timer in self._due():
                if not timer.cancelled:
                    timer.call()
            for _ in range(len(self._calls)):
                self._calls.popleft()()

    def _wait(self) -> List[Tuple[int, int]]:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        limit = None
        if self._calls:
            limit = 0.0
        elif self._timers:
            limit = max(0.0, self._timers[0][0] - time.monotonic())
        return [(key.fd, events) for key, events in self._selector.select(limit)]

    def _due(self) -> List[Timer]:
        """Timers that are due. What waits in a socket was read before, so that a blocked thread makes no answer late."""
        found, now = [], time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            found.append(heapq.heappop(self._timers)[2])
        return found


def _drain(number: int) -> None:
    try:
        while os.read(number, 4096):
            pass
    except BlockingIOError:
        pass
