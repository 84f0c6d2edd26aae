"""The built-in generator against a server with known delays and manners: what it measures, and what it calls a failure."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from console.evaluation.arrival_schedule import ClosedLoop, Load, OpenLoop, prompts
from console.evaluation.loadgen import Lateness, generate
from console.evaluation.statistics import Timed, read_requests
from console.remote.completion_streams import Streams
from tests.evaluation.slow_server import SlowServer
from tests.waiting import until


@pytest.fixture
async def server() -> AsyncIterator[SlowServer]:
    running = await SlowServer().start()
    yield running
    running.close()


async def measured(server: SlowServer, load: Load, model: str = "dsv4", timeout_s: float = 10.0) -> tuple[Timed, ...]:
    streams = Streams("127.0.0.1", server.port)

    async def send(prompt: str, due: float) -> Timed:
        body: dict[str, JsonValue] = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True}
        got = await streams.chat(body, timeout_s)
        return Timed(due, got.sent_at, got.pieces, got.prompt_tokens, got.output_tokens, got.characters, got.error)

    try:
        return await generate(load, list(prompts(4, load.requests)), send)
    finally:
        streams.close()


async def test_times_are_those_of_the_server(server: SlowServer) -> None:
    requests = await measured(server, ClosedLoop(2, 8))
    reading = read_requests(requests)
    assert (reading.failed_requests, reading.total_requests) == (0, 8)
    real = [times[1] - times[0] for times in server.stamps]
    assert reading.numbers["ttft_mean"].value == pytest.approx(sum(real) / 8 * 1000, abs=10)
    gaps = [(times[-1] - times[1]) / 4 for times in server.stamps]
    assert reading.numbers["itl_mean"].value == pytest.approx(sum(gaps) / 8 * 1000, abs=5)
    assert reading.numbers["tpot_mean"].value == pytest.approx(reading.numbers["itl_mean"].value, rel=0.01)
    assert reading.numbers["output_tokens"].value == 40
    assert reading.numbers["input_tokens"].value == 56


async def test_a_closed_loop_never_has_more_requests_than_users_and_reuses_their_connections(
    server: SlowServer,
) -> None:
    await measured(server, ClosedLoop(3, 12))
    assert server.most_at_once == 3
    assert server.connections == 3


async def test_an_open_loop_sends_on_time_when_the_server_is_slow() -> None:
    server = await SlowServer(ttft_s=0.05, itl_s=0.0, tokens=1, slots=1).start()
    load = OpenLoop(100.0, 40, "constant")
    requests = await measured(server, load)
    server.close()
    lateness = [request.sent_at - request.intended_at for request in requests]
    assert sorted(lateness)[len(lateness) // 2] < 0.02
    waits = [request.pieces[0] - request.intended_at for request in requests]
    # one request takes 50 ms and one comes every 10 ms: each must wait about 40 ms longer than the one before
    assert waits[-1] == pytest.approx(40 * 0.05 - 39 * 0.01, rel=0.25)


async def test_a_client_that_is_kept_busy_knows_it_and_says_so(server: SlowServer) -> None:
    async with Lateness() as calm:
        requests = await measured(server, ClosedLoop(2, 4))
    async with Lateness() as busy:
        await until(lambda: len(busy.seconds) > 1)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass  # a loop that hears nothing
        await until(lambda: max(busy.seconds) > 0.2)
    assert calm.seconds
    assert not any("busy" in warning for warning in read_requests(requests, lateness=[0.0]).warnings)
    said = read_requests(requests, lateness=busy.seconds)
    assert any("this machine was busy" in warning for warning in said.warnings)
    assert said.numbers["client_lag_p99"].value > 100


async def test_a_limit_of_connections_shows_as_waiting_and_not_as_a_fast_server() -> None:
    server = await SlowServer(ttft_s=0.05, itl_s=0.0, tokens=1).start()
    requests = await measured(server, OpenLoop(200.0, 30, "constant", max_in_flight=1))
    server.close()
    assert server.most_at_once == 1
    honest = read_requests(requests, intended=True).numbers["ttft_mean"].value
    flattering = read_requests(requests).numbers["ttft_mean"].value
    assert honest > 5 * flattering


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("empty", "HTTP 200 with an empty body"),
        ("refused", "HTTP 404: The model `refused` does not exist."),
        ("failing", "the server reports in the stream: EngineCore encountered an issue."),
        ("aborted", "the server ended the request with abort"),
        ("failing-flat", "the server reports in the stream: EngineCore encountered an issue."),
        ("no-done", "the stream ended after 1 pieces without [DONE]"),
        ("cut", "the connection ended in the middle of the answer"),
        ("rubbish", "invalid JSON"),
        ("silent", "the answer was not complete within 0.3 s"),
        ("no-http", "not HTTP"),
    ],
)
async def test_what_is_no_good_answer_is_a_failed_request_that_says_why(
    server: SlowServer, model: str, words: str
) -> None:
    requests = await measured(server, ClosedLoop(1, 2), model, 0.3)
    assert all(words in request.error for request in requests)


async def test_events_in_any_chunks_are_whole(server: SlowServer) -> None:
    (request,) = await measured(server, ClosedLoop(1, 1), "split")
    assert (request.error, len(request.pieces), request.output_tokens, request.characters) == ("", 3, 3, 6)


async def test_a_server_that_does_not_count_leaves_the_count_open(server: SlowServer) -> None:
    (request,) = await measured(server, ClosedLoop(1, 1), "without-usage")
    assert (request.output_tokens, request.tokens) == (None, 5)


async def test_nobody_listening_is_a_failure_of_every_request() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = SlowServer(port=free.getsockname()[1])
    requests = await measured(nobody, ClosedLoop(1, 2))
    assert all("Connect call failed" in request.error for request in requests)


async def test_cancelling_leaves_no_request_behind(server: SlowServer) -> None:
    before = asyncio.all_tasks()
    running = asyncio.create_task(measured(server, OpenLoop(100.0, 100), "silent", 60.0))
    await until(lambda: server.most_at_once >= 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    def left() -> set[str]:
        new = asyncio.all_tasks() - before
        names = {str(task.get_coro()) for task in new}
        return {name for name in names if "_Run." in name or "Streams." in name or "measured" in name}

    assert left() == set()
