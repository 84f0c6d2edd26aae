"""A small HTTP/1.1 server and client on asyncio streams for the simulated programs; it looks like uvicorn from
outside. No routes are known here."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

from console.demo.json_types import JsonValue

LARGEST_BODY = 32 << 20


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: tuple[str, int]

    def json(self) -> JsonValue:
        """The body; ValueError when it is not JSON."""
        value: JsonValue = json.loads(self.body)
        return value


@dataclass(slots=True)
class HttpResponse:
    """One answer: a body, or pieces sent as chunks."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    pieces: AsyncGenerator[bytes, None] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """`200 OK`."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def answer(value: JsonValue, status: int = 200) -> HttpResponse:
    """A JSON answer as FastAPI writes it."""
    return HttpResponse(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


Respond = Callable[[HttpRequest], Awaitable[HttpResponse]]
Seen = Callable[[HttpRequest, HttpResponse], None]


class HttpServer:
    """Serves connections of listening sockets until closed."""

    def __init__(self, respond: Respond, seen: Seen) -> None:
        self._respond = respond
        self._seen = seen
        self._servers: list[asyncio.Server] = []
        self._busy: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()

    def stop_listening(self) -> None:
        """Refuse new connections; running requests go on."""
        for server in self._servers:
            server.close()

    async def listen(self, *, sock: socket.socket | None = None, host: str = "", port: int = 0) -> None:
        """Accept on a bound socket, or on an address."""
        if sock is not None:
            server = await asyncio.start_server(self._connection, sock=sock, backlog=2048)
        else:
            server = await asyncio.start_server(self._connection, host, port, backlog=2048)
        self._servers.append(server)

    async def drain(self, timeout_s: float) -> None:
        """Wait for running requests, then drop every connection."""
        if self._busy:
            await asyncio.wait(self._busy, timeout=timeout_s)
        for writer in list(self._open):
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (request := await _read_request(reader, writer)) is not None:
                task = asyncio.ensure_future(self._answer(request, writer))
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)
                await task
                if request.headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, EOFError, ValueError):
            return  # the client closed the connection, or does not speak HTTP
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, request: HttpRequest, writer: asyncio.StreamWriter) -> None:
        response = await self._respond(request)
        lines = [f"HTTP/1.1 {response.words}", f"date: {formatdate(usegmt=True)}", "server: uvicorn"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        if response.pieces is None:
            lines.append(f"content-length: {len(response.body)}")
        if response.kind and (response.body or response.pieces is not None):
            lines.append(f"content-type: {response.kind}")
        if response.pieces is not None:
            lines.append("transfer-encoding: chunked")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        self._seen(request, response)
        if response.pieces is None:
            writer.write(response.body if request.method != "HEAD" else b"")
            await writer.drain()
            return
        try:
            async for piece in response.pieces:
                if piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
        finally:  # when a client disconnects, end the work for it now, not at the next garbage collection
            await response.pieces.aclose()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpRequest | None:
    """The next request; None when the connection ended between two."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = _headers(lines)
    body = await _read_body(reader, headers)
    peer = writer.get_extra_info("peername") or ("", 0)
    return HttpRequest(method, path, headers, body, (peer[0], peer[1]))


def _headers(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
    return found


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return b"".join([piece async for piece in _chunks(reader)])
    length = int(headers.get("content-length", "0"))
    if length > LARGEST_BODY:
        raise ValueError("body too large")
    return await reader.readexactly(length) if length else b""


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        line = await reader.readline()
        if not line:
            raise EOFError("the answer was cut")
        size = int(line.split(b";")[0].strip(), 16)
        piece = await reader.readexactly(size)
        await reader.readline()
        if not size:
            return
        yield piece


@dataclass(slots=True)
class Fetched:
    """An answer to a request of ours; read `pieces` to its end."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncGenerator[bytes, None]


async def fetch(
    host: str, port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Fetched:
    """Send one request on its own connection. Raises OSError without an answer, EOFError when the answer is cut."""
    reader, writer = await asyncio.open_connection(host, port)
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}:{port}", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    try:
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (EOFError, OSError):
        writer.close()
        raise
    found = _headers(head[1:])

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            if found.get("transfer-encoding", "").lower() == "chunked":
                async for piece in _chunks(reader):
                    yield piece
            elif "content-length" in found:
                yield await reader.readexactly(int(found["content-length"]))
            else:
                yield await reader.read()
        finally:
            writer.close()

    return Fetched(int(head[0].split(" ")[1]), found, pieces())
