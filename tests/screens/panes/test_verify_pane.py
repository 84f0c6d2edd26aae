"""Chats are seen as they come, failures first; one key gathers evidence into a private file."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path

import pytest

from console.model.errors import Refused
from console.model.service import Service, ServiceState
from console.services import support_bundle
from console.services.serving.coverage import RankProof
from console.services.serving.verification import Proof
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, running

PROOFS = (
    Proof("chat 1 through proxy", True, "Hello world", 0.5, "proxy", 1),
    Proof("comparison: both", False, "they differ (failure E9)"),
)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_text_is_there_before_the_answer_is_whole_and_failures_come_first(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    session = FakeSession(tmp_path)
    session.verifier.proofs = PROOFS
    session.verifier.gate = asyncio.Event()
    async with running(session, size) as seen:
        await seen.press("Y", "f", "enter")
        await seen.sees("Hel[b]lo")
        session.verifier.gate.set()
        await seen.sees("they differ (failure E9)")
        lines = seen.lines()
        failed, passed = (
            next(at for at, line in enumerate(lines) if word in line) for word in ("comparison", "1 chat through proxy")
        )
        assert failed < passed
        assert any("1 of 2 checks failed" in line for line in lines)
        assert session.verifier.asked == ["Say hello."]


async def test_equal_answers_are_one_line_that_unfolds_and_the_verdict_stands_above(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    through = tuple(Proof(f"chat {at} through proxy", True, "Hi", 0.25 + at / 100, "proxy", at) for at in range(1, 5))
    odd = Proof("chat 5 through proxy", True, "Hello[b]", 0.5, "proxy", 5)
    bad = Proof("chat 6 to rank decode-3", False, "completion 200 with no text in it", 0.4, "decode-3", 6)
    missed = tuple(RankProof(f"decode-{at}", f"decode-{at}", None, "d1 is out of reach") for at in range(8, 16))
    ranks = (RankProof("decode-3", "decode-3", False, bad.seen), RankProof("decode-4", "decode-4", True), *missed)
    session.verifier.proofs, session.verifier.ranks = (*through, odd, bad), ranks
    async with running(session, (90, 24)) as seen:
        await seen.press("Y", "f", "enter")
        await seen.sees("✗ NOT verified; checks of decode-3 failed at ")
        lines = [line[1:].rstrip() for line in seen.lines() if line.startswith((" ✗", " ▸", "   "))]
        assert lines[1] == "▸ FAIL        1 of 10 ranks answered; failed: decode-3; not covered: decode-8..15"
        assert lines[2] == "▸ FAIL        1 chat to rank decode-3, 0.40 s: completion 200 with no text in it"
        assert lines[3].startswith("▸ pass        5 chats through proxy, 0.26 to 0.50 s: 2 different answers to d")
        await seen.press("j", "enter")
        await seen.sees("decode-8..15: d1 is out of reach")
        await seen.press("enter", "j", "j", "enter")
        await seen.sees("4 chats: Hi")
        await seen.sees("1 chat: Hello[b]")
        assert session.verifier.asked == ["Say hello."], "Enter on a folded line asks nobody"


@pytest.mark.parametrize("key", ["", "s3cret"])
async def test_a_command_to_try_it_by_hand_is_copied_without_the_key_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", key)
    session = FakeSession(tmp_path)
    session.verifier.proofs = PROOFS[:1]
    session.more["service"] = Service(ServiceState.UP, "http://10.0.0.1:8000", "dsv4")
    session.publish()
    async with running(session) as seen:
        await seen.press("Y", "enter")
        await seen.sees("c copies    curl -sS http://10.0.0.1:8000/v1/chat/completions -H")
        await seen.press("c")
        await seen.sees(lambda: "sent to the terminal's clipboard" in seen.toasts())
        text = (tmp_path / "clipboard.txt").read_text()
    assert "s3cret" not in text
    words = shlex.split(text)
    assert ("Authorization: Bearer $VLLM_API_KEY" in words) is bool(key)
    body = json.loads(words[words.index("-d") + 1])
    assert (body["model"], body["messages"][0]["content"]) == ("dsv4", "Say hello.")


async def test_a_deployment_that_does_not_serve_says_so(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)

    async def refused(*_: object) -> None:
        raise Refused("proxy is idle, so nothing can be verified", hint="start it first")

    session.verifier.run = refused  # type: ignore[assignment,method-assign]
    async with running(session, LARGE) as seen:
        await seen.press("colon")
        await seen.type("verify why me")
        await seen.press("enter")
        await seen.sees("proxy is idle")
        await seen.sees("; Enter tries again")


async def test_evidence_is_one_private_file_and_its_path_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gathered(_session: object) -> tuple[support_bundle.Piece, ...]:
        return (support_bundle.Piece("about.json", "{}"),)

    monkeypatch.setattr(support_bundle, "gather", gathered)
    async with running(FakeSession(tmp_path), SMALL) as seen:
        await seen.press("Q")
        await seen.sees(lambda: "secrets are masked" in seen.toasts())
        (written,) = (tmp_path / "support-bundles").iterdir()
        assert str(written) in seen.toasts()
        assert written.stat().st_mode & 0o777 == 0o600
        assert any(str(written) in event.text for event in seen.session.snapshot.events), "words in passing go"
