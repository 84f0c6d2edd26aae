"""The log pane's keys for several logs, context, times, selecting, and leaving the screen to a pager."""

from __future__ import annotations

from pathlib import Path

from tests.screens.fakes import FakeCopy, FakeSession
from tests.screens.seen import running
from tests.screens.test_log_pane import pane, session_with_log


def ranks(directory: Path, lines: int = 20) -> FakeSession:
    """Sixteen decode ranks that write the same, but for one that stops early."""
    session = FakeSession(directory)
    for rank in range(16):
        copy = FakeCopy(directory / f"decode-{rank}.log")
        steps = lines if rank != 7 else lines - 1
        copy.append(
            b"".join(
                b"(EngineCore_DP%d pid=%d) INFO 11-24 10:15:%02d [core.py:1] step %d\n" % (rank, rank, step, step)
                for step in range(steps)
            )
        )
        session.logs.copies[f"decode-{rank}", None] = copy
    return session


async def test_m_merges_the_group_from_the_grid_and_again_shows_one_alone(tmp_path: Path) -> None:
    async with running(ranks(tmp_path), (120, 40)) as seen:
        await seen.press("6", "escape", "G", "M")
        await seen.sees("decode x16")
        await seen.sees("x15 not 7")
        assert any(line.startswith("x16 ") for line in seen.lines())
        await seen.press("z")
        await seen.sees("decode-12")
        await seen.press("z")
        await seen.sees(lambda: "decode-12 " not in seen.text())
        await seen.press("g", "slash")
        await seen.type("step 19")
        await seen.press("enter")
        await seen.sees("15/16 not 7")
        await seen.press("escape", "M")
        await seen.sees("20 lines")
