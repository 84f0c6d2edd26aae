"""What the metrics and the diagnosis panes show, and that unknown is never 0 there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineState, Serving
from screens.panes.base import Pane
from screens.styled_lines import Line
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running

BUSY = Serving(
    0.0, running=12, waiting=3, kv_usage=0.97, prompt_tokens_s=4096.0, generation_tokens_s=812.0,
    ttft_s=(0.25, 0.5, 2.5), itl_s=(0.021, 0.03, 0.055), history=(None, 400.0, 812.0),
)  # fmt: skip
CAUSE = Diagnosis(
    "A11", "fatal", "a port is taken", "An old process holds it.", "Stop the holder.", "some source", "decode-3", "d0",
    "OSError: [bold]Address[/bold] already in use\x1b[2J", 1_700_000_000.0, True, first=True,
)  # fmt: skip


def draw(seen: Seen, name: str, snapshot: ClusterSnapshot) -> None:
    """Give a pane another picture."""
    pane = seen.app.main.panes[name]
    assert isinstance(pane, Pane)
    assert pane.moment is not None
    pane.take(replace(pane.moment, snapshot=snapshot))


def pane_rows(seen: Seen, name: str) -> dict[str, Line]:
    """The rows of a pane by key."""
    pane = seen.app.main.panes[name]
    assert isinstance(pane, Pane)
    return {row.key: row.line for row in pane.rows}


async def test_the_metrics_pane_shows_the_whole_and_the_groups_and_why_something_is_unknown(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, (140, 40)) as seen:
        await seen.press("5")
        await seen.sees("no metrics yet")
        now = session.snapshot.at
        busy = replace(BUSY, at=now)
        some = {"": busy, "decode": replace(Serving(now), running=12)}
        draw(seen, "metrics", replace(session.snapshot, serving=some))
        await seen.sees("250ms/2.5s")
        row = next(line for line in seen.lines() if line.startswith(" decode "))
        assert row.split() == ["decode", "12", *"---------"]
        assert "unknown: the engine does not report it" in seen.text()
        marks = [role for text, role in pane_rows(seen, "metrics")["group/decode"] if text.strip() == "-"]
        assert marks == ["dim"] * 9
        assert "no metrics from prefill-0, prefill-1, decode-0, decode-1 +14 more: not read yet" in seen.text()
        session.set_state("decode-3", EngineState.STARTING)
        draw(seen, "metrics", replace(session.snapshot, serving=some))
        await seen.sees("no metrics from decode-3: not ready (start)")


async def test_no_figure_is_cut_at_80_columns(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, SMALL) as seen:
        await seen.press("5")
        await seen.sees("no metrics yet")
        busy = replace(BUSY, at=session.snapshot.at, prefix_hit=1.0, acceptance=0.88, preemptions_s=123.4)
        draw(seen, "metrics", replace(session.snapshot, serving={"": busy}))
        await seen.sees("123.4/s")
        row = next(line for line in seen.lines() if line.startswith(" all "))
        assert row.split()[:11] == ["all", "12", "3", "97%", "4096", "812", "2.5s", "55ms", "100%", "88%", "123.4/s"]
        assert "TTFT   ITL PREFIX DRAFT PREEMPT" in seen.text()


async def test_the_causes_pane_shows_the_first_with_its_remedy_and_no_markup_or_escape(tmp_path: Path) -> None:
    for size in (SMALL, LARGE):
        session = FakeSession(tmp_path)
        async with running(session, size) as seen:
            await seen.press("6")
            await seen.sees("no known failure")
            draw(seen, "diagnosis", replace(session.snapshot, diagnoses=(CAUSE,)))
            await seen.sees(" failed first: a port is taken (A11)")
            await seen.sees("Stop the holder.")
            assert "[bold]Address[/bold]" in seen.text()
            assert "\x1b" not in seen.text()
