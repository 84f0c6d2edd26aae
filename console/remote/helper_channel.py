"""One helper on one SSH connection: starts it, sends requests, delivers pushed frames, ends it.

It does not reconnect and does not interpret frames. A node can print anything before the marker of the helper and can fail at
any time; both give one clear message.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import asyncssh

from console.model.cluster import Node
from console.model.errors import LinkLost, NodeError, Unreachable
from console.node.bootstrap import DAMAGED, TOO_OLD
from console.node.frames import MARKER, MAX_SAID, Decoder, FrameError, Header, pack
from console.node.http_exchange import MAX_BODY
from console.remote.dial_errors import DialError
from console.remote.frame_decoding import WireError
from console.remote.helper_bundle import first_bytes, helper_command

START_S = 30.0
"""Time limit for the hello of a helper, with the start of the interpreter on a loaded node and the profile of its shell."""
CLOSE_S = 2.0
CHATTER_BYTES = 64 * 1024
"""Most bytes that a login shell can print before the marker of the helper."""
STDERR_BYTES = 4096
SLICE_S = 0.005
"""Longest time in which frames of one node are handled without a pause; they get at most half of the time."""
HELD_BYTES = 1024 * 1024
"""Most bytes of frames that wait; more stays on the node, because the window of its channel is full."""
FRAME_S = 30.0
"""Longest time in which an arriving frame counts as a sign of life."""
MESSAGE_CHARS = 2000
"""Most characters of the message of a refusal."""

ASK = "ask"
"""The request whose work on the node ends when the console does not wait for it any more."""
GIVEN_UP = 64
"""Most given up streams whose last pieces are expected."""

Push = Callable[[Header, bytes], None]
Hear = Callable[[bytes], None]


@dataclass(slots=True)
class _Stream:
    """A streamed answer."""

    hear: Hear | None
    """None after it was given up."""
    size: int = 0


class HelperSession(asyncssh.SSHClientSession[bytes]):
    """The receiving side of the channel. Frames are handled in short turns, so that a flood delays only its own node."""

    def __init__(self, on_frame: Push) -> None:
        self._on_frame = on_frame
        self._decoder = Decoder(MAX_SAID)
        self._chatter = bytearray()
        self._marked = False
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._arrived = asyncio.Event()
        self._paused = False
        self._closed = False
        self.stderr = bytearray()
        self.exit_status: int | None = None
        self.fault = ""
        self.error: Exception | None = None
        self.heard_at = self._frame_at = time.monotonic()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._taking = asyncio.create_task(self._take_all(), name="frames")
        self._taking.add_done_callback(self._taken)

    @property
    def chatter(self) -> str:
        """The text that was printed instead of the marker."""
        return (bytes(self.stderr) or bytes(self._chatter)).decode("utf-8", "replace").strip()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Bytes from the node arrived, in order."""
        now = time.monotonic()
        self._frame_at = self._frame_at if self._decoder.held else now
        if now - self._frame_at < FRAME_S:
            self.heard_at = now
        if datatype is not None:
            self.stderr += data[: STDERR_BYTES - len(self.stderr)]
            return
        if self.fault:
            return
        self._decoder.add(data if self._marked else self._after_marker(data))
        self._arrived.set()
        if self._decoder.held > HELD_BYTES and self._channel is not None and not self._paused and self._waits():
            self._paused = True
            self._channel.pause_reading()

    def exit_status_received(self, status: int) -> None:
        """The helper exited."""
        self.exit_status = status

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed; data that arrived before is still handled."""
        self.error = exc
        self._closed = True
        self._arrived.set()

    async def _take_all(self) -> None:
        """Handle complete frames until the channel is closed and none is left, or until an error."""
        until = time.monotonic() + SLICE_S
        while not self.fault:
            try:
                frame = self._decoder.next()
                if frame is not None:
                    self.heard_at = self._frame_at = time.monotonic()
                    self._on_frame(*frame)
            except (FrameError, WireError) as error:
                self._give_up(f"the helper sent invalid data: {error}")
                return
            if frame is None:
                if self._closed:
                    return
                self._resume()
                self._arrived.clear()
                await self._arrived.wait()
                until = time.monotonic() + SLICE_S
            elif time.monotonic() > until:
                await asyncio.sleep(SLICE_S)
                until = time.monotonic() + SLICE_S

    def _taken(self, task: asyncio.Task[None]) -> None:
        """The frame task ended; a bug of the console ends only the link of this node."""
        bug = None if task.cancelled() else task.exception()
        if bug is not None:
            self._give_up(f"its data could not be handled: {type(bug).__name__}: {bug!s:.200}")
        if not self.ended.done():
            self.ended.set_result(None)

    def _waits(self) -> bool:
        """Whether a complete frame waits, or data that cannot become one."""
        try:
            return self._decoder.whole()
        except FrameError:
            return True

    def _resume(self) -> None:
        if self._paused and self._channel is not None:
            self._paused = False
            self._channel.resume_reading()

    def _after_marker(self, data: bytes) -> bytes:
        self._chatter += data
        at = self._chatter.find(MARKER)
        if at < 0:
            if len(self._chatter) > CHATTER_BYTES:
                self._give_up("the login shell prints text without end instead of the answer of the helper")
            return b""
        self._marked = True
        rest = bytes(self._chatter[at + len(MARKER) :])
        self._chatter.clear()
        return rest

    def _give_up(self, fault: str) -> None:
        """Ignore all further data; the link is closed by the task that waits for its end."""
        self.fault = fault
        self._arrived.set()

    def close(self) -> None:
        """Handle no more frames."""
        self._taking.cancel()


class HelperChannel:
    """A running helper."""

    def __init__(self, node: Node, session: HelperSession, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._node = node
        self._session = session
        self._channel = channel
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[Header, bytes]]] = {}
        self._streams: dict[int, _Stream] = {}
        """The requests whose answers are streamed, and the last ones that were given up."""

    @classmethod
    async def open(cls, connection: asyncssh.SSHClientConnection, node: Node, on_push: Push) -> HelperChannel:
        """Start the helper. `on_push` gets pushed frames, hello first; replies go to their requests. Raises DialError."""
        made: list[HelperChannel] = []

        def take(header: Header, payload: bytes) -> None:
            if header.get("push") == "piece":
                made[0].piece(header, payload)
            elif "push" in header:
                on_push(header, payload)
            else:
                made[0].answered(header, payload)

        session = HelperSession(take)
        try:
            async with asyncio.timeout(START_S):
                channel, _ = await connection.create_session(
                    lambda: session, helper_command(node), encoding=None, request_pty=False
                )
            found = cls(node, session, channel)
            made.append(found)
        except asyncssh.ChannelOpenError as error:
            text = f"{node.name}: its sshd opens no session: {error.reason}"
            raise DialError(text, blocked=False, hint="MaxSessions of its sshd_config must be at least 1") from error
        except TimeoutError as error:
            raise DialError(f"{node.name}: no session within {START_S:.0f} s", blocked=False) from error
        finally:
            if not made:
                session.close()
        found._send(first_bytes())
        return found

    @property
    def ended(self) -> bool:
        """Whether the helper has ended."""
        return self._session.ended.done()

    @property
    def heard_at(self) -> float:
        """When the last byte arrived, in monotonic seconds."""
        return self._session.heard_at

    def answered(self, header: Header, payload: bytes) -> None:
        """A reply arrived."""
        number = header.get("id")
        future = self._waiting.pop(number, None) if isinstance(number, int) else None
        if future is not None and not future.done():
            future.set_result((header, payload))

    def piece(self, header: Header, payload: bytes) -> None:
        """A piece of a streamed answer arrived. Raises WireError for one that was not requested, and for too many bytes."""
        number = header.get("id")
        stream = self._streams.get(number) if isinstance(number, int) else None
        if stream is None:
            raise WireError("it sent a piece of an answer that was not requested")
        stream.size += len(payload)
        if stream.size > MAX_BODY:
            raise WireError("a streamed answer is too large")
        if stream.hear is not None:
            stream.hear(payload)

    def notify(self, op: str, body: Mapping[str, object], payload: bytes = b"") -> None:
        """Send a message that has no reply."""
        self._send(pack({**body, "op": op}, payload))

    async def request(
        self, op: str, body: Mapping[str, object], payload: bytes = b"", *, timeout_s: float, hear: Hear | None = None
    ) -> tuple[Header, bytes]:
        """Send a request and wait for its reply; `hear` gets the pieces of a streamed answer.

        Raises NodeError when the node refuses, Unreachable when it was not sent, LinkLost when the outcome is unknown.
        """
        number = next(self._ids)
        if hear is not None:
            self._streams[number] = _Stream(hear)
        replied = False
        try:
            reply = await self._reply(number, op, body, payload, timeout_s)
            replied = True
            return reply
        finally:
            if not replied and op == ASK:
                self.notify("give-up", {"ask": number})
            if hear is not None:
                self._end_stream(number, replied)

    async def _reply(
        self, number: int, op: str, body: Mapping[str, object], payload: bytes, timeout_s: float
    ) -> tuple[Header, bytes]:
        name = self._node.name
        if not self._send(pack({**body, "op": op, "id": number}, payload)):
            raise Unreachable(f"{name}: {op} was not sent, because the link is down")
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
            raise NodeError(
                f"{name}: {text[:MESSAGE_CHARS]}", kind=kind[:80] or "os", node=name, hint=hint[:MESSAGE_CHARS]
            )
        if ended.done():
            raise LinkLost(f"{name}: the link was lost during {op}", hint="its outcome is unknown")
        raise LinkLost(f"{name}: no answer to {op} within {timeout_s:g} s", hint="its outcome is unknown")

    def _end_stream(self, number: int, replied: bool) -> None:
        """After a request that was given up its last pieces are on the way; they are ignored."""
        if replied:
            del self._streams[number]
            return
        self._streams[number].hear = None
        given_up = [each for each, stream in self._streams.items() if stream.hear is None]
        for each in given_up[:-GIVEN_UP]:
            del self._streams[each]

    def _send(self, data: bytes) -> bool:
        """Write data; False when the node has closed its side, which asyncssh knows shortly before it tells the session."""
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
        """Why the helper ended."""
        session, name = self._session, self._node.name
        if session.fault:
            return DialError(f"{name}: {session.fault}", blocked=False, hint=_quoted(session.chatter))
        if session.exit_status is None or said_hello:
            reason = str(session.error or "") or "the node closed the connection"
            if session.exit_status is not None:
                reason = f"the helper ended (exit {session.exit_status}) {_last_line(session.chatter)}".rstrip()
            return DialError(f"{name}: {reason}", blocked=False)
        return _no_helper(self._node, session.exit_status, session.chatter)

    @property
    def faulty(self) -> bool:
        """Whether the link was closed because of invalid data; then nothing waits for the helper."""
        return bool(self._session.fault)

    async def close(self) -> None:
        """End the helper by closing its stdin, and wait until the channel is closed."""
        if not self.ended:
            try:
                self._channel.write_eof()
            except OSError:
                self._channel.abort()
            if not await self.wait_ended(CLOSE_S):
                self._channel.abort()
        self._session.close()


def _no_helper(node: Node, status: int, said: str) -> DialError:
    """The error for a helper that ended before its hello, by its exit status."""
    last = _last_line(said)
    if status == 127 and not node.sudo:
        text = f"{node.name} has no {node.python}: {last}"
        return DialError(text, blocked=True, hint="set `python` of the node to an interpreter, 3.7 or later")
    if status == TOO_OLD or "Unknown option: -I" in said:
        text = f"{node.name}: its {node.python} is too old: {last}"
        return DialError(text, blocked=True, hint="set `python` of the node to an interpreter, 3.7 or later")
    if status == DAMAGED:
        return DialError(f"{node.name}: the helper arrived damaged", blocked=False)
    if node.sudo and "must have a tty" in said:
        text = f"{node.name}: its sudo wants a terminal (requiretty): {last}"
        user = node.user or "USER"
        return DialError(text, blocked=True, hint=f"add a line to its sudoers (visudo): Defaults:{user} !requiretty")
    if node.sudo and ("sudo" in said or status == 1):
        text = f"{node.name}: sudo -n refused: {last}"
        return DialError(text, blocked=True, hint="allow it without a password (NOPASSWD), or connect as root")
    text = f"{node.name}: the helper did not start (exit {status}): {last}"
    return DialError(
        text,
        blocked=True,
        hint="log in by hand and run `python` of the node; a forced command or the login shell can be the cause",
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


def _quoted(text: str) -> str:
    return f"it printed: {_last_line(text)}" if text.strip() else ""
