"""The diagnosis pane: from what failed first to its engine in the grid, its line in the log, and the operation that helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.model.snapshot import EngineState
from screens.actions import PLACES
from screens.panes.log import LogPane
from tests.screens.fakes import FakeCopy, FakeSession
from tests.screens.seen import LARGE, SMALL, running

BROKEN = b"(Worker_TP0 pid=9) ERROR 11-24 10:17:00 [worker.py:88] RuntimeError: [x] (NPU) out of memory *"


def broken(directory: Path, *, read_only: bool = False) -> FakeSession:
    """A session in which decode-3 broke, with the line that says so amid its log."""
    session = FakeSession(directory, read_only=read_only)
    session.set_state("decode-3", EngineState.FAILED)
    copy = FakeCopy(directory / "decode-3.log")
    around = b"".join(b"INFO 11-24 10:15:00 step %d\n" % number for number in range(2000))
    copy.append(around + BROKEN + b"\n" + around)
    session.logs.copies["decode-3", None] = copy
    session.diagnosed("decode-3", BROKEN.decode(), "Lower the memory share.")
    return session


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_remedy_names_the_keys_that_lead_on(tmp_path: Path, size: tuple[int, int]) -> None:
    session = broken(tmp_path)
    async with running(session, size) as seen:
        await seen.press("6")
        await seen.sees("next    r then restarts decode (16 engines)  enter to the engine  l its log ")
        await seen.press("tab")
        await seen.sees("next    6 r then restarts decode (16 engines) ")
        await seen.press("tab", "r")
        await seen.sees("RESTART 1 engine")
        assert session.operator.asked == [("restart", ("decode-3",))]
        await seen.press("escape")
        session.set_state("decode-3", EngineState.STUCK)
        await seen.sees("X kills the remaining processes of decode-3")


async def test_the_row_in_the_pane_counts_and_not_the_marks_of_the_grid(tmp_path: Path) -> None:
    session = broken(tmp_path)
    async with running(session) as seen:
        await seen.press("space", "6", "x")
        await seen.sees("STOP 1 engine")
        assert "marked" not in seen.text()
        assert session.operator.asked == [("stop", ("decode-3",))]
        await seen.press("escape", "d")
        await seen.sees("what runs as decode-3")


async def test_enter_takes_the_grid_to_the_broken_rank_even_from_a_filter_that_hides_it(tmp_path: Path) -> None:
    async with running(broken(tmp_path)) as seen:
        main = seen.app.main
        await seen.press("slash")
        await seen.type("p1")
        await seen.press("enter", "6", "enter")
        assert main.grid.target.engine == "decode-3"
        assert main.pane.has_focus
        await seen.sees(lambda: any("decode-3 " in line and "✗ FAILED" in line for line in seen.lines()))


async def test_l_opens_the_log_at_the_failing_line(tmp_path: Path) -> None:
    async with running(broken(tmp_path), LARGE) as seen:
        await seen.press("6", "l")
        await seen.sees("RuntimeError: [x] (NPU) out of memory *")
        log = seen.app.main.panes["logs"]
        assert isinstance(log, LogPane)
        assert log.window is not None
        assert log.window.text(log.window.hit) == BROKEN.decode(), "where n and e go on from"
        assert seen.app.main.panes.opened == "logs"
        assert seen.app.main.grid.target.engine == "decode-3"


async def test_what_was_not_read_in_the_log_opens_it_and_says_so(tmp_path: Path) -> None:
    session = broken(tmp_path)
    session.diagnosed("decode-3", "resident memory grew by 40 GiB")
    async with running(session) as seen:
        await seen.press("6", "l")
        await seen.sees(lambda: "that line is not in the log here" in seen.toasts())
        await seen.sees("step 1999")


async def test_read_only_names_no_act(tmp_path: Path) -> None:
    async with running(broken(tmp_path, read_only=True)) as seen:
        await seen.press("6")
        await seen.sees("next    enter to the engine  l its log ")
        assert "restarts" not in seen.text()


async def test_what_followed_is_one_line_that_unfolds_and_another_failure_is_not_laid_to_the_first(
    tmp_path: Path,
) -> None:
    session = broken(tmp_path)
    (first,) = session.snapshot.diagnoses
    peers = [
        replace(first, signature="F10", title="a peer died", engine=f"decode-{at}", first=False, consequence=True)
        for at in range(4, 16)
    ]
    port = replace(first, signature="A11", title="a port is taken", engine="prefill-0", first=False, remedy="Free it.")
    session.diagnose((first, *peers, port))
    async with running(session) as seen:
        await seen.press("6")
        await seen.sees("✗ decode-3 on d0 failed first: out of memory (C1)")
        await seen.sees("✗ not explained by the first failure: a port is taken (A11) on prefill-0")
        await seen.sees("remedy  Free it.")
        await seen.sees("▸ 1 consequence: a peer died (F10) on decode-4..15")
        await seen.sees("2 failures, 1 consequence folded")
        await seen.press("G", "enter")
        await seen.sees("▾ 1 consequence")
        await seen.sees("16:00:00  a peer died (F10) on decode-4..15")
        await seen.press("j", "r")
        await seen.sees("RESTART")
        assert session.operator.asked == [("restart", ("decode-4",))]
        await seen.press("escape", "k", "enter")
        await seen.sees("▸ 1 consequence")


async def test_the_line_of_the_log_is_one_row_until_it_is_unfolded(tmp_path: Path) -> None:
    session = broken(tmp_path)
    session.diagnosed("decode-3", f"{BROKEN.decode()} {'word ' * 40}and its end")
    async with running(session) as seen:
        await seen.press("6")
        await seen.sees("▸ seen    TP0: RuntimeError: [x] (NPU) out of memory")
        assert "and its end" not in seen.text()
        await seen.press("G", "enter")
        await seen.sees("and its end")
        await seen.sees("(Worker_TP0 pid=9) ERROR")


async def test_an_engine_that_failed_without_a_known_cause_is_named_with_what_is_seen(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    for name in ("decode-3", "decode-4", "decode-5"):
        session.set_state(name, EngineState.FAILED, cause="exit 1 [bold]")
    session.set_state("decode-6", EngineState.DEGRADED, after="decode-3", cause="decode-3 failed first")
    async with running(session) as seen:
        await seen.press("6")
        await seen.sees("✗ decode-3..5 FAILED: exit 1 [bold]")
        await seen.sees("failed, cause unknown")
        assert "decode-6" not in seen.app.main.pane.clipping()
        await seen.press("r")
        assert session.operator.asked == [("restart", ("decode-3",))]


async def test_every_pane_has_a_place_of_the_table(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        assert {getattr(pane, "place", "") for pane in seen.app.main.panes.values()} <= {*PLACES}
