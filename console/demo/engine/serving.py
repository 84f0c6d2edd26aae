"""One API server: HTTP in front of the engine cores, from the moment the group is ready until it is told to stop
or its engine dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from console.demo.engine import openai_api
from console.demo.engine.core_base import gone
from console.demo.engine.log_lines import Log, traceback
from console.demo.engine.metrics import render
from console.demo.engine.openai_api import Ask, Rejected
from console.demo.engine.serve_config import Launch
from console.demo.http import HttpRequest, HttpResponse, HttpServer, answer
from console.demo.json_types import JsonValue
from console.demo.release import VLLM

NOTICE_S: Final = 1.5
"""How long /health says 503 before the server ends itself; captured were 3 to 5 s, which no test needs."""
STATS_S: Final = 10.0
ROUTES: Final = {
    "/health": ("GET",),
    "/load": ("GET",),
    "/version": ("GET",),
    "/ping": ("GET", "POST"),
    "/v1/models": ("GET",),
    "/metrics": ("GET", "HEAD"),
    "/v1/completions": ("POST",),
    "/v1/chat/completions": ("POST",),
    "/is_scaling_elastic_ep": ("POST",),
    "/reset_prefix_cache": ("POST",),
}


@dataclass(slots=True)
class CoreLink:
    """The connection to one engine core."""

    rank: int
    local: bool
    writer: asyncio.StreamWriter
    running: int = 0
    alive: bool = True
    stats: dict[str, JsonValue] = field(default_factory=dict)


class EngineDead(Exception):
    """The engine of a request has gone."""


class ApiServer:
    """Serves one listening socket; `run` ends with the exit code."""

    def __init__(
        self,
        launch: Launch,
        sock: socket.socket,
        log: Log,
        wanted: Callable[[str], bool],
        local: frozenset[int],
        pids: Sequence[int],
    ) -> None:
        self._launch = launch
        self._sock = sock
        quiet = (launch.args.uvicorn_log_level or "info") not in ("info", "debug", "trace")
        self._log = replace(log, server_quiet=quiet)
        self._wanted = wanted
        """Whether a failure is asked for now."""
        self._local = local
        """Ranks whose death is ours."""
        self._pids = tuple(pids)
        """Cores this process is to stop; none when its parent does."""
        self._cores: dict[int, CoreLink] = {}
        self._queues: dict[str, asyncio.Queue[tuple[str, int, str | None] | None]] = {}
        self._waiting: dict[int, asyncio.Future[dict[str, JsonValue]]] = {}
        self._asked = 0
        self._dead = False
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, cores: Mapping[int, tuple[str, int]]) -> int:
        """Connect to the cores, serve, stop."""
        for rank, (host, port) in sorted(cores.items()):
            reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
            self._cores[rank] = link = CoreLink(rank, rank in self._local, writer)
            self._tasks.append(asyncio.create_task(self._listen(link, reader)))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_sigterm)
        server = HttpServer(self._respond, self._seen)
        self._announce()
        await server.listen(sock=self._sock)
        self._log.raw(f"INFO:     Started server process [{os.getpid()}]")
        self._log.raw("INFO:     Waiting for application startup.")
        self._log.raw("INFO:     Application startup complete.")
        self._tasks.append(asyncio.create_task(self._report()))
        await self._stopping.wait()
        server.stop_listening()
        if not self._dead:
            self._stop_cores()
            await self._cores_gone(5.0)
        self._log.raw("INFO:     Shutting down")
        await server.drain(2.0)
        self._log.raw("INFO:     Waiting for application shutdown.")
        self._log.raw("INFO:     Application shutdown complete.")
        self._log.raw(f"INFO:     Finished server process [{os.getpid()}]")
        for task in self._tasks:
            task.cancel()
        if self._dead:
            self._stop_cores()
            await self._cores_gone(5.0)
        return 0

    def _announce(self) -> None:
        launch, log = self._launch, self._log
        log.info("api_server.py:613", "Supported tasks: ['generate']")
        log.info("api_server.py:617", f"Starting vLLM server on http://{launch.host}:{launch.port}")
        log.info("launcher.py:37", "Available routes are:")
        for path, methods in ROUTES.items():
            log.info("launcher.py:46", f"Route: {path}, Methods: {', '.join(methods)}")

    def _on_sigterm(self) -> None:
        if not self._wanted("ignore-term"):
            self._stopping.set()

    def _stop_cores(self) -> None:
        for pid in self._pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue

    async def _cores_gone(self, limit_s: float) -> None:
        """Wait for the cores, then KILL what is left (vLLM 0.21 waits 5 s)."""
        left = set(self._pids)
        for _ in range(int(limit_s / 0.05)):
            left -= {pid for pid in left if gone(pid)}
            if not left:
                return
            await asyncio.sleep(0.05)
        for pid in left:
            os.kill(pid, signal.SIGKILL)

    async def _listen(self, link: CoreLink, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._hear(link, json.loads(line))
        except (ConnectionError, ValueError):
            pass  # cut in the middle of a line: the core died
        link.alive = False
        for number in [number for number, waiting in self._waiting.items() if not waiting.done()]:
            self._waiting.pop(number).set_result({})
        if link.local and not self._stopping.is_set():
            self._engine_died()

    def _hear(self, link: CoreLink, message: Mapping[str, JsonValue]) -> None:
        stats, news = message.get("stats"), message.get("out")
        if isinstance(stats, dict):
            link.stats = stats
            waiting = self._waiting.pop(int(str(message["n"])), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(stats)
        for item in news if isinstance(news, list) else ():
            if isinstance(item, list):
                name, text, tokens, finish = item
                queue = self._queues.get(str(name))
                if queue is not None:
                    queue.put_nowait((str(text), int(str(tokens)), None if finish is None else str(finish)))

    def _engine_died(self) -> None:
        if self._dead:
            return
        self._dead = True
        frames = (
            ("v1/engine/async_llm.py", 660, "output_handler", "outputs = await engine_core.get_output_async()"),
            ("v1/engine/core_client.py", 998, "get_output_async", "raise self._format_exception(outputs) from None"),
        )
        self._log.error("async_llm.py:704", "AsyncLLM output_handler failed.")
        self._log.error(
            "async_llm.py:704",
            traceback(frames, f"vllm.v1.engine.exceptions.EngineDeadError: {openai_api.ENGINE_DEAD}"),
        )
        self._stop_cores()
        busy = bool(self._queues)
        for queue in self._queues.values():
            queue.put_nowait(None)
        if self._launch.environment.get("VLLM_KEEP_ALIVE_ON_ENGINE_DEATH") != "1":
            asyncio.get_running_loop().call_later(0.2 if busy else NOTICE_S, self._stopping.set)

    async def _stats(self, link: CoreLink) -> dict[str, JsonValue]:
        """Fresh figures of a core; the last known ones when it does not answer."""
        if link.alive:
            self._asked += 1
            waiting: asyncio.Future[dict[str, JsonValue]] = asyncio.get_running_loop().create_future()
            self._waiting[self._asked] = waiting
            link.writer.write(json.dumps({"op": "stats", "n": self._asked}).encode() + b"\n")
            await asyncio.wait([waiting], timeout=2.0)
        return link.stats

    async def _report(self) -> None:
        """The throughput line every ten seconds while something happens, and once after."""
        before: dict[int, tuple[float, float]] = {}
        quiet = True
        while True:
            await asyncio.sleep(STATS_S)
            moved = False
            lines = []
            for rank, link in self._cores.items():
                stats = await self._stats(link)
                line, totals = _throughput(rank, stats, before.get(rank, (0.0, 0.0)))
                moved = moved or totals != before.get(rank, (0.0, 0.0)) or bool(stats.get("running"))
                before[rank] = totals
                lines.append(line)
            if moved or not quiet:
                for line in lines:
                    self._log.info("loggers.py:271", line)
            quiet = not moved

    def _seen(self, request: HttpRequest, response: HttpResponse) -> None:
        args = self._launch.args
        unlogged = (args.disable_access_log_for_endpoints or "").split(",")
        if not args.disable_uvicorn_access_log and request.path.partition("?")[0] not in unlogged:
            self._log.access(request.peer, f"{request.method} {request.path} HTTP/1.1", response.words)

    async def _respond(self, request: HttpRequest) -> HttpResponse:
        path = request.path.partition("?")[0]
        if path.startswith("/v1") and self._launch.keys and not _let_in(request, self._launch.keys):
            return answer({"error": "Unauthorized"}, 401)
        methods = ROUTES.get(path)
        if methods is None:
            return answer({"detail": "Not Found"}, 404)
        if request.method not in methods:
            response = answer({"detail": "Method Not Allowed"}, 405)
            response.headers = {"allow": methods[0]}
            return response
        if path in ("/v1/completions", "/v1/chat/completions"):
            return await self._generate(path, request)
        return await self._small(path)

    async def _small(self, path: str) -> HttpResponse:
        launch = self._launch
        if path in ("/health", "/ping"):
            return HttpResponse(503 if self._dead else 200, kind="")
        if path == "/version":
            return answer({"version": VLLM})
        if path == "/v1/models":
            return answer(openai_api.models(_names(launch, self._wanted), launch.model, launch.max_len))
        if path == "/metrics":
            cores = {rank: await self._stats(link) for rank, link in self._cores.items()}
            known = {rank: stats for rank, stats in cores.items() if stats}
            text = render(
                _names(launch, self._wanted)[0],
                known,
                drafts=launch.draft_tokens > 0,
                blocks=3031,
                block_size=launch.args.block_size or 16,
            )
            return HttpResponse(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")
        return answer({"server_load": 0} if path == "/load" else {})

    async def _generate(self, path: str, request: HttpRequest) -> HttpResponse:
        launch = self._launch
        try:
            ask = openai_api.understand(path, request.body, _names(launch, self._wanted), launch.max_len)
        except Rejected as rejected:
            return answer(rejected.body, rejected.status)
        if self._dead:
            return answer(openai_api.error(500, openai_api.ENGINE_DEAD, "InternalServerError"), 500)
        try:
            link = _chosen(request, self._cores)
        except Rejected as rejected:
            return answer(rejected.body, rejected.status)
        queue = self._submit(link, ask)
        if ask.stream:
            return HttpResponse(200, kind="text/event-stream; charset=utf-8", pieces=self._stream(link, ask, queue))
        try:
            text, tokens, finish = await self._collect(link, ask, queue)
        except EngineDead:
            return answer(openai_api.error(500, openai_api.ENGINE_DEAD, "InternalServerError"), 500)
        if finish == "error":
            return answer(openai_api.error(500, "Internal server error", "InternalServerError"), 500)
        return answer(openai_api.whole(ask, text, tokens, finish, self._handover(link, ask)))

    def _submit(self, link: CoreLink, ask: Ask) -> asyncio.Queue[tuple[str, int, str | None] | None]:
        queue: asyncio.Queue[tuple[str, int, str | None] | None] = asyncio.Queue()
        self._queues[ask.id] = queue
        link.running += 1
        order = {"op": "add", "id": ask.id, "prompt": ask.prompt_tokens, "max": ask.max_tokens, "kv": ask.kv}
        link.writer.write(json.dumps(order).encode() + b"\n")
        return queue

    async def _news(
        self, link: CoreLink, ask: Ask, queue: asyncio.Queue[tuple[str, int, str | None] | None]
    ) -> AsyncGenerator[tuple[str, int, str | None], None]:
        ended = False
        try:
            while not ended:
                news = await queue.get()
                if news is None:
                    raise EngineDead
                ended = news[2] is not None
                yield news
        finally:
            self._queues.pop(ask.id, None)
            link.running -= 1
            if not ended and link.alive:
                link.writer.write(json.dumps({"op": "abort", "id": ask.id}).encode() + b"\n")

    async def _collect(
        self, link: CoreLink, ask: Ask, queue: asyncio.Queue[tuple[str, int, str | None] | None]
    ) -> tuple[str, int, str]:
        texts: list[str] = []
        total = 0
        last = "stop"
        async for text, tokens, finish in self._news(link, ask, queue):
            texts.append(text)
            total += tokens
            last = finish or last
        return "".join(texts), total, last

    async def _stream(
        self, link: CoreLink, ask: Ask, queue: asyncio.Queue[tuple[str, int, str | None] | None]
    ) -> AsyncGenerator[bytes, None]:
        total = 0
        try:
            async with contextlib.aclosing(self._news(link, ask, queue)) as several:
                async for text, tokens, finish in several:
                    if not total and tokens:
                        yield openai_api.first_piece(ask)
                    total += tokens
                    yield openai_api.piece(ask, text, finish)
            if ask.usage:
                yield openai_api.usage_piece(ask, total)
        except EngineDead:
            yield openai_api.event(openai_api.error(500, openai_api.ENGINE_DEAD, "InternalServerError"))
        yield openai_api.DONE

    def _handover(self, link: CoreLink, ask: Ask) -> JsonValue:
        """Where a decode engine finds this prefill's KV cache; None when it was not asked for."""
        launch = self._launch
        if not (ask.kv and ask.kv.get("do_remote_decode") and launch.role == "prefill"):
            return None
        blocks: Sequence[JsonValue] = list(range(1, 2 + ask.prompt_tokens // 128))
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": list(blocks),
            "remote_engine_id": f"{launch.kv.get('engine_id')}_dp0",
            "remote_host": launch.host,
            "remote_port": int(str(launch.kv.get("kv_port", 0))) + link.rank * launch.tensor_parallel,
        }


def _chosen(request: HttpRequest, cores: Mapping[int, CoreLink]) -> CoreLink:
    """The rank that the request names by its index behind this server, else the rank with the least load."""
    wanted = request.headers.get("x-data-parallel-rank", "")
    try:
        index = int(wanted)
    except ValueError:
        return min(cores.values(), key=lambda core: core.running)
    if not 0 <= index < len(cores):
        raise Rejected(400, f"data_parallel_rank {index} is out of range [0, {len(cores)}).", "BadRequestError")
    return cores[sorted(cores)[index]]


def _let_in(request: HttpRequest, keys: Sequence[str]) -> bool:
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    return kind.lower() == "bearer" and shown in keys


def _names(launch: Launch, wanted: Callable[[str], bool]) -> tuple[str, ...]:
    """What the models are called: as they should be, unless another name is asked for."""
    return ("another-name",) if wanted("model-name") else launch.names


def _throughput(
    rank: int, stats: Mapping[str, JsonValue], before: tuple[float, float]
) -> tuple[str, tuple[float, float]]:
    counters = stats.get("counters")
    table = counters if isinstance(counters, dict) else {}
    prompt, made = (float(str(table.get(name, 0))) for name in ("prompt_tokens", "generation_tokens"))
    usage = float(str(stats.get("kv_usage", 0.0))) * 100
    line = (
        f"Engine {rank:03d}: Avg prompt throughput: {(prompt - before[0]) / STATS_S:.1f} tokens/s, Avg generation"
        " throughput:"
        f" {(made - before[1]) / STATS_S:.1f} tokens/s, Running: {stats.get('running', 0)} reqs, Waiting:"
        f" {stats.get('waiting', 0)} reqs,"
        f" GPU KV cache usage: {usage:.1f}%, Prefix cache hit rate: 0.0%"
    )
    return line, (prompt, made)
