"""The helper asks servers over HTTP: what they answer, and how those fail that do not, is told exactly once."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.node.http_exchange import MAX_BODY
from tests.node.driver import Driver, Refused, helper
from tests.node.http_servers import Closed, Server, always, greeting, said, server, silent_port
from tests.node.test_interpreters import NEW
from tests.waiting import until_blocking

PAGE = b'vllm:num_requests_running{engine="0",model_name="m"} %d\nprocess_cpu_seconds_total %d\n'
OK = said("200 OK", b"")


@pytest.fixture(scope="module", params=[NEW[0], NEW[-1]])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with helper(tmp_path_factory.mktemp("node") / "base", python=request.param) as driver:
        yield driver


def asked(node: Driver, port: int, **fields: Any) -> tuple[dict[str, Any], bytes]:
    """The reply to a single request, and its body."""
    return node.ask("ask", fields.pop("payload", b""), **single(port, **fields))


def single(port: int, **fields: Any) -> dict[str, Any]:
    """A single request."""
    whole = {"host": "127.0.0.1", "port": port, "path": "/x", "tls": False, "uds": "", "headers": [], "timeout_s": 20}
    return {**whole, "method": "GET", "want": "body", **fields}


NUMBERS = iter(range(1, 10**9))


def standing(port: int, want: str = "status", every_s: float = 60.0, **fields: Any) -> dict[str, Any]:
    """A standing question with a number of its own."""
    request = single(port, **fields)
    return {**request, "id": next(NUMBERS), "want": want, "every_s": every_s}


def answers(node: Driver, number: int) -> list[dict[str, Any]]:
    """The answers that were sent to a standing question."""
    return [each for each in node.pushes if each["push"] == "answer" and each["id"] == number]


def first(node: Driver, question: dict[str, Any]) -> dict[str, Any]:
    """The first answer to a standing question, which is then dropped."""
    node.notify("questions", set=[question])
    until_blocking(lambda: answers(node, question["id"]), 30)
    node.notify("questions", drop=[question["id"]])
    return answers(node, question["id"])[0]


def repeated(node: Driver, number: int) -> int:
    """How often it was told that a question got its answer again."""
    return sum(number in [each[0] for each in push["ids"]] for push in node.pushes if push["push"] == "same")


def chunked(connection: socket.socket, _head: bytes) -> None:
    """Chunks of one byte, with an extension and a trailer."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for each in b"hello":
        connection.sendall(b"1;x=y\r\n%c\r\n" % each)
    connection.sendall(b"0\r\nA: b\r\n\r\n")


def dripping(connection: socket.socket, _head: bytes) -> None:
    """A body that never ends, a byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b".")
        time.sleep(0.05)


def hanging(_connection: socket.socket, _head: bytes) -> None:
    """No answer."""


def huge(connection: socket.socket, _head: bytes) -> None:
    """A body without end and without a length."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


BODIES = {
    "length": (always(said("200 OK", b"hello")), b"hello"),
    "chunks": (chunked, b"hello"),
    "end of the connection": (always(b"HTTP/1.0 200 OK\r\n\r\nhello", close=True), b"hello"),
    "after 100": (always(b"HTTP/1.1 100 Continue\r\n\r\n" + said("200 OK", b"hello")), b"hello"),
    "bare line ends": (always(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"), b"hello"),
    "no content": (always(b"HTTP/1.1 204 No Content\r\n\r\n"), b""),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_is_read_however_it_ends(node: Driver, kind: str) -> None:
    answer, body = BODIES[kind]
    with server(answer) as made:
        reply, data = asked(node, made.port)
        assert (reply["status"] // 100, reply["error"], data) == (2, "", body)
        assert 0 <= reply["took_s"] < 20


FAULTS: dict[str, tuple[Callable[[socket.socket, bytes], None], int, str]] = {
    "closes": (always(b"", close=True), 0, "the server closed the connection without an answer"),
    "garbage": (always(b"\x15\x03\x01\x00\x02\x02\x50", close=True), 0, "the answer is not HTTP: b'\\x15"),
    "another protocol": (always(b"SSH-2.0-OpenSSH_9.0\r\n"), 0, "the answer is not HTTP: b'SSH-2.0"),
    "a status that is none": (always(b"HTTP/1.1 2oo OK\r\n\r\n"), 0, "the answer is not HTTP: 'HTTP/1.1 2oo OK"),
    "half a head": (always(b"HTTP/1.1 200", close=True), 0, "the answer is incomplete"),
    "a head without end": (always(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20000), 0, "the head of the answer is too large"),
    "half a body": (
        always(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", close=True), 200,
        "the answer is incomplete, 4 bytes are missing",
    ),
    "half the chunks": (
        always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", close=True), 200,
        "the answer is incomplete",
    ),
    "odd chunks": (
        always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n"), 200,
        "the chunks of the answer are malformed",
    ),
    "an odd length": (
        always(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), 200, "the answer has no valid length: '-1'",
    ),
    "a body without end": (huge, 200, f"the body is larger than {MAX_BODY} bytes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_a_server_that_answers_badly_is_told_of_in_words(node: Driver, kind: str) -> None:
    answer, status, error = FAULTS[kind]
    with server(answer) as made:
        reply, data = asked(node, made.port)
        assert (reply["status"], reply["error"][: len(error)]) == (status, error)
        assert len(data) <= MAX_BODY
    assert node.ask("ping")[0]["ok"]


def test_connecting_answering_and_completing_too_late_are_told_apart(node: Driver) -> None:
    with server(hanging) as silent, server(dripping) as slow, silent_port() as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        for where, error in (
            (silent.port, "no answer within 0.4 s"),
            (slow.port, "the answer was not complete within 0.4 s"),
            (port, f"no connection to 127.0.0.1:{port} within 0.4 s"),
        ):
            reply, _ = asked(node, where, timeout_s=0.4)
            assert reply["error"] == error
            assert reply["took_s"] >= 0.4
        for each in waiting:
            each.close()


def test_nobody_there_and_no_such_name(node: Driver, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert asked(node, port)[0]["error"] == f"connection to 127.0.0.1:{port} refused"
    assert asked(node, 80, host="no-such-host.invalid")[0]["error"].startswith("no address for no-such-host.invalid: ")
    assert asked(node, 80, host="x" * 400)[0]["error"].startswith("no address for xxx")
    assert asked(node, 0, uds=str(tmp_path / "none"))[0]["error"].endswith("No such file or directory")
    with server(always(OK)) as made:
        assert (
            asked(node, made.port, path="/a b")[0]["error"] == "path or headers have characters that HTTP cannot carry"
        )
    assert asked(node, 1, method="", timeout_s=5)[0]["error"] == "connection to 127.0.0.1:1 refused"


def test_a_name_is_looked_up(node: Driver) -> None:
    with server(always(said("200 OK", b"hello"))) as made:
        assert asked(node, made.port, host="localhost")[1] == b"hello"


def test_tls_and_sockets_in_folders(node: Driver, tmp_path: Path) -> None:
    """A certificate is not verified: the engine is on the node. Large bodies pass through TLS whole."""
    body = b"0123456789" * 300_000
    with server(always(said("200 OK", body)), tls=tmp_path) as made:
        for _ in range(2):
            reply, data = asked(node, made.port, tls=True)
            assert (reply["status"], reply["error"]) == (200, "")
            assert data == body
        assert made.connections == 1
    with server(greeting) as plain:
        assert asked(node, plain.port, tls=True)[0]["error"].startswith(f"no TLS with 127.0.0.1:{plain.port}: ")
    with server(hanging) as silent:
        text = f"no TLS with 127.0.0.1:{silent.port} within 0.3 s"
        assert asked(node, silent.port, tls=True, timeout_s=0.3)[0]["error"] == text
    path = tmp_path / "engine.sock"
    with server(always(said("200 OK", b"hello")), uds=path):
        assert asked(node, 0, uds=str(path))[1] == b"hello"


def test_a_key_is_sent_and_a_refusal_and_a_redirect_are_answers(node: Driver) -> None:
    with server(always(said("401 Unauthorized", b"no"))) as made:
        reply, data = asked(node, made.port, headers=[["Authorization", "Bearer sk-1"]])
        assert (reply["status"], data) == (401, b"no")
        assert b"Authorization: Bearer sk-1\r\n" in made.heads[0] + b"\r\n"
    with server(always(OK)) as other:
        away = said("302 Found", b"", f"Location: http://127.0.0.1:{other.port}/")
        with server(always(away)) as made:
            assert asked(node, made.port)[0]["status"] == 302
        assert other.connections == 0


def test_a_body_is_sent_and_streamed_and_its_pieces_come_before_the_reply(node: Driver) -> None:

    def stream(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            connection.sendall(b"6\r\ndata: \r\n")
            time.sleep(0.05)
        connection.sendall(b"0\r\n\r\n")
        raise Closed

    body = b"x" * 500_000
    with server(stream) as made:
        number = node.begin("ask", body, **single(made.port, method="POST", stream=True))
        until_blocking(lambda: number in node._replies, 30)
        reply, rest = node._replies.pop(number)
    assert (reply["status"], reply["error"], rest) == (200, "", b"")
    assert b"".join(node.pieces[number]) == b"data: " * 3
    assert len(node.pieces[number]) >= 2, "it came as it arrived"
    assert made.bodies == [body]


def test_a_request_that_is_given_up_ends_at_the_server(node: Driver) -> None:
    with server(hanging) as made:
        number = node.begin("ask", **single(made.port))
        until_blocking(lambda: made.heads)
        node.notify("give-up", ask=number)
        assert made.gone.wait(10)
    node.ask("ping")
    assert number not in node._replies


def test_too_many_requests_and_requests_that_make_no_sense_are_refused(node: Driver) -> None:
    with server(hanging) as made:
        numbers = [node.begin("ask", **single(made.port)) for _ in range(64)]
        with pytest.raises(Refused) as refused:
            asked(node, made.port)
        assert refused.value.kind == "busy"
        for number in numbers:
            node.notify("give-up", ask=number)
    for wrong in ({"timeout_s": -1}, {"timeout_s": "soon"}, {"port": "x"}, {"headers": 5}):
        with pytest.raises(Refused) as refused:
            node.ask("ask", **{**single(1), **wrong})
        assert refused.value.kind == "bad-request"
    assert node.ask("ping")[0]["ok"]


def test_an_answer_is_sent_when_it_is_news_and_else_only_that_it_came_again(node: Driver) -> None:
    alive = [True]

    def answer(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(OK if alive[0] else said("503 Service Unavailable", b""))

    with server(answer) as made:
        question = standing(made.port, every_s=0.05)
        number = question["id"]
        node.notify("questions", set=[question])
        until_blocking(lambda: repeated(node, number) >= 3, 20)
        known = answers(node, number)
        quick = [each for each in known if each["took_s"] < 0.05]
        assert {each["status"] for each in known} == {200}
        assert len(quick) <= 1, "a slow answer is news, another quick one is not"
        assert made.connections == 1, "the connection is kept"
        alive[0] = False
        until_blocking(lambda: [each["status"] for each in answers(node, number)].count(503) == 2, 20)
        before = repeated(node, number)
        until_blocking(lambda: repeated(node, number) > before, 20)
        node.notify("questions", drop=[number])
        node.ask("ping")
        asked_before = len(made.heads)
        assert len(made.heads) <= asked_before + 1


def test_a_server_that_ends_between_two_questions_is_dialled_anew(node: Driver) -> None:
    with server(always(OK)) as made:
        question = standing(made.port)
        node.notify("questions", set=[question])
        until_blocking(lambda: len(answers(node, question["id"])) == 1)
        for each in tuple(made.open):
            each.shutdown(socket.SHUT_RDWR)
        node.notify("questions", now=[question["id"]])
        until_blocking(lambda: len(made.heads) == 2)
        assert made.connections == 2
        node.notify("questions", drop=[question["id"]])
    assert [each["error"] for each in answers(node, question["id"])] == [""]


def test_a_slow_server_does_not_delay_the_others_and_is_asked_once_at_a_time(node: Driver) -> None:
    with server(hanging) as silent, server(always(OK)) as quick:
        slow = standing(silent.port, timeout_s=30, every_s=0.05)
        node.notify("questions", set=[slow, slow])
        for _ in range(5):
            node.notify("questions", now=[slow["id"]])
            assert first(node, standing(quick.port))["status"] == 200
        assert len(silent.heads) == 1
        node.notify("questions", drop=[slow["id"]])
        assert silent.gone.wait(10)


def test_metrics_are_figures_and_news_only_when_one_of_them_changed(node: Driver) -> None:
    running, cpu = [0], [0]

    def answer(connection: socket.socket, _head: bytes) -> None:
        cpu[0] += 1
        connection.sendall(said("200 OK", PAGE % (running[0], cpu[0])))

    with server(answer) as made:
        question = standing(made.port, "figures", every_s=0.05)
        node.notify("questions", set=[question])
        until_blocking(lambda: repeated(node, question["id"]) >= 2, 20)
        running[0] = 3
        until_blocking(lambda: len({json.dumps(each["said"]) for each in answers(node, question["id"])}) == 2, 20)
        node.notify("questions", drop=[question["id"]])
        seen = [each["said"] for each in answers(node, question["id"])]
        assert (seen[0]["model"], seen[0]["engines"]["0"]["g"]) == ("m", {"running": 0})
        assert seen[-1]["engines"]["0"]["g"] == {"running": 3}
        assert asked(node, made.port, want="figures")[0]["said"] == seen[-1]


PAGES: dict[str, tuple[str, bytes, object]] = {
    "no metrics": ("figures", b"<html>", {"fault": "the answer contains no vLLM metrics"}),
    "models": ("models", b'{"data": [{"id": "dsv4"}, {"id": 5}]}', ["dsv4", "5"]),
    "half a character": ("models", b'{"data": [{"id": "a\\ud800"}]}', ["a?"]),
    "a name without end": ("models", json.dumps({"data": [{"id": "x" * 9999}]}).encode(), ["x" * 1000]),
    "no list": ("models", b'{"data": 5}', None),
    "a deep nest": ("models", b"[" * 200_000, None),
    "a text": ("text", b"\xff" + b"a" * 900, "\ufffd" + "a" * 499),
    "only the status": ("status", b"hello", None),
}


@pytest.mark.parametrize("kind", PAGES)
def test_what_an_engine_says_is_bounded_and_clean(node: Driver, kind: str) -> None:
    want, body, wanted = PAGES[kind]
    with server(always(said("200 OK", body))) as made:
        found = first(node, standing(made.port, want))
        assert (found["status"], found["error"], found["said"]) == (200, "", wanted)


def test_an_open_port_is_an_answer_and_nothing_is_sent_to_it(node: Driver) -> None:
    with server(always(OK)) as made:
        found = first(node, standing(made.port, "open"))
        assert (found["status"], found["error"]) == (0, "")
        assert made.heads == []


def test_a_question_that_makes_no_sense_is_answered_and_does_no_harm(node: Driver) -> None:
    for wrong in ({"want": "all"}, {"every_s": "often"}, {"timeout_s": 0}):
        assert first(node, {**standing(1), **wrong})["error"].startswith("cannot be asked: ")
    assert node.ask("ping")[0]["ok"]


def test_no_key_is_in_the_command_line_of_the_helper(node: Driver) -> None:
    made: Server
    with server(always(OK)) as made:
        first(node, standing(made.port, headers=[["Authorization", "Bearer sk-secret"]]))
        assert b"sk-secret" in made.heads[0]
    assert b"sk-secret" not in Path(f"/proc/{node.process.pid}/cmdline").read_bytes()
