"""A chat server with known delays, for tests and benchmarks of the load generator; also a program that prints its port.

The model's name says how it behaves: see `MANNERS`. Each request's own times are kept in `stamps`, on the monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Write = Callable[[bytes], None]


@dataclass
class SlowServer:
    """Answers every request with `tokens` pieces: the first after `ttft_s`, each further `itl_s` later."""

    ttft_s: float = 0.05
    itl_s: float = 0.01
    tokens: int = 5
    slots: int = 0
    """How many requests are served at once; 0 for any number."""
    port: int = 0
    stamps: list[tuple[float, ...]] = field(default_factory=list)
    """(arrival, each piece) of every whole answer."""
    connections: int = 0
    most_at_once: int = 0
    _now: int = 0

    async def start(self) -> SlowServer:
        """Listen on loopback."""
        self._gate = asyncio.Semaphore(self.slots or 1_000_000)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                arrived = time.monotonic()
                body = json.loads(await reader.readexactly(length))
                manner = MANNERS.get(str(body.get("model")), _answer)
                self._now += 1
                self.most_at_once = max(self.most_at_once, self._now)
                try:
                    async with self._gate:
                        await manner(self, writer.write, arrived)
                finally:
                    self._now -= 1
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, EOFError):
            return
        finally:
            writer.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(value: object) -> bytes:
    return _chunk(b"data: " + json.dumps(value).encode() + b"\n\n")


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


async def _answer(server: SlowServer, write: Write, arrived: float, *, text: str = "word ", usage: bool = True) -> None:
    write(HEAD)
    begun = time.monotonic()
    times = [arrived]
    for index in range(server.tokens):
        await asyncio.sleep(max(0.0, begun + server.ttft_s + index * server.itl_s - time.monotonic()))
        times.append(time.monotonic())
        write(_event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}))
    if usage:
        counts = {"prompt_tokens": 7, "completion_tokens": server.tokens if text else 0}
        write(_event({"choices": [], "usage": counts}))
    write(END)
    server.stamps.append(tuple(times))


async def _without_usage(server: SlowServer, write: Write, arrived: float) -> None:
    await _answer(server, write, arrived, usage=False)


async def _wordless(server: SlowServer, write: Write, arrived: float) -> None:
    await _answer(server, write, arrived, text="")


async def _empty(server: SlowServer, write: Write, arrived: float) -> None:
    write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")


async def _refused(server: SlowServer, write: Write, arrived: float) -> None:
    body = json.dumps({"error": {"message": "The model `refused` does not exist.", "code": 404}}).encode()
    write(b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def _failing(server: SlowServer, write: Write, arrived: float) -> None:
    write(HEAD + _event({"error": {"message": "EngineCore encountered an issue.", "code": 500}}) + END)


async def _aborted(server: SlowServer, write: Write, arrived: float) -> None:
    write(HEAD + _event({"choices": [{"delta": {"content": "x"}, "finish_reason": "abort"}]}) + END)


async def _failing_flat(server: SlowServer, write: Write, arrived: float) -> None:
    begun = _event({"choices": [{"delta": {"content": "x"}}], "error": None})
    write(HEAD + begun + _event({"object": "error", "message": "EngineCore encountered an issue."}) + END)


async def _no_done(server: SlowServer, write: Write, arrived: float) -> None:
    write(HEAD + _event({"choices": [{"delta": {"content": "x"}}]}) + b"0\r\n\r\n")


async def _cut(server: SlowServer, write: Write, arrived: float) -> None:
    write(HEAD + _event({"choices": [{"delta": {"content": "x"}}]}))
    raise EOFError


async def _rubbish(server: SlowServer, write: Write, arrived: float) -> None:
    write(HEAD + _chunk(b"data: {not json\n\n") + END)


async def _silent(server: SlowServer, write: Write, arrived: float) -> None:
    write(HEAD)
    await asyncio.Event().wait()


async def _no_http(server: SlowServer, write: Write, arrived: float) -> None:
    write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def _split(server: SlowServer, write: Write, arrived: float) -> None:
    """One event in many chunks, several events in one chunk, a comment, and CRLF line ends."""
    one = b'data: {"choices": [{"delta": {"content": "a\xc3\xa9"}}]}\r\n\r\n'
    write(HEAD + b"".join(_chunk(one[index : index + 3]) for index in range(0, len(one), 3)))
    write(_chunk(b": ping\n\n" + one * 2))
    write(_event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}) + END)


MANNERS: dict[str, Callable[[SlowServer, Write, float], Awaitable[None]]] = {
    "without-usage": _without_usage,
    "wordless": _wordless,
    "empty": _empty,
    "refused": _refused,
    "failing": _failing,
    "failing-flat": _failing_flat,
    "aborted": _aborted,
    "no-done": _no_done,
    "cut": _cut,
    "rubbish": _rubbish,
    "silent": _silent,
    "no-http": _no_http,
    "split": _split,
}


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ttft", type=float, default=0.05)
    parser.add_argument("--itl", type=float, default=0.01)
    parser.add_argument("--tokens", type=int, default=5)
    parser.add_argument("--slots", type=int, default=0)
    args = parser.parse_args()
    server = await SlowServer(args.ttft, args.itl, args.tokens, args.slots).start()
    print(server.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(server.stamps), flush=True)
    server.close()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_main())
