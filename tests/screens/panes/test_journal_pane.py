"""The journal pane: newest first, filtered by typing, and harmless whatever was written."""

from __future__ import annotations

from pathlib import Path

from console.model.ongoing_work import ObservedOperation
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, running


async def test_acts_are_listed_newest_first_and_filtered(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    facts = {"verb": "stop", "deployment": "a3-pd", "engines": ["decode-3"]}
    session.journal.record("begin", **facts)  # type: ignore[arg-type]
    session.journal.record("end", outcomes={"term": "failed"}, messages={"term": "no\x1b[2J link [red]"}, **facts)  # type: ignore[arg-type]
    async with running(session, SMALL) as seen:
        await seen.press("J")
        await seen.sees("stop of 1 engine")
        await seen.sees("stop of 1 engine    1 failed in 0 s: term failed: n")
        await seen.press("enter")
        await seen.sees("term failed: no link [red]")
        session.journal.record("accept-host-key", node="d1")
        session.publish()
        await seen.sees("accept host key")
        await seen.sees("▾ ")
        lines = seen.lines()
        newest, oldest = (
            next(at for at, line in enumerate(lines) if word in line) for word in ("accept host", "stop of")
        )
        assert newest < oldest
        await seen.press("slash")
        await seen.type("decode-3")
        await seen.sees(lambda: "accept host" not in seen.text() and "stop of 1 engine" in seen.text())


async def test_the_title_counts_operations_and_failures(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    for verb in ("stop", "start"):
        session.journal.record("end", verb=verb, deployment="a3-pd", engines=["p-0"], outcomes={"term": "failed"})
    async with running(session, LARGE) as seen:
        await seen.press("J")
        await seen.sees("2 operations from this machine, 2 failed, newest first")


async def test_an_empty_journal_says_so(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), LARGE) as seen:
        await seen.press("J")
        await seen.sees("nobody has done anything on this cluster")


async def test_what_others_did_is_there_marked_as_seen(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.more["observed_operations"] = (
        ObservedOperation(session.snapshot.at - 40.0, "alice@jump2", "stop", ("decode-0", "decode-1")),
    )
    session.publish()
    async with running(session, LARGE) as seen:
        await seen.press("J")
        await seen.sees("0 operations from this machine, 1 by other operators")
        line = next(line for line in seen.lines() if "alice@jum" in line)
        assert "stop of 2 engines" in line
        assert "seen, not done here" in line
