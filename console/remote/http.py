"""HTTP to engines, over the SSH connection of their node or directly from this machine.

An engine that does not answer gives an answer with an `error`, not an exception.
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
"""Largest accepted body in bytes; /metrics of a large engine has a few hundred KiB."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer of a server. `status` is 0 without an answer; `error` is the reason, or says that the body is incomplete."""

    status: int
    body: bytes
    took_s: float
    error: str = ""
    asked: bool = True
    """Whether the request reached the other machine; otherwise nothing is known about the engine."""


class Tunnel(Protocol):
    """The source of SSH channels."""

    def connection(self) -> asyncssh.SSHClientConnection | None:
        """The connection to the node, or None."""


class AsyncHttp:
    """HTTP requests to one node. No connection stays open between requests, so that the end of an engine is noticed at once."""

    def __init__(self, tunnel: Tunnel | None, api_key: str = "") -> None:
        """`api_key` is sent as Bearer with every request."""
        self._own = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._backend: httpcore.AsyncNetworkBackend = SshBackend(tunnel) if tunnel else httpcore.AnyIOBackend()

    async def get(self, host: str, port: int, path: str, timeout_s: float) -> HttpAnswer:
        """Send a GET; `timeout_s` limits the whole request, from the connection to the last byte."""
        return await self.request("GET", host, port, path, timeout_s)

    async def connect(self, host: str, port: int, timeout_s: float) -> HttpAnswer:
        """Open and close a connection without a request. The answer has no status, and no error when the port accepted it."""
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
        """POST a JSON body; `hear` gets the bytes of the answer as they arrive."""
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
        """Send one request and read the whole answer; `hear` gets its bytes as they arrive.

        Never raises for errors of the network or the server.
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
                        error = f"the body is larger than {MAX_BODY} bytes"
                        break
        except (TimeoutError, httpcore.TimeoutException):
            error = (
                f"no answer within {timeout_s:g} s"
                if not status
                else f"the answer was not complete within {timeout_s:g} s"
            )
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
        """Status and body in pieces, for streamed completions; `timeout_s` limits each wait. Raises errors of httpcore."""
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
    """The node is not connected, or its sshd refuses a channel to the port."""


class SshBackend(httpcore.AsyncNetworkBackend):
    """Opens direct-tcpip channels instead of TCP connections for httpcore; they do not count as sessions in sshd."""

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
        """Open a channel to `host:port` from the node."""
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
    """One channel as a stream of httpcore."""

    def __init__(self, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes; none at the end."""
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout("no answer") from error
        except (asyncssh.Error, OSError) as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes."""
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except TimeoutError as error:
            raise httpcore.WriteTimeout("the server accepts no data") from error
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
