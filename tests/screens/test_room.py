"""Where room is short: what is cut ends in a mark or is broken into lines, and lists say how much of them is not seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from console.model.alert import Alert
from console.model.plan import Confirm, Outcome, Plan, Stage, Step, StepEvent
from console.model.service import Service, ServiceState
from screens.grid.columns import heading_with
from screens.panes.plan import PlanPane
from screens.styled_lines import Line, Pen, Span, brief, cut, fit, length, plain, shifted, strip
from screens.themes import LOOKS
from screens.widgets import ListWidget, changed_cells
from tests.screens.fakes import FakeSession
from tests.screens.seen import SMALL, running


@pytest.mark.parametrize(
    ("line", "cells", "drawn"),
    [
        ((("stop", "ok"), (" now", "dim")), 10, "stop now  "),
        ((("stop", "ok"), (" now", "dim")), 8, "stop now"),
        ((("stop", "ok"), (" now", "dim")), 7, "stop n~"),
        ((("stop", "ok"), (" now", "dim")), 4, "sto~"),
        ((("stop", "ok"), ("   ", "")), 5, "stop "),
        ((("\u4f60\u597d\u4f60\u597d", "ok"),), 4, "\u4f60~ "),
        ((), 3, "   "),
    ],
)
def test_a_line_is_cut_with_a_mark_only_where_words_are_lost(line: Line, cells: int, drawn: str) -> None:
    assert plain(cut(line, cells)) == drawn
    assert strip(line, LOOKS["dark"], Pen(), cells, Style()).text == drawn


@pytest.mark.parametrize(
    ("title", "cells", "drawn"),
    [
        ("  NODE STATE          NPUS", 60, "  NODE STATE          NPUS  9 more below"),
        ("  NODE STATE               NPUS", 31, "  NODE STATE 9 more below  NPUS"),
        ("  NODE STATE NPUS", 17, "     9 more below"),
        ("  NODE STATE NPUS", 25, "  NODE STATE 9 more below"),
    ],
)
def test_the_heading_of_the_grid_takes_words_without_losing_a_column(title: str, cells: int, drawn: str) -> None:
    line = heading_with(((title, "dim"),), "9 more below", cells)
    assert plain(line) == drawn
    assert length(line) <= cells


async def test_a_list_with_more_rows_than_fit_says_so_in_its_title(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), SMALL) as seen:
        await seen.press("3")
        await seen.sees("2 more below")
        await seen.press("G")
        await seen.sees("2 above")
        await seen.press("question_mark")
        await seen.sees("Enter runs  1")
        await seen.sees("more below")
        assert "One row up" in seen.text()
        assert "Other panes" in seen.text(), "the heading above the first row is seen"


async def test_the_progress_of_a_plan_is_not_cut_for_the_number_of_its_rows(tmp_path: Path) -> None:
    steps = tuple(Step(f"s{at}", "stop", f"stop decode-{at}", "d0", (f"decode-{at}",)) for at in range(20))
    plan = Plan("stop", "lab", "a3-pd", (), (Stage("stop", steps),), Confirm("key", "y"))
    async with running(FakeSession(tmp_path), SMALL) as seen:
        await seen.press("8", "tab")
        pane = seen.app.main.pane
        assert isinstance(pane, PlanPane)
        pane.begin(plan)
        await seen.sees("stop 0/20 steps running  8 then c: no more steps   ")


async def test_a_long_grid_says_how_many_rows_are_not_seen(tmp_path: Path) -> None:
    names = ["p0", "p1", "d0", "d1"] + [f"spare{index}" for index in range(60)]
    async with running(FakeSession(tmp_path, names=names), SMALL) as seen:
        rows = seen.app.main.grid.visible_rows
        await seen.sees(f" {64 - rows} more below")
        await seen.press("G")
        await seen.sees(f" {64 - rows} above")


async def test_help_tells_the_whole_of_a_row_that_is_cut(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), SMALL) as seen:
        await seen.press("question_mark")
        await seen.sees("type to search")
        await seen.type("suspend")
        assert "returns" in seen.text()
        await seen.press(*["backspace"] * 7)
        await seen.type("sync proxy")
        await seen.sees("Plan to make the proxy list the ready engines o~")
        await seen.sees("Plan to make the proxy list the ready engines only")


async def test_steps_are_told_in_full(tmp_path: Path) -> None:
    words = "drain decode-0: no new requests, wait up to 120 s for their requests to end, then leave"
    step = Step("drain", "drain", words, "node-with-a-long-name", ("decode-0",))
    plan = Plan("stop", "lab", "a3-pd", ("decode-0",), (Stage("drain", (step,)),), Confirm("key", "y"))
    async with running(FakeSession(tmp_path), SMALL) as seen:
        await seen.press("8")
        pane = seen.app.main.pane
        assert isinstance(pane, PlanPane)
        pane.begin(plan)
        pane.note(StepEvent("drain", Outcome.RUNNING))
        await seen.sees("\u21bb runs    node-with-a-long-name: drain decode-0: no new requests, wait")
        await seen.sees("             up to 120 s for their requests to end, then leave")


SPANS = st.lists(
    st.tuples(st.sampled_from(["", "a", " 12", "\u4f60\u597d", "d0 ready "]), st.sampled_from(["", "ok"])), max_size=8
)


@given(before=SPANS, after=SPANS, cells=st.integers(1, 30))
def test_a_row_is_redrawn_from_its_first_changed_cell_to_its_last(
    before: list[Span], after: list[Span], cells: int
) -> None:
    old, new = [(tuple(before), ())], [(tuple(after), ())]
    start, end = changed_cells(old, new, cells)
    drawn = [strip(lines[0][0], LOOKS["dark"], Pen(), cells, Style()) for lines in (old, new)]
    for begin, stop in ((0, start), (end, cells)):
        kept = [each.crop(begin, max(begin, stop)) for each in drawn]
        was, now = ([(char, piece.style) for piece in each for char in piece.text] for each in kept)
        assert was == now, "what is left as it is was drawn so before"
    assert changed_cells(old, [(tuple(after), ("cursor",))], cells) == (0, cells)


@pytest.mark.parametrize(
    ("line", "cells", "drawn"),
    [
        ((("stop", "ok"), (" now", "dim")), 0, "stop now"),
        ((("stop", "ok"), (" now", "dim")), 2, "~p now"),
        ((("stop", "ok"), (" now", "dim")), 4, "~now"),
        ((("stop", "ok"), (" now", "dim")), 9, "~"),
        ((("    now", ""),), 2, "  now"),
        ((("\u4f60\u597d", "ok"),), 1, "~\u597d"),
        ((("\u4f60\u597d", "ok"),), 2, "~ "),
        ((), 3, " "),
    ],
)
def test_a_line_moved_sideways_says_that_words_are_to_the_left(line: Line, cells: int, drawn: str) -> None:
    assert plain(shifted(line, cells)) == drawn


async def test_what_a_list_cuts_at_60_columns_is_reached_sideways(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.journal.record("start", outcome="done", engines=["x" * 90 + "END"])
    async with running(session, (60, 24)) as seen:
        for key in "3457890BJY6":
            await seen.press(key)
            pane = seen.app.main.pane
            assert isinstance(pane, ListWidget)
            assert "right" in seen.app.screen.active_bindings, f"{pane.id} does not move sideways"
        await seen.press("J")
        assert "~" in seen.text()
        assert "xEND" not in seen.text()
        await seen.press("right", "right", "right", "right", "right", "right")
        await seen.sees("xEND")
        assert any(line.startswith(" ~") for line in seen.lines()[1:])
        await seen.press("left", "left", "left", "left", "left", "left")
        assert not any(line.startswith(" ~") for line in seen.lines())


STATES = [ServiceState.DOWN, ServiceState.UP, ServiceState.UNPROVEN, ServiceState.UNKNOWN]


@pytest.mark.parametrize("size", [(40, 10), (44, 10), (50, 12), (60, 20), (80, 24), (120, 40)], ids=str)
@pytest.mark.parametrize("state", STATES)
async def test_the_verdict_is_the_last_word_that_goes(
    tmp_path: Path, size: tuple[int, int], state: ServiceState
) -> None:
    session = FakeSession(tmp_path, name="a-cluster-with-a-rather-long-name", read_only=True)
    session.more["service"] = Service(state, "http://10.0.0.1:8000", "dsv4", "no decode (0: out of memory)")
    session.publish()
    async with running(session, size) as seen:
        assert str(state) in seen.header()
        session.more["alerts"] = (Alert("links", "error", "a link is down", 0.0),)
        session.publish()
        await seen.pilot.pause()
        assert str(state) in seen.header()


@pytest.mark.parametrize(
    ("text", "cells", "brief_text"),
    [
        ("136 shown", 9, "136 shown"),
        ("136 shown", 5, "136 ~"),
        ("136 shown", 3, "~"),
        ("found 136", 8, "found ~"),
        ("decode-12", 8, "decode-~"),
        ("took 12.5s", 8, "took ~"),
        ("took 12.5s", 9, "took 12.~"),
        ("10.0.0.123", 9, "10.0.0.~"),
        ("x1", 1, "~"),
    ],
)
def test_a_text_that_is_cut_shows_no_other_number(text: str, cells: int, brief_text: str) -> None:
    assert brief(text, cells) == brief_text
    assert fit(text, cells) == (brief_text.ljust(cells) if cells > 1 else text[:1])
    assert plain(cut(((text, ""),), cells)) == brief_text.ljust(cells)


@given(st.text("0123456789 .ab\u4f60", max_size=40), st.integers(2, 30))
def test_every_number_of_a_line_that_is_cut_is_one_of_the_line(text: str, cells: int) -> None:
    numbers = set(re.findall(r"[0-9]+", text))
    for seen in (brief(text, cells), fit(text, cells), plain(cut(((text, ""),), cells))):
        assert set(re.findall(r"[0-9]+", seen)) <= numbers
