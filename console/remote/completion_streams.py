"""Streamed completions of one server, many at the same time, with the arrival of each piece, for the built-in load generator.

It is a small HTTP/1.1 client with persistent connections, direct or over the SSH connection of a node: a general client would
be too slow for hundreds of requests per second.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import asyncssh
from pydantic import JsonValue

MAX_LINE = 1024 * 1024
"""Longest line or chunk that is accepted; a streamed piece has a few hundred bytes."""
MAX_ERROR = 4096
IDLE_S = 2.0
"""How long an unused connection stays open; vLLM closes it after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE)."""
FORBIDDEN = "the node's sshd refuses port forwarding, which the load of this machine needs"


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """One answer; times are `time.monotonic` seconds."""

    sent_at: float
    """Time before the request was written; the connection was open then."""
    pieces: tuple[float, ...] = ()
    """Arrival of each streamed choice."""
    characters: int = 0
    """Length of the text of all pieces, reasoning included."""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    status: int = 0
    error: str = ""
    """Why the answer is not usable; empty for a good answer."""


class _Broken(Exception):
    """The server sent invalid HTTP, or an incomplete answer."""


class Tunnel(Protocol):
    """The source of SSH channels."""

    def connection(self) -> asyncssh.SSHClientConnection | None:
        """The connection to the node, or None."""


class _Connection(NamedTuple):
    reader: asyncio.StreamReader | asyncssh.SSHReader[bytes]
    writer: asyncio.StreamWriter | asyncssh.SSHWriter[bytes]

    def close(self) -> None:
        self.writer.close()


class Streams:
    """A server's chat endpoint. Connections are kept between requests until `close`."""

    def __init__(self, host: str, port: int, tunnel: Tunnel | None = None, *, connect_s: float = 10.0) -> None:
        self._host = host
        self._port = port
        self._tunnel = tunnel
        self._connect_s = connect_s
        self._idle: list[tuple[_Connection, float]] = []
        self._open: set[_Connection] = set()

    def close(self) -> None:
        """Close all connections, also those in use."""
        for connection in tuple(self._open):
            connection.close()
        self._open.clear()
        self._idle.clear()

    async def chat(self, body: Mapping[str, JsonValue], timeout_s: float, api_key: str = "") -> StreamedAnswer:
        """POST a streaming chat request; `timeout_s` limits the whole request. Never raises for errors of network or server."""
        taken = _Taken()
        try:
            async with asyncio.timeout(timeout_s):
                await self._ask(json.dumps(body).encode("utf-8"), api_key, taken)
        except TimeoutError:
            taken.error = f"the answer was not complete within {timeout_s:g} s"
        except (OSError, asyncssh.Error, _Broken, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            taken.error = _reason(error)
        return taken.answer()

    async def _ask(self, body: bytes, api_key: str, taken: _Taken) -> None:
        async with self._connection() as connection:
            name = f"[{self._host}]" if ":" in self._host else self._host
            key = f"Authorization: Bearer {api_key}\r\n" if api_key else ""
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: {name}:{self._port}\r\nUser-Agent: dsv4-console\r\n"
                f"Content-Type: application/json\r\nAccept: text/event-stream\r\n{key}Content-Length: {len(body)}\r\n\r\n"
            )
            taken.sent_at = time.monotonic()
            connection.writer.write(head.encode("ascii") + body)
            status, headers = await _head(connection)
            taken.status = status
            async for data in _body(connection, headers):
                if status == 200:
                    taken.take(data)
                elif len(taken.refusal) < MAX_ERROR:
                    taken.refusal += data

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        """An idle connection or a new one; it stays open when its answer was read completely."""
        while self._idle:
            connection, since = self._idle.pop()
            fresh = time.monotonic() - since < IDLE_S
            if fresh and not connection.reader.at_eof() and not connection.writer.is_closing():
                break
            self._drop(connection)
        else:
            async with asyncio.timeout(self._connect_s):
                connection = await self._dial()
            self._open.add(connection)
        kept = False
        try:
            yield connection
            kept = True
        finally:
            if kept and connection in self._open:
                self._idle.append((connection, time.monotonic()))
            else:
                self._drop(connection)

    async def _dial(self) -> _Connection:
        if self._tunnel is None:
            return _Connection(*await asyncio.open_connection(self._host, self._port, limit=MAX_LINE))
        link = self._tunnel.connection()
        if link is None:
            raise _Broken("the node is not connected")
        return _Connection(*await link.open_connection(self._host, self._port, encoding=None))

    def _drop(self, connection: _Connection) -> None:
        self._open.discard(connection)
        connection.close()


_CUT_SHORT = ("abort", "error")
"""Reasons with which an engine ends an unanswered request (vLLM 0.21, v1/engine)."""


class _Taken:
    """The received part of one answer."""

    def __init__(self) -> None:
        self.sent_at = time.monotonic()
        self.status = 0
        self.refusal = b""
        self.error = ""
        self._pieces: list[float] = []
        self._characters = 0
        self._usage: tuple[int | None, int | None] = (None, None)
        self._rest = b""
        self._done = False

    def take(self, data: bytes) -> None:
        """Read bytes of the body of a good answer, in pieces of any size."""
        now = time.monotonic()
        *events, self._rest = (self._rest + data.replace(b"\r\n", b"\n")).split(b"\n\n")
        for event in events:
            for line in event.split(b"\n"):
                if line.startswith(b"data:"):
                    self._event(line[5:].strip(), now)

    def _event(self, data: bytes, now: float) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise _Broken("the stream contains invalid JSON") from None
        if not isinstance(event, dict):
            raise _Broken("the stream contains an invalid event")
        if event.get("error") or event.get("object") == "error":
            raise _Broken(f"the server reports in the stream: {_message(event)}")
        choices, usage = event.get("choices"), event.get("usage")
        if isinstance(choices, list) and choices:
            self._pieces.append(now)
            self._characters += _text_length(choices[0])
            ended = choices[0].get("finish_reason") if isinstance(choices[0], dict) else None
            if ended in _CUT_SHORT:
                raise _Broken(f"the server ended the request with {ended}")
        if isinstance(usage, dict):
            self._usage = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))

    def answer(self) -> StreamedAnswer:
        """The answer so far."""
        return StreamedAnswer(
            self.sent_at,
            tuple(self._pieces),
            self._characters,
            self._usage[0],
            self._usage[1],
            self.status,
            self.error or self._fault(),
        )

    def _fault(self) -> str:
        if self.status != 200:
            return f"HTTP {self.status}: {_message(self.refusal)}"
        if not self._pieces:
            return "HTTP 200 with an empty body"
        return "" if self._done else f"the stream ended after {len(self._pieces)} pieces without [DONE]"


async def _head(connection: _Connection) -> tuple[int, dict[str, str]]:
    head = await connection.reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise _Broken(f"not HTTP: {first[:80]!r}")
    pairs = (line.partition(":") for line in lines if line)
    return int(words[1]), {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


async def _body(connection: _Connection, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    """The body in pieces as they arrive; afterwards the connection is at its end, or closed when only that ends the body."""
    reader = connection.reader
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := _hex(await reader.readuntil(b"\n")):
            data = await reader.readexactly(size + 2)
            yield data[:-2]
        while (await reader.readuntil(b"\n")).strip():
            pass
    elif (length := headers.get("content-length", "")).isdecimal():
        left = int(length)
        while left and (data := await reader.read(min(left, 65536))):
            left -= len(data)
            yield data
        if left:
            raise _Broken(f"the answer is incomplete, {left} bytes are missing")
    else:
        while data := await reader.read(65536):
            yield data
    if headers.get("connection") == "close":
        connection.close()


def _hex(line: bytes) -> int:
    try:
        size = int(line.split(b";")[0].strip(), 16)
    except ValueError:
        raise _Broken("the chunks of the answer are malformed") from None
    if not 0 <= size <= MAX_LINE:
        raise _Broken(f"a chunk has {size} bytes, which is too large")
    return size


def _text_length(choice: JsonValue) -> int:
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict):
        return 0
    texts = (delta.get(name) for name in ("content", "reasoning_content", "reasoning"))
    return sum(len(text) for text in texts if isinstance(text, str))


def _count(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _message(body: JsonValue | bytes) -> str:
    """The message of an error body in any format, as one short line."""
    value: JsonValue = None
    if isinstance(body, bytes):
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = body.decode("utf-8", "replace")
    else:
        value = body
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return " ".join(str(value or "no words").split())[:300]


def _reason(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "the connection ended in the middle of the answer"
    if isinstance(error, asyncssh.ChannelOpenError) and error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return FORBIDDEN
    if isinstance(error, asyncssh.ChannelOpenError):
        return f"connection refused ({error.reason})"
    return str(error) or type(error).__name__
