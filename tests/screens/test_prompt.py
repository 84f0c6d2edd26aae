"""The prompt: which lines are offered for what is typed, and how one is chosen, gone back from and run."""

from __future__ import annotations

from pathlib import Path

import pytest

from screens.candidates import Candidate, matching
from tests.screens.fakes import FakeSession
from tests.screens.panes.test_log_pane import pane, session_with_log
from tests.screens.seen import Seen, running

CANDIDATES = tuple(
    map(Candidate, ("logs", "log ", "log decode-1", "log prefill-0", "layout", "start", "start ", "start decode-1"))
)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["logs", "log ", "layout", "start", "start "]),
        ("lo", ["logs", "log "]),
        ("ＬＯ", ["logs", "log "]),
        ("log ", ["log decode-1", "log prefill-0"]),
        ("log　p", ["log prefill-0"]),
        ("log", ["logs", "log "]),
        ("start", ["start", "start "]),
        ("decode", ["log decode-1", "start decode-1"]),
        ("log 1", ["log decode-1"]),
        ("nothing", []),
    ],
)
def test_what_fits_is_offered_names_once_their_word_is_whole(typed: str, offered: list[str]) -> None:
    assert [each.words for each in matching(CANDIDATES, typed)] == offered


def line(seen: Seen) -> str:
    """What the prompt's line has."""
    return seen.app.main.prompt.line.value


@pytest.mark.parametrize("size", [(60, 24), (80, 24), (120, 40)])
async def test_a_command_is_found_chosen_and_run_by_what_the_line_shows(tmp_path: Path, size: tuple[int, int]) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, size) as seen:
        await seen.press("fullwidth_colon")
        await seen.sees("more below")
        await seen.type("lo")
        await seen.sees("log ...")
        await seen.sees("Show the log of the engine")
        await seen.press("tab")
        assert line(seen) == "log "
        await seen.sees("log decode-3")
        await seen.type("decode-1")
        await seen.press("tab")
        assert line(seen) == "log decode-1", "a whole name is the first that fits it"
        await seen.press("down", "down", "up")
        assert line(seen) == "log decode-10"
        await seen.press("up", "up", "tab", "shift+tab", "enter")
        assert seen.app.main.panes.opened == "logs"
        assert pane(seen).engine == "decode-1"
        assert "log decode-10" not in seen.text(), "the list is gone with the line"


async def test_arrows_go_through_earlier_lines_and_the_newest_are_offered_first(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (80, 24)) as seen:
        for words in ("node p1", "node d0"):
            await seen.press("colon")
            await seen.type(words)
            await seen.press("enter")
        await seen.press("colon")
        await seen.sees("used before")
        assert [each.words for each in seen.app.main.prompt.list.candidates[:2]] == ["node d0", "node p1"]
        await seen.press("up", "up")
        assert line(seen) == "node p1"
        await seen.press("down", "down")
        assert line(seen) == ""
        await seen.press("up", "enter")
        assert seen.app.main.grid.target.node == "d0"
        await seen.press("colon", "escape")
        assert "used before" not in seen.text()


async def test_a_search_and_a_filter_offer_what_was_looked_for_before(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (80, 24)) as seen:
        await seen.press("l", "g", "slash")
        await seen.type("step 42")
        await seen.press("enter", "slash")
        await seen.sees("step 42 ")
        await seen.type("42")
        await seen.press("tab", "enter")
        window = pane(seen).window
        assert window is not None
        assert window.needle is not None
        assert window.needle.text == "step 42"
        await seen.press("ampersand", "tab", "enter")
        await seen.sees("& ERROR|CRITICAL|Traceback")


async def test_a_word_that_is_typed_whole_runs_whatever_is_offered(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, (80, 24)) as seen:
        await seen.press("colon")
        await seen.type("ｎｏｄｅ")
        await seen.press("ideographic_space")
        await seen.type("ｄ１")
        await seen.press("enter")
        assert seen.app.main.grid.target.node == "d1"
        await seen.press("colon")
        await seen.type("start")
        assert seen.app.main.prompt.list.chosen is None
