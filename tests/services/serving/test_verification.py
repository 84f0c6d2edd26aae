"""What counts as an answer: text in a whole stream, nothing less."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from console.model.deployment import Assignment, Deployment
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import Grade, HealthCheck, Link, LinkState
from console.probes.metrics import Scrape
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor
from console.services.serving.answer_checks import ChatStream, completion_text, streamed
from console.services.serving.condition_facts import BAD_ANSWERS, facts_of
from console.services.serving.coverage import RankProof, coverage_words
from console.services.serving.output_comparison import OutputComparison
from console.services.serving.verification import Proof, Verification, VerificationRequest, Verifier
from tests.services.deployments import CLUSTER
from tests.services.monitoring.test_monitor import probed
from tests.services.monitoring.test_service_state import MIXED


def event(**delta: object) -> bytes:
    """One event of a streamed chat."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


ENDED = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "%b"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("answer", "passed", "seen"),
    [
        (HttpAnswer(200, event(role="assistant") + event(content="hel") + event(content="lo") + DONE, 0.1), True, "hello"),
        (HttpAnswer(200, event(reasoning_content="think") + DONE, 0.1), True, "think"),
        (HttpAnswer(200, b"", 0.1), False, "chat 200 with an empty body"),
        (HttpAnswer(500, b"", 0.1), False, "chat 500: without a body"),
        (HttpAnswer(0, b"", 0.1, "no answer in 5 s"), False, "no answer in 5 s"),
        (HttpAnswer(200, event(content="") + DONE, 0.1), False, "chat 200 without text"),
        (HttpAnswer(200, event(content="he"), 0.1), False, "the stream broke off after 'he'"),
        (HttpAnswer(200, b'data: {"error": "dead"}\n\n', 0.1), False, "chat 200, then the error dead"),
        (HttpAnswer(200, event(content="he") + ENDED % b"abort" + DONE, 0.1), False, "chat 200, then its request ended by abort"),
        (HttpAnswer(200, event(content="he") + ENDED % b"stop" + DONE, 0.1), True, "he"),
        (
            HttpAnswer(200, event(content="he") + b'data: {"object": "error", "message": "dead"}\n\n' + DONE, 0.1),
            False, "chat 200, then the error dead",
        ),
        (HttpAnswer(200, event(content="he").replace(b"{", b'{"error": null, ', 1) + DONE, 0.1), True, "he"),
        (HttpAnswer(200, b"data: [1]\n\n", 0.1), False, "chat 200, then an event that is not a chat: [1]"),
        (HttpAnswer(200, b"data: " + b"[" * 99999 + b"\n\n", 0.1), False,
         f"chat 200, then an event that is not JSON: {'[' * 80}"),
        (HttpAnswer(200, b"data: {\n\n", 0.1), False, "chat 200, then an event that is not JSON: {"),
        (HttpAnswer(200, b'{"choices": 1}', 0.1), False, 'chat 200, but no stream: {"choices": 1}'),
    ],
)  # fmt: skip
def test_a_streamed_chat(answer: HttpAnswer, passed: bool, seen: str) -> None:
    assert streamed(answer) == (passed, seen)


def test_a_chat_is_the_same_however_its_bytes_are_cut() -> None:
    body = event(role="assistant") + event(content="grüß ") + event(content="Gott") + DONE
    stream, heard = ChatStream(), ""
    for at in range(len(body)):
        heard += stream.feed(body[at : at + 1])
    assert heard == "grüß Gott"
    assert stream.verdict(HttpAnswer(200, body, 0.1)) == (True, "grüß Gott")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices": []}', b'{"choices": [{"text": 5}]}'])
def test_a_completion_without_text_has_none(body: bytes) -> None:
    assert completion_text(HttpAnswer(200, body, 0.1)) == ""


def test_a_rank_that_was_not_reached_is_named_and_nothing_counts_as_verified() -> None:
    ranks = (
        RankProof("d-0", "d-0", True),
        RankProof("d-1", "d-1", None, "d-0 passed it no request"),
        RankProof("d-2", "d-2", False, "chat 200 without text"),
    )
    assert coverage_words(ranks) == "1 of 3 ranks answered; failed: d-2; not covered: d-1 (d-0 passed it no request)"
    made = Verification((Proof("chat", True, ""),), ranks[:2])
    assert not made.passed
    assert not made.unreachable
    assert made.words().startswith("NOT verified; 1 of 2 ranks answered; not covered: d-1")
    out_of_reach = RankProof("d-1", "d-1", None, "d1 is unreachable", unreachable=True)
    assert Verification((Proof("chat", True, ""),), (ranks[0], out_of_reach)).unreachable
    failed = Verification((Proof("chat 1 to rank d-2", False, "empty", engine="d-2", number=1),), ranks)
    assert failed.words().startswith(
        "NOT verified; checks of d-2 failed; 1 of 3 ranks answered; failed: d-2; not covered: d-1"
    )


@pytest.mark.parametrize(
    ("usage", "wrong"),
    [
        ('{"prompt_tokens": 5, "completion_tokens": 2}', ""),
        ('{"prompt_tokens": 5, "completion_tokens": 17}', "chat 200, but it counts 17 tokens where 16 were asked for"),
        ('{"prompt_tokens": 5, "completion_tokens": 0}', "chat 200, but it counts 0 tokens where 16 were asked for"),
        ('{"prompt_tokens": 0, "completion_tokens": 2}', "chat 200, but it counts 0 tokens of the prompt"),
        ("[]", ""),
    ],
)
def test_the_counts_of_a_stream_are_checked(usage: str, wrong: str) -> None:
    body = event(content="hello") + f'data: {{"choices": [], "usage": {usage}}}\n\n'.encode() + DONE
    stream = ChatStream(16)
    stream.feed(body)
    assert stream.verdict(HttpAnswer(200, body, 0.1)) == ((False, wrong) if wrong else (True, "hello"))


def test_nothing_tried_is_not_passed() -> None:
    assert not Verification(()).passed
    assert not Verification((Proof("ranks", None, ""),)).passed
    assert Verification((Proof("chat", True, ""), Proof("ranks", None, ""))).passed
    assert not Verification((Proof("chat", True, ""), Proof("golden", False, ""))).passed


class Answering:
    """A link whose engine answers every chat in the same way, and every completion well."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def http(self, api_key: str = "", *, tls: bool = False, uds: str = "") -> Answering:
        return self

    async def metrics(self, *_: object) -> Scrape:
        return Scrape(0.0, error="/metrics 404")

    async def post_json(
        self,
        host: str,
        port: int,
        path: str,
        value: object,
        timeout_s: float,
        hear: Callable[[bytes], None] | None = None,
        headers: object = None,
    ) -> HttpAnswer:
        if hear is None:
            return HttpAnswer(200, b'{"choices": [{"text": " Paris"}]}', 0.1)
        hear(self._body)
        return HttpAnswer(200, self._body, 0.1)

    def follow(self, *_: object) -> None:
        """Logs are not looked at."""


@pytest.mark.parametrize(("body", "state"), [(event(content="hi") + DONE, "UP"), (event(content="hi"), "DOWN")])
async def test_a_verification_proves_the_service_or_brings_it_down(tmp_path: Path, body: bytes, state: str) -> None:
    made = Deployment(CLUSTER, MIXED, Assignment({"mixed": ("d0", "d1")}))
    links = cast(dict[str, NodeLink], {name: Answering(body) for name in CLUSTER.nodes})
    monitor = Monitor(made, LogBook(tmp_path / "logs", lambda _: None), links, read_only=True)
    now = time.time()
    for rank in made.ranks():
        key = RunKey(made.name, rank.id, "r1")
        monitor.on_link(rank.node, Link(LinkState.UP, now))
        monitor.on_runs(rank.node, (RunState(key, RunVerdict.RUNNING, log_size=5, started_at=now),), (), now)
        probed(monitor, rank.node)
        monitor.run_record(key).http_checks = (HealthCheck("http", Grade.OK), HealthCheck("model", Grade.OK))
        monitor.run_record(key).log_refused = True
    monitor.publish()
    assert monitor.snapshot.service is not None
    assert monitor.snapshot.service.state == "UNPROVEN", "health alone proves nothing"
    found = await Verifier(monitor, links, OutputComparison(monitor, links)).run(
        lambda _: None, VerificationRequest(requests=3)
    )
    assert found.passed is (state == "UP")
    assert [each.name for each in found.proofs if each.number] == [
        "chat 1 to rank mixed-0", "chat 2 to rank mixed-1", "chat 3 to rank mixed-0",
    ]  # fmt: skip
    monitor.publish()
    assert monitor.snapshot.service.state == state
    seen = {(fact, engine) for fact, engine, _ in facts_of(monitor.snapshot, frozenset())}
    assert seen == (set() if state == "UP" else {(BAD_ANSWERS, "mixed-0"), (BAD_ANSWERS, "mixed-1")})
