"""The example proxies of vllm-ascend v0.21.0rc1, simulated: prefill first, then a stream from a decode engine; or
plain data-parallel spreading.

They have the faults of the real proxies: they probe nothing; a dead decoder gives 200 with an empty body, other errors a 500.
An engine that is removed under load is isolated until no request runs at all, and cannot be added again before that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from console.demo.http import Fetched, HttpRequest, HttpResponse, HttpServer, answer, fetch
from console.demo.json_types import JsonValue
from console.demo.tools.demo_node import DemoNode

PREFILL_ASK: Final[dict[str, JsonValue]] = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}


@dataclass(slots=True)
class Instance:
    """One engine in the list of the proxy."""

    host: str
    port: int
    load: int = 0
    tainted: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class Pools:
    """The engines by their role."""

    prefill: list[Instance] = field(default_factory=list)
    decode: list[Instance] = field(default_factory=list)
    waiting: dict[str, tuple[str, Instance, int]] = field(default_factory=dict)
    """Asked for but not yet seen alive: name → kind, engine, looks so far."""
    requests: int = 0

    def of(self, kind: str) -> list[Instance]:
        """The engines of one kind."""
        return self.prefill if kind == "prefill" else self.decode

    def pick(self, kind: str) -> Instance:
        """The engine with the least load; an isolated one only when there is no other. Raises IndexError when there is none."""
        able = self.of(kind)
        if not able:
            raise IndexError(f"no {kind} instance")
        chosen = min(able, key=lambda each: (each.tainted, each.load))
        chosen.load += 1
        return chosen

    def sweep(self) -> None:
        """Remove isolated instances when the whole proxy is idle."""
        if self.requests == 0:
            self.prefill[:] = [each for each in self.prefill if not each.tainted]
            self.decode[:] = [each for each in self.decode if not each.tainted]


class Proxy:
    """One proxy process; `plain` is the data-parallel one without prefill."""

    def __init__(self, name: str, args: argparse.Namespace, node: DemoNode) -> None:
        self._name = name
        self._args = args
        self._node = node
        self._plain = name.startswith("dp_")
        self._layerwise = "layerwise" in name
        self._pools = Pools()
        if self._plain:
            self._pools.decode = _instances(args.dp_hosts, args.dp_ports)
        else:
            self._pools.prefill = _instances(args.prefiller_hosts, args.prefiller_ports)
            self._pools.decode = _instances(args.decoder_hosts, args.decoder_ports)

    def _print(self, text: str) -> None:
        os.write(1, f"{text}\n".encode())

    def _log(self, level: str, text: str) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)) + f",{int(now % 1 * 1000):03d}"
        self._print(f"{stamp} {level} [{self._name.removesuffix('.py')}] {text}")

    async def run(self) -> int:
        """Serve until TERM (143) or INT (0); 3 when the port is taken (captured)."""
        host, port = self._args.host, self._args.port
        bound = self._node.address if host in ("0.0.0.0", "localhost", "127.0.0.1") else host
        self._print(f"INFO:     Started server process [{os.getpid()}]")
        self._print("INFO:     Waiting for application startup.")
        if self._plain:
            self._print(f"Initialized {len(self._pools.decode)} dp server clients.")
        else:
            counts = f"{len(self._pools.prefill)} prefill clients and {len(self._pools.decode)} decode clients"
            self._log("INFO", f"Initialized {counts} in worker {os.getpid()}.")
        self._print("INFO:     Application startup complete.")
        server = HttpServer(self._respond, self._seen)
        try:
            await server.listen(host=bound, port=port)
        except OSError as error:
            said = (
                f"[Errno {error.errno}] error while attempting to bind on address ('{host}', {port}): address"
                " already in use"
            )
            self._print(f"ERROR:    {said}")
            self._print("INFO:     Waiting for application shutdown.\nINFO:     Application shutdown complete.")
            return 3
        self._print(f"INFO:     Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)")
        listening = asyncio.create_task(self._listen()) if not self._plain and not self._layerwise else None
        number = await _signalled()
        if listening is not None:
            listening.cancel()
        server.stop_listening()
        self._print("INFO:     Shutting down")
        await server.drain(2.0)
        self._print("INFO:     Waiting for application shutdown.\nINFO:     Application shutdown complete.")
        self._print(f"INFO:     Finished server process [{os.getpid()}]")
        return 143 if number == signal.SIGTERM else 0

    def _seen(self, request: HttpRequest, response: HttpResponse) -> None:
        line = f"{request.method} {request.path} HTTP/1.1"
        self._print(f'INFO:     {request.peer[0]}:{request.peer[1]} - "{line}" {response.words}')

    async def _respond(self, request: HttpRequest) -> HttpResponse:
        path = request.path.partition("?")[0]
        routes = {"/v1/completions": "POST", "/v1/chat/completions": "POST", "/healthcheck": "GET"}
        if not self._plain:
            routes |= {"/reset_prefix_cache": "POST"}
            routes |= {} if self._layerwise else {"/instances/add": "POST", "/instances/remove": "POST"}
        if path not in routes:
            return answer({"detail": "Not Found"}, 404)
        if request.method != routes[path]:
            response = answer({"detail": "Method Not Allowed"}, 405)
            response.headers = {"allow": routes[path]}
            return response
        try:
            if path.startswith("/v1/"):
                return await self._forward(path, request)
            if path == "/healthcheck":
                return answer(self._health())
            if path == "/reset_prefix_cache":
                return answer({})
            return answer(self._change(path.rpartition("/")[2], request))
        except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
            self._print(
                f"Error occurred in {self._name.removesuffix('.py')} - {path} endpoint\n{type(error).__name__}: {error}"
            )
            return HttpResponse(500, b"Internal Server Error", "text/plain; charset=utf-8")

    def _health(self) -> JsonValue:
        """Counts what is configured; probes nothing."""
        if self._plain:
            return {"status": "ok", "dp_instances": len(self._pools.decode)}
        counts: dict[str, JsonValue] = {
            "status": "ok",
            "prefill_instances": len(self._pools.prefill),
            "decode_instances": len(self._pools.decode),
        }
        return counts if self._layerwise else {**counts, "request_num": self._pools.requests}

    async def _forward(self, path: str, request: HttpRequest) -> HttpResponse:
        body = request.json()
        if not isinstance(body, dict):
            raise TypeError("the body is no JSON object")
        if not self._plain:
            body = {**body, "kv_transfer_params": await self._prefill(path, body)}
        decoder = self._pools.pick("decode")
        kind = "text/event-stream; charset=utf-8" if body.get("stream") and not self._plain else "application/json"
        return HttpResponse(200, kind=kind, pieces=self._decode(path, body, decoder))

    async def _prefill(self, path: str, body: Mapping[str, JsonValue]) -> JsonValue:
        chosen = self._pools.pick("prefill")
        self._pools.requests += 1
        try:
            ask = {**body, "max_tokens": 1, "min_tokens": 1, "stream": False, "kv_transfer_params": PREFILL_ASK}
            ask.pop("stream_options", None)
            got = await self._upstream(chosen, path, ask)
            data = json.loads(b"".join([piece async for piece in got.pieces]))
            if got.status != 200:
                raise ValueError(f"Server error '{got.status}' for url 'http://{chosen}{path}'")
            params: JsonValue = data.get("kv_transfer_params")
            return params
        finally:
            chosen.load -= 1
            self._pools.requests -= 1

    async def _upstream(self, instance: Instance, path: str, body: Mapping[str, JsonValue]) -> Fetched:
        """Send a request, again as often as the flags say; raises the last error."""
        data = json.dumps(body).encode()
        headers = {"content-type": "application/json", **_shown()}
        short = path.removeprefix("/v1")
        for attempt in range(1, self._args.max_retries + 1):
            try:
                return await fetch(instance.host, instance.port, "POST", path, data, headers)
            except (OSError, EOFError):
                self._log("WARNING", f"Attempt {attempt} failed for {short}: All connection attempts failed")
                if attempt == self._args.max_retries:
                    self._log("ERROR", f"All {attempt} attempts failed for {short}.")
                    raise
            await asyncio.sleep(self._args.retry_delay * 2 ** (attempt - 1))
        raise ConnectionError("no attempt was made")

    async def _decode(self, path: str, body: Mapping[str, JsonValue], decoder: Instance) -> AsyncGenerator[bytes, None]:
        """The bytes of the decoder; none when it fails, as with the real proxy."""
        self._pools.requests += 1
        try:
            got = await self._upstream(decoder, path, body)
            if got.status != 200:
                self._log("ERROR", f"Error during streaming from decoder http://{decoder}/v1: status {got.status}")
                return
            async with contextlib.aclosing(got.pieces) as pieces:
                async for piece in pieces:
                    yield piece
        except (OSError, EOFError) as error:
            self._log(
                "ERROR", f"Error during streaming from decoder http://{decoder}/v1: {error}. The request is aborted."
            )
        finally:
            decoder.load -= 1
            self._pools.requests -= 1

    def _change(self, verb: str, request: HttpRequest) -> JsonValue:
        body = request.json()
        if not isinstance(body, dict):
            raise TypeError("the body is no JSON object")
        kind, wanted = body["type"], body["instances"]
        if kind not in ("prefill", "decode"):
            return {"error": f"Instance type '{kind}' is not supported. Only 'prefill' and 'decode' are allowed."}
        names = [
            str(name) for name in ([wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else [])
        ]
        instances = [Instance(name.split(":")[0], int(name.split(":")[1])) for name in names]
        message = self._remove(str(kind), names) if verb == "remove" else self._add(str(kind), instances)
        return {
            "message": message,
            "current_prefill_instances": [str(each) for each in self._pools.prefill],
            "current_decode_instances": [str(each) for each in self._pools.decode],
        }

    def _remove(self, kind: str, names: Sequence[str]) -> str:
        pool = self._pools.of(kind)
        if names and self._pools.requests:
            for instance in pool:
                instance.tainted = instance.tainted or str(instance) in names
            return f"Instances {list(names)} are isolated and waiting to be removed."
        pool[:] = [each for each in pool if str(each) not in names]
        for name in names:
            self._pools.waiting.pop(name, None)
        return f"remove {kind} instances: {list(names)}."

    def _add(self, kind: str, instances: Sequence[Instance]) -> str:
        known = {str(each) for each in self._pools.of(kind)} | {*self._pools.waiting}
        new = {str(each): each for each in instances if str(each) not in known}
        if not new:
            return f"add {kind} instances: {[str(each) for each in instances]}."
        self._pools.waiting.update({name: (kind, instance, 0) for name, instance in new.items()})
        return f"Instances {[*new]} are waiting to be added."

    async def _listen(self) -> None:
        """Every ten seconds, check whether waiting engines answer, and remove isolated ones."""
        while True:
            for name, (kind, instance, looks) in tuple(self._pools.waiting.items()):
                alive = await self._answers(instance)
                self._print(f"Checking instance {name}...")
                if name not in self._pools.waiting:
                    continue
                if alive:
                    self._pools.of(kind).append(instance)
                    lists = [[str(each) for each in self._pools.of(pool)] for pool in ("prefill", "decode")]
                    self._log("INFO", f"Add {kind} instance: {name}. prefill={lists[0]} decode={lists[1]}")
                if alive or looks + 1 >= self._args.max_waiting_retries:
                    del self._pools.waiting[name]
                    if not alive:
                        self._print(f"Instance {name} was not added to the proxy.")
                else:
                    self._pools.waiting[name] = (kind, instance, looks + 1)
            self._pools.sweep()
            await asyncio.sleep(self._node.seconds(self._args.waiting_retry_interval))

    async def _answers(self, instance: Instance) -> bool:
        try:
            got = await fetch(instance.host, instance.port, "GET", "/v1/models", headers=_shown())
            async for _piece in got.pieces:
                continue
        except (OSError, EOFError):
            return False
        return got.status == 200


def _instances(hosts: Sequence[str], ports: Sequence[int]) -> list[Instance]:
    return [Instance(host, port) for host, port in zip(hosts, ports, strict=True)]


async def _signalled() -> signal.Signals:
    got: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, got.put_nowait, number)
    return await got.get()


def arguments(name: str, words: Sequence[str]) -> argparse.Namespace:
    """The flags of the example `name`; ValueError where hosts and ports do not match (the real one's own check)."""
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="localhost")
    pairs = [("dp", "dp")] if name.startswith("dp_") else [("prefiller", "prefiller"), ("decoder", "decoder")]
    for index, (pair, _) in enumerate(pairs):
        parser.add_argument(f"--{pair}-hosts", nargs="+", default=["localhost"])
        parser.add_argument(f"--{pair}-ports", type=int, nargs="+", default=[8001 + index])
    parser.add_argument("--max-retries", type=int, default=3)
    parser.add_argument("--retry-delay", type=float, default=0.001)
    if not name.startswith("dp_"):
        parser.add_argument("--max-waiting-retries", type=int, default=3)
        parser.add_argument("--waiting-retry-interval", type=float, default=10)
        parser.add_argument("--workers", type=int, default=1)
        parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
    args = parser.parse_args(words)
    for pair, _ in pairs:
        if len(getattr(args, f"{pair}_hosts")) != len(getattr(args, f"{pair}_ports")):
            raise ValueError(f"Number of {pair} hosts must match number of {pair} ports")
    return args


def main(script: str, words: Sequence[str], node: DemoNode) -> int:
    """Run the example at `script` with its arguments; the exit code."""
    name = script.rpartition("/")[2]
    try:
        args = arguments(name, words)
    except ValueError as error:
        sys.stderr.write(
            f'Traceback (most recent call last):\n  File "{script}", line 1198, in <module>\nValueError: {error}\n'
        )
        return 1
    time.sleep(node.seconds(4))
    return asyncio.run(Proxy(name, args, node).run())


def _shown() -> dict[str, str]:
    """What the example proxies show to engines; without a key the word None."""
    return {"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY')}"}
