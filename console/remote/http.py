"""Single HTTP requests to the servers of a node, sent by its helper.

A server that does not answer gives an answer with an `error`, not an exception.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from console.model.errors import LinkLost, NodeError, Unreachable
from console.model.polling import METRICS
from console.node.frames import Header
from console.node.http_exchange import MAX_BODY
from console.node.questions import BODY, FIGURES
from console.probes.metrics import Scrape
from console.remote import answer_decoding
from console.remote.frame_decoding import WireError

Hear = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer of a server. `status` is 0 without an answer; `error` is the reason, or says that the body is incomplete."""

    status: int
    body: bytes
    took_s: float
    """As the node measured it."""
    error: str = ""
    asked: bool = True
    """Whether the node could send the request and told how it ended; otherwise nothing is known about the server."""


class AskingLink(Protocol):
    """The link to the helper of a node."""

    async def ask_server(
        self, fields: Mapping[str, object], body: bytes, timeout_s: float, hear: Hear | None
    ) -> tuple[Header, bytes]:
        """Send one request. Raises ConsoleError when the link does not carry it."""


class EngineHttp:
    """HTTP requests to the servers of one node."""

    def __init__(self, link: AskingLink, api_key: str = "", *, tls: bool = False, uds: str = "") -> None:
        """`api_key` is sent as Bearer with every request. `uds` replaces host and port by a socket of the node."""
        self._link = link
        self._own = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._way = {"tls": tls, "uds": uds}

    async def get(self, host: str, port: int, path: str, timeout_s: float) -> HttpAnswer:
        """Send a GET; `timeout_s` limits the whole request, from the connection to the last byte."""
        return await self._answer("GET", host, port, path, timeout_s)

    async def connect(self, host: str, port: int, timeout_s: float) -> HttpAnswer:
        """Open and close a connection without a request. The answer has no status, and no error when the port accepted it."""
        return await self._answer("", host, port, "/", timeout_s)

    async def post_json(
        self,
        host: str,
        port: int,
        path: str,
        value: object,
        timeout_s: float,
        hear: Hear | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """POST a JSON body; `hear` gets the bytes of the answer as they arrive."""
        body = json.dumps(value).encode("utf-8")
        fields = {"Content-Type": "application/json", **(headers or {})}
        return await self._answer("POST", host, port, path, timeout_s, body, fields, hear)

    async def metrics(self, host: str, port: int, timeout_s: float) -> Scrape:
        """The figures of `/metrics`, read on the node; its `error` is why there are none."""
        answer, header = await self._send("GET", host, port, METRICS, timeout_s, want=FIGURES)
        if answer.error or answer.status != 200:
            return Scrape(time.time(), error=answer.error or f"{METRICS} {answer.status}")
        try:
            found = answer_decoding.figures(header)
        except WireError as error:
            return Scrape(time.time(), error=f"the node sent invalid figures: {error}")
        return Scrape(time.time(), found.engines, found.model, found.error)

    async def _answer(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        timeout_s: float,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        hear: Hear | None = None,
    ) -> HttpAnswer:
        taken = bytearray()

        def take(piece: bytes) -> None:
            taken.extend(piece)
            if hear is not None:
                hear(piece)

        stream = take if hear is not None else None
        answer, _ = await self._send(method, host, port, path, timeout_s, body=body, headers=headers, hear=stream)
        return HttpAnswer(answer.status, bytes(taken), answer.took_s, answer.error, answer.asked) if taken else answer

    async def _send(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        timeout_s: float,
        *,
        want: str = BODY,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        hear: Hear | None = None,
    ) -> tuple[HttpAnswer, JsonValue]:
        """The answer, and the figures when they are wanted; `hear` gets the body instead of the answer."""
        fields: dict[str, object] = {
            **self._way,
            "method": method,
            "host": host,
            "port": port,
            "path": path,
            "headers": [[name, value] for name, value in {**self._own, **(headers or {})}.items()],
            "timeout_s": timeout_s,
            "want": want,
            "stream": hear is not None,
        }
        began = time.monotonic()
        try:
            header, payload = await self._link.ask_server(fields, body, timeout_s, hear)
            said = answer_decoding.answer(header)
        except (LinkLost, NodeError, Unreachable, WireError) as error:
            return HttpAnswer(0, b"", time.monotonic() - began, _reason(error), asked=False), None
        return HttpAnswer(said.status, payload[:MAX_BODY], said.took_s, said.error), said.said


def _reason(error: Exception) -> str:
    if isinstance(error, LinkLost):
        return "the link to the node was lost meanwhile"
    return "the node is not connected" if isinstance(error, Unreachable) else str(error)
