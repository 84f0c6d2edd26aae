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

        assert roles(" Logs") == "title under"
        assert roles(" 3") == "key"
        await seen.press("2")
        assert roles(" Logs") == "title cursor", "keys go to the log"
        assert roles(" 3") == "key"
        assert roles(" B") == "key"
        await seen.press("tab")
        assert roles(" Logs") == "title under"
        await seen.press("3")
        assert roles(" NPUs") == "title cursor"
        assert roles(" 4") == "key"
