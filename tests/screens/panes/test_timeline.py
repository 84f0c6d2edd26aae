"""Events and journal as time lines: days apart, ages, equal entries as one row that unfolds, and nothing lost by folding."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.model.snapshot import Event, EventLevel
from screens.panes.timeline import TOGETHER_S, TimelineEntry, fold_entries
from tests.screens.fakes import NOW, FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running

DAY_S = 86400.0


def happened(session: FakeSession, *events: tuple[float, str, str], level: EventLevel = EventLevel.INFO) -> None:
    """Events of so many seconds ago, oldest first: age, node, text."""
    made = (Event(at, NOW - age, level, text, node=node) for at, (age, node, text) in enumerate(events, 1))
    session.more["events"] = tuple(made)
    session.publish()


def rows(seen: Seen) -> list[str]:
    """The rows of the pane behind their margin, without those of the grid and the bars."""
    pane = seen.app.main.pane
    lines = seen.lines()
    return [line[1:].rstrip() for line in lines[pane.region.y : pane.region.bottom] if line.strip()]


async def test_the_newest_is_first_with_its_age_and_days_are_apart(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    happened(
        session, (3 * DAY_S, "p0", "old"), (DAY_S, "p1", "yesterday"), (7200.0, "d0", "before"), (40.0, "d1", "now")
    )
    async with running(session, LARGE) as seen:
        await seen.press("9")
        await seen.sees("now")
        shown = rows(seen)
        stamp = time.strftime("%H:%M:%S", time.localtime(NOW - 40.0))
        assert shown[0] == f"  {stamp}  40s   d1            now"
        assert [row.split()[1] for row in shown if " d0 " in row or " p" in row] == ["2h", "24h", "3d"]
        days = [row.split()[1] for row in shown if row.startswith("  ") and row.endswith("---")]
        assert days == [time.strftime("%Y-%m-%d", time.localtime(NOW - age)) for age in (DAY_S, 3 * DAY_S)]


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_equal_events_are_one_row_that_unfolds_to_their_times(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    flaps = [(600.0 - at * 10, "d0", text) for at in range(20) for text in ("link lost", "connected")]
    peers = [(50.0, f"n-{at}", "connected") for at in range(8)]
    happened(session, *flaps, *peers)
    async with running(session, size) as seen:
        await seen.press("9")
        await seen.sees("times")
        shown = rows(seen)
        assert len(shown) == 2
        assert "28 times  connected" in shown[0]
        assert "20 times  link lost" in shown[1]
        await seen.press("enter")
        await seen.sees("d0, n-0..7: connected")
        pane = seen.app.main.panes["events"]
        assert len(pane.rows) == 2 + 1 + 28, "each of them with its own time"  # type: ignore[union-attr]
        await seen.press("enter")
        await seen.sees(lambda: len(pane.rows) == 2)  # type: ignore[union-attr]


async def test_a_long_text_is_cut_until_it_is_unfolded(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    happened(session, (9.0, "d0", f"{'word ' * 30}the end"), level=EventLevel.ERROR)
    async with running(session) as seen:
        await seen.press("9")
        await seen.sees("▸ ")
        await seen.sees("Events  1, 1 error, newest first")
        assert "the end" not in seen.text()
        await seen.press("enter")
        await seen.sees("the end")


async def test_a_reader_further_down_stays_at_what_is_read_and_one_at_the_top_at_the_newest(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    for number in range(30):
        session.event(f"event {number}")
    async with running(session) as seen:
        pane = seen.app.main.panes["events"]
        await seen.press("9")
        await seen.sees("event 29")
        session.event("event 30")
        await seen.sees("event 30")
        assert pane.cursor == 0  # type: ignore[union-attr]
        await seen.press("j", "j")
        here = pane.current.key  # type: ignore[union-attr]
        session.event("event 31")
        await seen.sees(lambda: len(pane.rows) == 32)  # type: ignore[union-attr]
        assert pane.current.key == here  # type: ignore[union-attr]


EVENTS = st.lists(st.tuples(st.floats(0.0, 3 * DAY_S), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=40)


@given(EVENTS)
def test_folding_loses_no_entry_and_joins_only_equal_ones_of_one_day(events: list[tuple[float, str, str]]) -> None:
    entries = [
        TimelineEntry(str(number), NOW - age, (name,), alike, (), ())
        for number, (age, name, alike) in enumerate(sorted(events))
    ]
    folds = fold_entries(entries)
    assert sorted(each.key for fold in folds for each in fold.entries) == sorted(each.key for each in entries)
    for fold in folds:
        times = [each.at for each in fold.entries]
        assert times == sorted(times, reverse=True)
        assert len({each.alike for each in fold.entries}) == 1
        assert len({time.localtime(at)[:3] for at in times}) == 1
        assert all(before - after <= TOGETHER_S for before, after in itertools.pairwise(times))
