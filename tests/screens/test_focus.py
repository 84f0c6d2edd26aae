"""Keys typed faster than the screen is laid out: each finds what the one before it did, and the focus is never lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.widget import Widget

from tests.screens.fakes import FakeSession
from tests.screens.seen import running


@pytest.mark.parametrize(
    "burst",
    ["41", "Jf921", "f_355]", "1f1", "3ff[[4", "B12]f"],
    ids=["pane, grid", "J", "full", "one", "tabs", "bench"],
)
async def test_a_burst_of_keys_leaves_the_focus_on_something_that_is_seen(tmp_path: Path, burst: str) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        for key in burst:
            seen.app.post_message(events.Key(key, key))
        await seen.pilot.pause(0.2)
        main = seen.app.main
        await seen.sees(lambda: isinstance(main.focused, Widget) and main.focused.is_on_screen)
        assert main.focused in (main.grid, main.pane)
        assert seen.lines()[-1].strip(), "the footer says what keys do here"


async def test_the_tabs_show_where_keys_go_and_their_digits_count_everywhere(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        tabs = seen.app.main.tabs

        def roles(words: str) -> str:
            return next(role for text, role in tabs._painted[0][0] if text == words)

        assert roles("2 Logs") == "title under"
        assert roles("3") == "dim"
        await seen.press("2")
        assert roles("2 Logs") == "title cursor", "keys go to the log"
        assert roles("YBJ") == "dim"
        await seen.press("tab")
        assert roles("2 Logs") == "title under"
        await seen.press("3")
        assert roles("3 NPUs") == "title cursor"
        assert roles(" Health") == "plain"


@pytest.mark.parametrize("size", [(60, 14), (80, 15), (40, 10)], ids=str)
async def test_where_one_half_has_room_the_one_with_the_keys_is_seen(tmp_path: Path, size: tuple[int, int]) -> None:
    async with running(FakeSession(tmp_path), size) as seen:
        main = seen.app.main
        for key in ("4", "tab", "3", "escape", "7", "q", "P", "colon", "escape"):
            await seen.press(key)
            await seen.sees(lambda: main.focused is not None and main.focused.is_on_screen)
            assert main.focused in (main.grid, main.pane, main.prompt.line)


async def test_a_pane_that_was_opened_while_the_terminal_was_too_small_gets_the_keys(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        main = seen.app.main
        await seen.press("4")
        await seen.pilot.resize_terminal(10, 3)
        await seen.sees(lambda: main.has_class("tiny"))
        main.panes.open("events")
        await seen.pilot.resize_terminal(80, 24)
        await seen.sees(lambda: main.focused is main.panes["events"])


@pytest.mark.parametrize("half", ["grid", "pane"])
@pytest.mark.parametrize("end", ["escape", "enter"])
async def test_a_prompt_that_was_closed_while_the_terminal_was_too_small_gives_the_keys_back(
    tmp_path: Path, half: str, end: str
) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        main = seen.app.main
        await seen.press("4" if half == "pane" else "1", "slash", "z")
        assert main.prompt.line.has_focus
        await seen.pilot.resize_terminal(20, 5)
        await seen.sees(lambda: main.has_class("tiny"))
        await seen.press(end)
        assert not main.prompt.display
        await seen.pilot.resize_terminal(120, 40)
        await seen.pilot.pause(0.1)
        there: Widget = main.pane if half == "pane" else main.grid
        assert there.has_focus
        assert there.is_on_screen


async def test_a_prompt_stays_open_and_has_the_keys_after_the_terminal_was_too_small(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        main = seen.app.main
        await seen.press("slash", "z")
        await seen.pilot.resize_terminal(20, 5)
        await seen.sees(lambda: main.has_class("tiny"))
        await seen.pilot.resize_terminal(120, 40)
        await seen.pilot.pause(0.1)
        await seen.press("y")
        assert main.prompt.line.has_focus
        assert main.prompt.line.value == "zy"
