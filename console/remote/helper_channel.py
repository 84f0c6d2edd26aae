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
from console.node.frames import MARKER, MAX_SAID, Decoder, FrameError, Header, pack
from console.remote.dial_errors import DialError
from console.remote.frame_decoding import WireError
from console.remote.helper_bundle import first_bytes, helper_command

START_S = 30.0
"""A helper has said hello by then, interpreter start on a loaded node and its login shell's profile included."""
CLOSE_S = 2.0
CHATTER_BYTES = 64 * 1024
"""Most a login shell may print before the helper's marker."""
STDERR_BYTES = 4096
SLICE_S = 0.005
"""Longest that the frames of one node are taken without a turn for everything else; half of the time at most is theirs."""
HELD_BYTES = 1024 * 1024
"""Of whole frames that wait; more stays at the node, which is told so by the window of its channel."""
FRAME_S = 30.0
"""Longest a frame may take to arrive and still count as a sign of life."""
SAID_CHARS = 2000
"""Most that is taken of a refusal's words."""

Push = Callable[[Header, bytes], None]


class HelperSession(asyncssh.SSHClientSession[bytes]):
    """The channel's receiving side. Bytes are kept as they come, frames taken in turns: a flood delays only its node."""

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
        """What was printed where the marker should have been."""
        return (bytes(self.stderr) or bytes(self._chatter)).decode("utf-8", "replace").strip()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Bytes of the node, in order."""
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
        """The helper ended by itself."""
        self.exit_status = status

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, by whomever; what came before is still taken."""
        self.error = exc
        self._closed = True
        self._arrived.set()

    async def _take_all(self) -> None:
        """Take frames as they become whole, until the channel is closed and nothing whole is left, or until a fault."""
        until = time.monotonic() + SLICE_S
        while not self.fault:
            try:
                frame = self._decoder.next()
                if frame is not None:
                    self.heard_at = self._frame_at = time.monotonic()
                    self._on_frame(*frame)
            except (FrameError, WireError) as error:
                self._give_up(f"the helper said nonsense: {error}")
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
        """No frame is taken any more: what is wrong with the console itself is told as this node's end, and harms no other."""
        bug = None if task.cancelled() else task.exception()
        if bug is not None:
            self._give_up(f"what it sent could not be used: {type(bug).__name__}: {bug!s:.200}")
        if not self.ended.done():
            self.ended.set_result(None)

    def _waits(self) -> bool:
        """Whether a whole frame waits, or what can never become one."""
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
                self._give_up("the login shell prints without end where the helper should answer")
            return b""
        self._marked = True
        rest = bytes(self._chatter[at + len(MARKER) :])
        self._chatter.clear()
        return rest

    def _give_up(self, fault: str) -> None:
        """Nothing of it counts any more; the link is closed by whoever waits for its end."""
        self.fault = fault
        self._arrived.set()

    def close(self) -> None:
        """Take no more frames."""
        self._taking.cancel()


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
            raise DialError(f"{node.name}: no session in {START_S:.0f} s", blocked=False) from error
        finally:
            if not made:
                session.close()
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
            raise NodeError(f"{name}: {text[:SAID_CHARS]}", kind=kind[:80] or "os", node=name, hint=hint[:SAID_CHARS])
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
        """Whether it was given up for what it said: it is not waited for then."""
        return bool(self._session.fault)

    async def close(self) -> None:
        """End the helper by ending its stdin, and see the channel closed."""
        if not self.ended:
            try:
                self._channel.write_eof()
            except OSError:
                self._channel.abort()
            if not await self.wait_ended(CLOSE_S):
                self._channel.abort()
        self._session.close()


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
        hint="log in by hand and run the node's `python`; a forced command or shell may be in the way",
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


def _quoted(text: str) -> str:
    return f"it printed: {_last_line(text)}" if text.strip() else ""
