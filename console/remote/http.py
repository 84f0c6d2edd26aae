"""HTTP to engines, through the SSH connection of their node or straight from this machine.

Answers are data: an engine that does not answer is an answer with an `error`. What a body means does not enter here.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import asyncssh
import httpcore

MAX_BODY = 4 * 1024 * 1024
"""Largest body taken, in bytes; /metrics of a large engine is a few hundred KiB."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back. `status` is 0 when nothing did; `error` says why, or that the body was cut."""

    status: int
    body: bytes
    took_s: float
    error: str = ""
    asked: bool = True
    """Whether the request got as far as the other machine: where not, its silence says nothing about the engine."""


class Tunnel(Protocol):
    """Where channels through SSH come from; None while the link is down."""

    def connection(self) -> asyncssh.SSHClientConnection | None:
        """The connection of the node, when it is up."""


class AsyncHttp:
    """HTTP clients of one node. Nothing is kept open between requests: an engine that dies must be noticed at once."""

    def __init__(self, tunnel: Tunnel | None, api_key: str = "") -> None:
        """`api_key` is sent as Bearer with every request."""
        self._own = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._backend: httpcore.AsyncNetworkBackend = SshBackend(tunnel) if tunnel else httpcore.AnyIOBackend()

    async def get(self, host: str, port: int, path: str, timeout_s: float) -> HttpAnswer:
        """GET; the time limit (seconds) covers everything from connecting to the last byte."""
        return await self.request("GET", host, port, path, timeout_s)

    async def connect(self, host: str, port: int, timeout_s: float) -> HttpAnswer:
        """Open a connection and close it again; nothing is sent. The answer has no status, and no error when it was taken."""
        began, error, asked = time.monotonic(), "", True
        try:
            stream = await self._backend.connect_tcp(host, port, timeout_s)
            await stream.aclose()
        except NoRoute as failure:
            error, asked = str(failure), False
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError) as failure:
            error = str(failure) or type(failure).__name__
        return HttpAnswer(0, b"", time.monotonic() - began, error, asked)

    async def post_json(
        self,
        host: str,
        port: int,
        path: str,
        value: object,
        timeout_s: float,
        hear: Callable[[bytes], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """POST a JSON body; `hear` is given the bytes of the answer as they come."""
        body = json.dumps(value).encode("utf-8")
        fields = {"Content-Type": "application/json", **(headers or {})}
        return await self.request("POST", host, port, path, timeout_s, body, fields, hear)

    async def request(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        timeout_s: float,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        hear: Callable[[bytes], None] | None = None,
    ) -> HttpAnswer:
        """One request, its whole answer; `hear` is given its bytes as they come.

        Never raises for what the network or the other side does.
        """
        began = time.monotonic()
        taken = bytearray()
        status = 0
        error = ""
        asked = True
        try:
            async with (
                asyncio.timeout(timeout_s),
                self.stream(method, host, port, path, timeout_s, body, headers) as (code, chunks),
            ):
                status = code
                async for chunk in chunks:
                    taken += chunk
                    if hear is not None:
                        hear(chunk)
                    if len(taken) > MAX_BODY:
                        error = f"the body was cut at {MAX_BODY} bytes"
                        break
        except (TimeoutError, httpcore.TimeoutException):
            error = f"no answer in {timeout_s:g} s" if not status else f"the answer was not complete in {timeout_s:g} s"
        except NoRoute as failure:
            error, asked = str(failure), False
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as failure:
            error = str(failure) or type(failure).__name__
        return HttpAnswer(status, bytes(taken[:MAX_BODY]), time.monotonic() - began, error, asked)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        timeout_s: float,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Status and body as it comes, for streamed completions; `timeout_s` limits each wait. Raises httpcore's errors."""
        name = f"[{host}]" if ":" in host else host
        fields: dict[bytes | str, bytes | str] = {"Host": f"{name}:{port}", "User-Agent": "dsv4-console"}
        fields.update({**self._own, **(headers or {})})
        limits = dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)
        async with (
            httpcore.AsyncConnectionPool(network_backend=self._backend, max_keepalive_connections=0) as pool,
            pool.stream(
                method,
                f"http://{name}:{port}{path}",
                headers=fields,
                content=body or None,
                extensions={"timeout": limits},
            ) as response,
        ):
            yield response.status, response.aiter_stream()


class NoRoute(httpcore.ConnectError):
    """No way to the node: not connected, or its sshd opens no channel to the port."""


class SshBackend(httpcore.AsyncNetworkBackend):
    """Opens direct-tcpip channels where httpcore wants TCP connections; they do not count as sessions in sshd."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A channel to `host:port` as the node sees it."""
        connection = self._tunnel.connection()
        if connection is None:
            raise NoRoute("the node is not connected")
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await connection.open_connection(host, port, encoding=None)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection to {host}:{port} in {timeout:g} s") from error
        except asyncssh.ChannelOpenError as error:
            raise _refused(host, port, error) from error
        except (asyncssh.Error, OSError) as error:
            raise NoRoute(str(error) or type(error).__name__) from error
        return SshStream(reader, writer)


class SshStream(httpcore.AsyncNetworkStream):
    """One channel as httpcore's stream."""

    def __init__(self, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes; none at the end."""
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout("no answer") from error
        except (asyncssh.Error, OSError) as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it."""
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except TimeoutError as error:
            raise httpcore.WriteTimeout("the other side takes nothing") from error
        except (asyncssh.Error, OSError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close the channel; the node needs not agree."""
        self._writer.channel.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Engines speak plain HTTP."""
        raise httpcore.ConnectError("no TLS through the tunnel")

    def get_extra_info(self, info: str) -> Any:
        """httpcore asks whether the connection still reads; unknown to us."""
        return None


def _refused(host: str, port: int, error: asyncssh.ChannelOpenError) -> httpcore.ConnectError:
    """Why a channel was not opened: by the port, which answered for the engine, or by sshd itself."""
    if error.code == asyncssh.OPEN_CONNECT_FAILED:
        return httpcore.ConnectError(f"connection to {host}:{port} refused ({error.reason})")
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return NoRoute("the node's sshd refuses port forwarding")
    return NoRoute(f"the node's sshd opens no channel ({error.reason})")
