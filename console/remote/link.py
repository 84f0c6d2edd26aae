"""The link to one node: connects again when it is lost, reports its state, sends requests and delivers pushed data.

It does not know deployments. After a lost link the state of the engines is unknown: running requests end with LinkLost, and
nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence

import asyncssh

from console.model.cluster import Node
from console.model.errors import Unreachable
from console.model.run import Probe, RunKey
from console.model.snapshot import Link, LinkState
from console.node.frames import Header
from console.remote.dial_errors import DialError
from console.remote.helper_channel import START_S, Hear, HelperChannel
from console.remote.link_status import LinkStatus
from console.remote.node_requests import NodeRequests
from console.remote.push_dispatch import PushDispatch, Watcher, watch_body
from console.remote.ssh import Dialer, end_connection
from console.remote.standing_questions import StandingQuestions

PING_S = 5.0
STALE_S = 12.0
GIVE_UP_S = 60.0
"""After this time without data the console connects again, because the helper hangs."""
"""The link is stale after this time without data; the helper sends data at least every 4 s."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
HEALTHY_S = 60.0
"""After a link was up for this time, its next waits start at the shortest one."""
CREDIT_BYTES = 256 * 1024
"""Credit is returned in steps of a quarter of the helper's window."""


class NodeLink(NodeRequests):
    """The link to one node."""

    def __init__(
        self,
        node: Node,
        *,
        dialer: Dialer,
        watcher: Watcher,
        probes: Sequence[Probe],
        runs_every_s: float = 2.0,
    ) -> None:
        self.node = node
        self._standing = LinkStatus(lambda link: watcher.on_link(node.name, link))
        self.questions = StandingQuestions(self._notify)
        """The standing questions to the servers of this node."""
        self._hearing = PushDispatch(node, watcher, self._standing, self.questions)
        self._dialer = dialer
        self._probes = probes
        self._runs_every_s = runs_every_s
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._channel: HelperChannel | None = None
        self._retry = asyncio.Event()
        self._owed: dict[RunKey, int] = {}

    @property
    def link(self) -> Link:
        """The state of the link."""
        return self._standing.link

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"link {self.node.name}")

    async def close(self) -> None:
        """End the helper, the connection and the task. Raises the error of a bug that ended the task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._standing.set(LinkState.CLOSED)

    async def wait_up(self, timeout_s: float) -> bool:
        """Whether the link is up within the time."""
        return await self._standing.wait_up(timeout_s)

    def retry_now(self) -> None:
        """Connect at once instead of waiting, also in the state BLOCKED."""
        self._retry.set()

    def follow(self, key: RunKey, offset: int, fingerprint: bytes = b"") -> None:
        """Request a log from `offset` on; `fingerprint` is the start (up to 1024 bytes) of the local copy.

        It ends with the helper: call it again after `on_hello`.
        """
        self._owed[key] = 0
        self._hearing.asked.follow(key, offset)
        self._notify("follow", {"key": _words(key), "offset": offset}, fingerprint)

    def unfollow(self, key: RunKey) -> None:
        """End the push of a log."""
        self._owed.pop(key, None)
        self._hearing.asked.unfollow(key)
        self._notify("unfollow", {"key": _words(key)})

    def credit(self, key: RunKey, count: int) -> None:
        """Report that `count` bytes of a log are stored, so that the node can send as many more."""
        owed = self._owed.get(key, 0) + count
        if owed >= CREDIT_BYTES:
            self._notify("credit", {"key": _words(key), "bytes": owed})
            owed = 0
        self._owed[key] = owed

    def watch_holders(self, pids: Sequence[int]) -> None:
        """Request data about these processes that hold HBM; it ends with the helper, as `follow` does."""
        self._notify("watch-holders", {"pids": list(pids)})

    def connection(self) -> asyncssh.SSHClientConnection | None:
        """The SSH connection, or None."""
        return self._connection

    async def _ask(
        self, op: str, body: Mapping[str, object], payload: bytes = b"", *, timeout_s: float, hear: Hear | None = None
    ) -> tuple[Header, bytes]:
        channel = self._channel
        if channel is None or not self._hearing.said_hello:
            text = f"{self.node.name} is not connected: {self.link.reason or self.link.state}"
            raise Unreachable(f"{text}; {op} was not sent", hint=self.link.hint)
        return await channel.request(op, body, payload, timeout_s=timeout_s, hear=hear)

    def _expect_stages(self, keys: Iterable[RunKey]) -> None:
        self._hearing.asked.end(keys)

    def _notify(self, op: str, body: Mapping[str, object], payload: bytes = b"") -> None:
        if self._channel is not None:
            self._channel.notify(op, body, payload)

    async def _run(self) -> None:
        """Connect, serve and wait, in a loop."""
        wait_s = FIRST_WAIT_S
        while True:
            self._retry.clear()
            self._standing.dialling()
            accepted = self._dialer.accepted
            began = time.monotonic()
            error = await _outcome(self.node.name, self._serve())
            if error.blocked:
                self._standing.set(LinkState.BLOCKED, str(error), error.hint, question=error.question)
                await _first(self._retry, accepted)
                continue
            wait_s = FIRST_WAIT_S if time.monotonic() - began > HEALTHY_S else wait_s
            pause = wait_s * random.uniform(0.5, 1.0)
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)
            self._standing.set(LinkState.LOST, str(error), error.hint, retry_at=time.time() + pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._retry.wait(), pause)

    async def _serve(self) -> DialError:
        """Serve one connection until it ends; returns why it ended."""
        connection = await self._dialer.connect(self.node)
        channel = None
        self._hearing.begin(self._probes)
        try:
            channel = await HelperChannel.open(connection, self.node, self._take)
            self._connection, self._channel = connection, channel
            return await self._attend(channel)
        finally:
            self._channel = self._connection = None
            self._owed.clear()
            if channel is not None and channel.faulty:
                connection.abort()
            if channel is not None:
                await channel.close()
            await end_connection(connection)

    async def _attend(self, channel: HelperChannel) -> DialError:
        """Measure the round trip and detect silence, until the helper ends; returns why it ended."""
        began = time.monotonic()
        while not await channel.wait_ended(PING_S if self._hearing.said_hello else 0.05):
            if not self._hearing.said_hello:
                if time.monotonic() - began > START_S:
                    text = f"{self.node.name}: the helper did not answer within {START_S:.0f} s"
                    return DialError(text, blocked=False, hint="its login shell may wait for input")
                continue
            await self._ping(channel)
            silent_s = time.monotonic() - channel.heard_at
            if self.link.state is LinkState.STALE and (silent_s > GIVE_UP_S or self._retry.is_set()):
                text = f"{self.node.name} has been silent for {silent_s:.0f} s and is connected again"
                return DialError(
                    text, blocked=False, hint="check whether the node is overloaded or the helper process is stopped"
                )
        return channel.why(self._hearing.said_hello)

    async def _ping(self, channel: HelperChannel) -> None:
        sent = time.monotonic()
        try:
            await channel.request("ping", {}, timeout_s=PING_S)
        except Unreachable:
            silent_s = time.monotonic() - channel.heard_at
            if not channel.ended and silent_s > STALE_S and self.link.state is LinkState.UP:
                self._standing.set(LinkState.STALE, f"{self.node.name} has been silent for {silent_s:.0f} s")
            return
        self._standing.answered(time.monotonic() - sent)

    def _take(self, header: Header, payload: bytes) -> None:
        """Handle pushed data; after its hello the helper gets the watch request before any other request."""
        if header.get("push") == "hello":
            self._notify("watch", watch_body(self.node, self._probes, self._runs_every_s))
            self.questions.begin()
        self._hearing.take(header, payload)


async def _outcome(node: str, serving: Coroutine[None, None, DialError]) -> DialError:
    """Serve one connection; returns why it ended. A bug of the console affects only this node, and the link connects again."""
    [outcome] = await asyncio.gather(serving, return_exceptions=True)
    if isinstance(outcome, DialError):
        return outcome
    text = f"{node}: an internal error of the console: {type(outcome).__name__}: {outcome!s:.200}"
    return DialError(text, blocked=False, hint="please report it with the support bundle")


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _words(key: RunKey) -> list[str]:
    return [key.deployment, key.engine, key.run]
