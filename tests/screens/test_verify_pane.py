"""Chats are seen as they come, failures first; one key gathers evidence into a private file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from console.model.errors import Refused
from console.services import support_bundle
from console.services.serving.verification import Proof
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, running

PROOFS = (
    Proof("chat 1 through proxy", True, "Hello world", 0.5, "proxy", 1),
    Proof("golden: both", False, "they differ (E9)"),
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
        await seen.sees("they differ (E9)")
        lines = seen.lines()
        failed, passed = (
            next(at for at, line in enumerate(lines) if word in line) for word in ("golden", "chat 1 thr")
        )
        assert failed < passed
        assert any("1 of 2 proofs failed" in line for line in lines)
        assert session.verifier.asked == ["Say hello."]


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
