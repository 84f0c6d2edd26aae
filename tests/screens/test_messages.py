"""What is said in passing covers nothing, and a key that does nothing says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events

from tests.screens.fakes import FakeSession
from tests.screens.seen import SMALL, running

LONG = "the support bundle is in " + "/a/long/path" * 16


@pytest.mark.parametrize("size", [SMALL, (120, 40), (200, 50)], ids=str)
@pytest.mark.parametrize("words", ["saved", LONG], ids=["short", "long"])
async def test_a_message_covers_neither_grid_nor_pane(tmp_path: Path, size: tuple[int, int], words: str) -> None:
    async with running(FakeSession(tmp_path), size) as seen:
        main = seen.app.main
        await seen.press("3")
        seen.app.notify(words, markup=False)
        await seen.sees(words[:20])
        assert words in "".join(line.strip() for line in seen.lines()).replace("  ", " ") or len(words) > size[0]
        rows = [widget.region for widget in (main.header, main.grid, main.pane)]
        assert all(not row.overlaps(main.messages.region) for row in rows)
        assert main.messages.region.bottom == size[1]
        assert not main.footer.is_on_screen
        seen.app.clear_notifications()
        await seen.sees(lambda: main.footer.is_on_screen)
        assert "Help" in seen.lines()[-1]


async def test_the_newest_messages_stay_where_there_are_many(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        for number in range(9):
            seen.app.notify(f"message {number}", markup=False)
        await seen.sees("message 8")
        assert [line.split()[-1] for line in seen.lines()[-4:]] == ["5", "6", "7", "8"]


async def test_a_message_of_a_node_is_no_markup_and_stays_on_its_lines(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        seen.app.notify("[bold]one\ntwo\x1b[2J", markup=False)
        await seen.sees("[bold]one")
        assert [line.strip() for line in seen.lines()[-2:]] == ["▪ [bold]one", "two"]


async def test_a_prompt_and_a_message_are_both_seen(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        main = seen.app.main
        await seen.press("slash", "q")
        seen.app.notify("saved", markup=False)
        await seen.sees("saved")
        assert main.prompt.line.is_on_screen
        assert not main.footer.is_on_screen
        await seen.press("escape")
        seen.app.clear_notifications()
        await seen.sees(lambda: main.footer.is_on_screen)


async def test_a_message_does_not_come_back_over_a_terminal_that_is_too_small(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.pilot.resize_terminal(20, 5)
        await seen.sees("too small")
        seen.app.notify("saved", markup=False)
        await seen.pilot.pause()
        assert "saved" not in seen.text()
        await seen.pilot.resize_terminal(80, 24)
        await seen.sees("saved")


@pytest.mark.parametrize(("key", "word"), [("z", "z"), ("f9", "F9"), ("ctrl+b", "ctrl-b"), ("é", "é")])
async def test_a_key_that_does_nothing_here_says_so(tmp_path: Path, key: str, word: str) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press(key)
        await seen.sees(f"no key {word} here; ? lists keys")


@pytest.mark.parametrize("key", ["up", "left", "home", "escape", "tab", "pageup", "backspace", "space", "shift+up"])
async def test_a_key_that_only_moves_says_nothing(tmp_path: Path, key: str) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("4", key, key)
        await seen.pilot.pause(0.1)
        assert "no key" not in seen.toasts()


async def test_a_key_counts_where_it_means_something_and_a_prompt_takes_all(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("2", "z", "slash", "z", "é")
        await seen.pilot.pause(0.1)
        assert "no key" not in seen.toasts()


async def test_a_paste_of_letters_is_not_told_key_by_key(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), step=0.001) as seen:
        for key in "zzéézzéé":
            seen.app.post_message(events.Key(key, key))
        await seen.pilot.pause(0.2)
        assert "no key" not in seen.toasts()
