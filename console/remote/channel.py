"""One helper on one SSH connection: starts it, sends requests, hands on what it pushes, ends it.

Reconnecting is not its job, neither is what the frames mean. A node may print anything before the helper's marker and
die at any moment; both end in one clear sentence.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping

import asyncssh

from console.model.cluster import Node
from console.model.errors import LinkLost, NodeError, Unreachable
from console.node.bootstrap import DAMAGED, TOO_OLD
from console.node.frames import MARKER, Decoder, FrameError, Header, pack
from console.remote.bundle import first_bytes, helper_command
from console.remote.ssh import DialError
from console.remote.wire import WireError

START_S = 30.0
"""A helper has said hello by then, interpreter start on a loaded node and its login shell's profile included."""
CLOSE_S = 2.0
CHATTER_BYTES = 64 * 1024
"""Most a login shell may print before the helper's marker."""
STDERR_BYTES = 4096

Push = Callable[[Header, bytes], None]


class HelperSession(asyncssh.SSHClientSession[bytes]):
    """The channel's receiving side. Everything happens in callbacks, so nothing is queued and nothing is lost in between."""

    def __init__(self, on_frame: Push) -> None:
        self._on_frame = on_frame
        self._decoder = Decoder()
        self._chatter = bytearray()
        self._marked = False
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.stderr = bytearray()
        self.exit_status: int | None = None
        self.fault = ""
        self.error: Exception | None = None
        self.heard_at = time.monotonic()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def chatter(self) -> str:
        """What was printed where the marker should have been."""
        return (bytes(self.stderr) or bytes(self._chatter)).decode("utf-8", "replace").strip()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Bytes of the node, in order."""
        self.heard_at = time.monotonic()
        if datatype is not None:
            self.stderr += data[: STDERR_BYTES - len(self.stderr)]
            return
        if self.fault:
            return
        try:
            for header, payload in self._decoder.feed(data if self._marked else self._after_marker(data)):
                self._on_frame(header, payload)
        except (FrameError, WireError) as error:
            self._give_up(f"the helper said nonsense: {error}")

    def exit_status_received(self, status: int) -> None:
        """The helper ended by itself."""
        self.exit_status = status

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, by whomever."""
        self.error = exc
        if not self.ended.done():
            self.ended.set_result(None)

    def _after_marker(self, data: bytes) -> bytes:
        self._chatter += data
        at = self._chatter.find(MARKER)
        if at < 0:
            if len(self._chatter) > CHATTER_BYTES:
                self._give_up("the login shell prints without end where the helper should answer")
            return b""
        self._marked = True
        rest = bytes(self._chatter[at + len(MARKER) :])
        self._chatter.clear()
        return rest

    def _give_up(self, fault: str) -> None:
        self.fault = fault
        if self._channel is not None:
            self._channel.abort()


class HelperChannel:
    """A running helper."""

    def __init__(self, node: Node, session: HelperSession, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._node = node
        self._session = session
        self._channel = channel
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[Header, bytes]]] = {}

    @classmethod
    async def open(cls, connection: asyncssh.SSHClientConnection, node: Node, on_push: Push) -> HelperChannel:
        """Start the helper. Its frames come through `on_push`, hello first; replies go to who asked. Raises DialError."""
        made: list[HelperChannel] = []

        def take(header: Header, payload: bytes) -> None:
            if "push" in header:
                on_push(header, payload)
            else:
                made[0].answered(header, payload)

        try:
            async with asyncio.timeout(START_S):
                session = HelperSession(take)
                channel, _ = await connection.create_session(
                    lambda: session, helper_command(node), encoding=None, request_pty=False
                )
        except asyncssh.ChannelOpenError as error:
            text = f"{node.name}: its sshd opens no session: {error.reason}"
            raise DialError(text, blocked=False, hint="MaxSessions of its sshd_config must be at least 1") from error
        except TimeoutError as error:
            raise DialError(f"{node.name}: no session in {START_S:.0f} s", blocked=False) from error
        found = cls(node, session, channel)
        made.append(found)
        found._send(first_bytes())
        return found

    @property
    def ended(self) -> bool:
        """Whether the helper is gone."""
        return self._session.ended.done()

    @property
    def heard_at(self) -> float:
        """When the last byte arrived, monotonic seconds."""
        return self._session.heard_at

    def answered(self, header: Header, payload: bytes) -> None:
        """A reply arrived."""
        number = header.get("id")
        future = self._waiting.pop(number, None) if isinstance(number, int) else None
        if future is not None and not future.done():
            future.set_result((header, payload))

    def notify(self, op: str, body: Mapping[str, object], payload: bytes = b"") -> None:
        """Say something that wants no answer."""
        self._send(pack({**body, "op": op}, payload))

    async def request(
        self, op: str, body: Mapping[str, object], payload: bytes = b"", *, timeout_s: float
    ) -> tuple[Header, bytes]:
        """Ask. Raises NodeError when the node refuses, Unreachable when it was not sent, LinkLost when nobody knows."""
        name = self._node.name
        number = next(self._ids)
        if not self._send(pack({**body, "op": op, "id": number}, payload)):
            raise Unreachable(f"{name}: {op} was not sent, the link is down")
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        ended = self._session.ended
        try:
            await asyncio.wait({future, ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.pop(number, None)
        if future.done():
            header, data = future.result()
            if header.get("ok") is True:
                return header, data
            kind, text, hint = (str(header.get(word) or "") for word in ("kind", "message", "hint"))
            raise NodeError(f"{name}: {text}", kind=kind or "os", node=name, hint=hint)
        if ended.done():
            raise LinkLost(f"{name}: the link was lost while {op} was under way", hint="its outcome is unknown")
        raise LinkLost(f"{name}: no answer to {op} in {timeout_s:g} s", hint="its outcome is unknown")

    def _send(self, data: bytes) -> bool:
        """Write; False when the node has closed its side, which asyncssh knows a moment before it tells the session."""
        if self.ended:
            return False
        try:
            self._channel.write(data)
        except OSError:
            return False
        return True

    async def wait_ended(self, timeout_s: float) -> bool:
        """Whether the helper ended within the time."""
        await asyncio.wait({self._session.ended}, timeout=timeout_s)
        return self.ended

    def why(self, said_hello: bool) -> DialError:
        """Why the helper is gone."""
        session, name = self._session, self._node.name
        if session.error is not None and not isinstance(session.error, (asyncssh.Error, OSError)):
            raise session.error
        if session.fault:
            return DialError(f"{name}: {session.fault}", blocked=False, hint=_quoted(session.chatter))
        if session.exit_status is None or said_hello:
            reason = str(session.error or "") or "the node closed the connection"
            if session.exit_status is not None:
                reason = f"the helper ended (exit {session.exit_status}) {_last_line(session.chatter)}".rstrip()
            return DialError(f"{name}: {reason}", blocked=False)
        return _no_helper(self._node, session.exit_status, session.chatter)

    async def close(self) -> None:
        """End the helper by ending its stdin, and see the channel closed."""
        if not self.ended:
            try:
                self._channel.write_eof()
            except OSError:
                self._channel.abort()
            if not await self.wait_ended(CLOSE_S):
                self._channel.abort()


def _no_helper(node: Node, status: int, said: str) -> DialError:
    """A helper that never said hello, by its exit status."""
    last = _last_line(said)
    if status == 127 and not node.sudo:
        text = f"{node.name} has no {node.python}: {last}"
        return DialError(text, blocked=True, hint="set `python` of the node to an interpreter, 3.7 or later")
    if status == TOO_OLD or "Unknown option: -I" in said:
        text = f"{node.name}: its {node.python} is too old: {last}"
        return DialError(text, blocked=True, hint="set `python` of the node to an interpreter, 3.7 or later")
    if status == DAMAGED:
        return DialError(f"{node.name}: the helper arrived damaged", blocked=False)
    if node.sudo and ("sudo" in said or status == 1):
        text = f"{node.name}: sudo -n refused: {last}"
        return DialError(text, blocked=True, hint="allow it without a password (NOPASSWD), or connect as root")
    text = f"{node.name}: the helper did not start (exit {status}): {last}"
    return DialError(
        text,
        blocked=True,
        hint="log in by hand and run the node's `python`; a forced command or shell may be in the way",
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


def _quoted(text: str) -> str:
    return f"it printed: {_last_line(text)}" if text.strip() else ""
