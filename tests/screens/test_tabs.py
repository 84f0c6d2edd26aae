"""The lines between grid and pane: no name in a tab is cut at any width, and of a title the least telling end goes first."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.actions import BY_ID
from screens.key_map import Keys
from screens.panes.table import PANES
from screens.styled_lines import Line, length, plain
from screens.tabs import Tab, keys_word, tab_line, title_line
from tests.screens.fakes import FakeSession
from tests.screens.seen import running

TABS = [Tab(each.id, each.title, Keys().word(BY_ID[each.action]), each.part) for each in PANES]


@pytest.mark.parametrize(
    ("current", "cells", "seen"),
    [
        (
            "logs",
            121,
            " 2 Logs  3 NPUs  4 Health  5 Metrics  6 Diagnosis | 7 Roles  8 Plan  9 Events  0 Preflight | "
            "Y Verify  B Bench  J Journal",
        ),
        (
            "logs",
            120,
            " 2 Logs 3 NPUs 4 Health 5 Metrics 6 Diagnosis | 7 Roles 8 Plan 9 Events 0 Preflight | "
            "Y Verify B Bench J Journal",
        ),
        ("health", 80, " 2 Logs  3 NPUs  4 Health  5 Metrics  6 Diagnosis | 7-0 Deployment | YBJ Tools"),
        ("plan", 80, " 2-6 Selection | 7 Roles  8 Plan  9 Events  0 Preflight | YBJ Tools"),
        ("journal", 80, " 2-6 Selection | 7-0 Deployment | Y Verify  B Bench  J Journal"),
        ("npus", 60, " 2 Logs 3 NPUs 4 Health 5 Metrics 6 Diagnosis | 7-0 | YBJ"),
        ("preflight", 60, " 2-6 | 7 Roles  8 Plan  9 Events  0 Preflight | YBJ"),
        ("metrics", 40, " 5 Metrics 2346 | 7-0 | YBJ"),
        ("metrics", 12, "5 Metrics"),
    ],
)
def test_the_tabs_of_the_open_part_keep_their_names_longest(current: str, cells: int, seen: str) -> None:
    assert plain(tab_line(TABS, current, cells, here=False)) == seen


@given(
    st.sampled_from([each.id for each in TABS]),
    st.integers(12, 220),
    st.booleans(),
    st.dictionaries(st.sampled_from([each.id for each in TABS]), st.sampled_from(["", "F12", "ctrl-x", "3"])),
)
def test_no_name_in_a_tab_is_ever_cut(current: str, cells: int, here: bool, changed: dict[str, str]) -> None:
    tabs = [Tab(each.id, each.word, changed.get(each.id, each.key), each.part) for each in TABS]
    line = tab_line(tabs, current, cells, here=here)
    words = {each.word for each in tabs} | {each.part.capitalize() for each in tabs}
    opened = next(f"{each.key} {each.word}".strip() for each in tabs if each.id == current)
    names = [text.strip() for text, role in line if role != "dim" and text.strip() not in ("", "|")]
    assert set(names) <= words | {opened}
    assert opened in names
    assert length(line) <= cells or names == [opened]


def test_keys_in_a_row_are_said_in_short() -> None:
    assert [keys_word([Tab("", "", key, "") for key in keys]) for keys in ("789", "2346", ["F1", "x"], ["", "x"], "")] == [
        "7-9", "2346", "F1 x", "x", "",
    ]  # fmt: skip


TITLE: Line = (("Log of decode-0", "bold"), ("  run 3, 12403 lines", "dim"), ("  following", "ok"))


@pytest.mark.parametrize(
    ("more", "cells", "seen"),
    [
        ("", 60, " Log of decode-0  run 3, 12403 lines  following"),
        ("9 more below", 66, " Log of decode-0  run 3, 12403 lines  following  9 more below "),
        ("", 42, " Log of decode-0  run 3, 12403~  following"),
        ("", 28, " Log of decode-0  following"),
        ("9 more below", 30, " Log of decode~  9 more below "),
    ],
)
def test_of_a_title_goes_first_what_tells_least(more: str, cells: int, seen: str) -> None:
    drawn = plain(title_line(TITLE, more, cells))
    assert drawn.split() == seen.split()
    assert length(title_line(TITLE, more, cells)) <= cells


@pytest.mark.parametrize("cells", [60, 80, 100, 120, 160, 200])
async def test_every_pane_says_on_a_line_of_its_own_what_it_shows(tmp_path: Path, cells: int) -> None:
    async with running(FakeSession(tmp_path), (cells, 30)) as seen:
        main = seen.app.main
        for each in PANES:
            main.arrangement.go(each.id)
            await seen.pilot.pause()
            above, title = (plain(bar._painted[0][0]) for bar in (main.tabs, main.pane_title))
            assert each.title in above
            assert title.strip()
