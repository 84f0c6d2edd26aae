"""The health pane: the verdict first, equal engines as one row, and operations for exactly the engines of the row."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.model.snapshot import EngineState, Grade, HealthCheck
from screens.panes.health import HealthPane
from screens.styled_lines import plain
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running

CHECKS = (HealthCheck("http", Grade.OK, "200"), HealthCheck("works", Grade.OK, "one token in 9 ms"))


def rows(seen: Seen) -> list[str]:
    """What the pane shows, with single blanks."""
    pane = seen.app.main.panes["health"]
    assert isinstance(pane, HealthPane)
    return [" ".join(plain(line).split()) for line in (pane.heading, *(row.line for row in pane.rows))]


def healthy(tmp_path: Path) -> FakeSession:
    """All engines are ready and all their checks pass."""
    session = FakeSession(tmp_path)
    for name in session.snapshot.engines:
        session.set_state(name, EngineState.READY, health=CHECKS)
    return session


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_engines_in_the_same_state_for_the_same_reason_are_one_row(tmp_path: Path, size: tuple[int, int]) -> None:
    session = healthy(tmp_path)
    async with running(session, size) as seen:
        await seen.press("4")
        assert rows(seen) == [
            "✓ all 19 engines are ready",
            "▸ prefill-0, prefill-1 ✓ 2 ready 2 checks pass on p0, p1",
            "▸ decode-0..15 ✓ 16 ready 2 checks pass on d0, d1",
            "▸ proxy ✓ ready 2 checks pass on p0",
        ]
        session.set_state("decode-3", EngineState.STARTING, phase="load", progress=0.42, progress_text="shard 12/64")
        await seen.sees("1 of 19 engines are starting")
        assert rows(seen)[1] == "▸ decode-3 ↻ start 42% load shard 12/64 on d0"
        session.set_state("decode-9", EngineState.FAILED, cause="HBM is full")
        await seen.sees("1 of 19 needs attention")
        assert [row.split()[1].strip(",") for row in rows(seen)[1:]] == [
            "decode-9",
            "decode-3",
            "prefill-0",
            "decode-0..2",
            "proxy",
        ]


async def test_a_row_unfolds_to_its_engines_and_an_engine_to_its_checks(tmp_path: Path) -> None:
    async with running(healthy(tmp_path), LARGE) as seen:
        await seen.press("4", "enter")
        assert rows(seen)[1:4] == [
            "▾ prefill-0, prefill-1 ✓ 2 ready 2 checks pass on p0, p1",
            "▸ prefill-0 ✓ ready 2 checks pass on p0",
            "▸ prefill-1 ✓ ready 2 checks pass on p1",
        ]
        await seen.press("j", "enter")
        assert "✓ works ok one token in 9 ms" in rows(seen)
        await seen.press("enter", "k", "enter")
        assert len(rows(seen)) == 4


async def test_the_engine_that_is_selected_comes_first_and_is_unfolded(tmp_path: Path) -> None:
    session = healthy(tmp_path)
    session.set_state("decode-9", EngineState.FAILED, cause="HBM is full")
    async with running(session, LARGE) as seen:
        seen.app.main.grid.show_engine("decode-3")
        await seen.press("4")
        assert rows(seen)[1] == "▾ decode-3 ✓ ready 2 checks pass on d0"
        assert "✓ works ok one token in 9 ms" in rows(seen)
        seen.app.main.grid.show_engine("decode-4")
        await seen.sees("▾ decode-4")
        assert "▾ decode-3" not in seen.text()


async def test_operations_are_for_all_engines_of_the_row(tmp_path: Path) -> None:
    session = healthy(tmp_path)
    async with running(session, LARGE) as seen:
        await seen.press("4", "r")
        await seen.sees("RESTART 2 engines")
        assert session.operator.asked == [("restart", ("prefill-0", "prefill-1"))]
        await seen.press("escape", "enter", "j", "j", "x")
        await seen.sees("STOP 1 engine")
        assert session.operator.asked[-1] == ("stop", ("prefill-1",))
