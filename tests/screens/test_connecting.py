"""Before the first sample of a node is complete the screen says that it is being connected, and nothing else of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.model.snapshot import EngineState, Link, LinkState
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, running


def connecting(session: FakeSession) -> None:
    """Nodes that answer, and whose first samples are awaited."""
    for name in session.cluster.nodes:
        session.set_node(name, link=Link(LinkState.CONNECTING, reason="waits for its list of runs"))
    for name in session.snapshot.engines:
        words = "connecting: waits for its list of runs"
        session.set_state(name, EngineState.UNREACHABLE, connecting=True, cause=words)


async def test_nothing_is_claimed_while_it_connects(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    connecting(session)
    async with running(session, LARGE) as seen:
        await seen.sees("connecting: waits for its list")
        header = seen.header()
        assert "19 connecting" in header
        assert "0/4 nodes" in header
        for claim in ("no link", "idle", "ready", "FAILED", "start"):
            assert claim not in header
        await seen.press("2")
        await seen.sees("connecting to p0: whether prefill-0 runs is not known yet")
        assert "has not run" not in seen.text()


@pytest.mark.parametrize(("heard", "words"), [(True, "has not run"), (False, "whether prefill-0 has run is not known")])
async def test_a_log_that_is_not_here_says_whether_that_is_known(tmp_path: Path, heard: bool, words: str) -> None:
    session = FakeSession(tmp_path)
    session.set_state("prefill-0", EngineState.IDLE, run=None)
    if not heard:
        session.set_node("p0", link=Link(LinkState.LOST, reason="timed out"))
        session.set_state("prefill-0", EngineState.UNREACHABLE, cause="timed out")
    async with running(session, LARGE) as seen:
        await seen.press("2")
        await seen.sees(words)
