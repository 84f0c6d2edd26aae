"""Help, command line, assignment, going back, leaving: a newcomer finds the way from the screen alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.model.findings import Finding, Severity
from console.model.service import Service, ServiceState
from console.model.snapshot import Link, LinkState
from screens.actions import ACTIONS, BY_ID, CHANGING, PLACES, bindings, key_word
from screens.styled_lines import plain
from screens.widgets import ListWidget
from tests.screens.fakes import FakeSession
from tests.screens.seen import running


def test_every_action_has_words_and_no_key_means_two_things_in_one_place() -> None:
    assert len(BY_ID) == len(ACTIONS)
    for place in PLACES:
        seen: dict[str, str] = {}
        for action in ACTIONS:
            assert action.label
            assert action.help
            if place not in action.where and "everywhere" not in action.where:
                continue
            for key in action.keys:
                assert key not in seen, f"{place}: {key} is {seen[key]} and {action.id}"
                seen[key] = action.id
        assert len(bindings(place, "verb")) == sum(1 for action in ACTIONS if place in action.where)


def test_verbs_stay_off_keys_that_cause_accidents() -> None:
    for action in ACTIONS:
        if action.danger:
            assert not set(action.keys) & {
                "enter",
                "delete",
                "backspace",
                "ctrl+d",
                "ctrl+k",
                "ctrl+u",
                "ctrl+c",
                "ctrl+z",
                "y",
            }


async def test_every_action_is_known_to_a_room(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        main = seen.app.main
        known = (
            {name for each in main.controllers for name in each.verbs()}
            | set(main.grid.verbs())
            | {name for pane in main.panes.values() for name in pane.verbs()}
        )
        assert {action.id for action in ACTIONS} - known == set()


async def test_help_is_searched_and_run(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("question_mark")
        await seen.sees("type to search")
        await seen.type("graceful")
        await seen.press("escape")
        await seen.press("question_mark")
        await seen.type("problems")
        await seen.press("enter")
        await seen.sees(lambda: seen.app.main.grid.view.problems)


async def test_help_opens_at_the_keys_of_the_focused_pane_and_enter_runs_the_highlighted_row(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), (80, 24)) as seen:
        await seen.press("l", "question_mark")
        await seen.sees("type to search")
        options = seen.app.screen.query_one("#options")
        assert isinstance(options, ListWidget)
        assert plain(options.rows[0].line).strip() == "Log"
        await seen.press("down", "down", "down")
        await seen.type("e")
        assert len(options.rows) > 20
        assert options.cursor == options.offset_row == 0, "what fits best is highlighted after each letter"
        await seen.press("down", "down")
        chosen = options.current
        assert chosen is not None
        await seen.type("r")
        assert options.cursor == 0
        await seen.type("rors of several")
        assert not options.rows
        await seen.press("enter")
        assert seen.app.screen.query("#options"), "nothing is highlighted, so nothing runs"


async def test_help_lists_every_action_of_every_place(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), (120, 150)) as seen:
        await seen.press("question_mark")
        await seen.sees("type to search")
        keys = {row.key for row in seen.app.screen.query_one("#options").rows}  # type: ignore[attr-defined]
        assert {action.id for action in ACTIONS} <= keys


async def test_assign_shows_ranks_before_it_is_done(tmp_path: Path) -> None:
    session = FakeSession(tmp_path, assigned=False)
    async with running(session, (120, 40)) as seen:
        await seen.press("space", "space", "a")
        await seen.sees("Give p0, p1")
        await seen.sees("rank 0, devices 0-15, port 7100")
        await seen.press("enter")
        await seen.sees(lambda: session.deployment.assignment.of("prefill") == ("p0", "p1"))
        await seen.press("G", "a", "down")
        await seen.sees("ranks 0-7, devices 0-15, ports 7100-7107")
        await seen.press("enter")
        await seen.sees(lambda: session.deployment.assignment.of("decode") == ("d1",))
        await seen.press("u")
        assert session.deployment.assignment.of("decode") == ()
        await seen.press("ctrl+y")
        assert session.deployment.assignment.of("decode") == ("d1",)


async def test_a_full_group_refuses_with_a_hint(tmp_path: Path) -> None:
    names = ["p0", "p1", "d0", "d1", "x9"]
    session = FakeSession(tmp_path, names=names)
    async with running(session) as seen:
        await seen.press("G", "a")
        await seen.sees("are too many")
        await seen.press("enter")
        await seen.sees("prefill has all its nodes")
        await seen.sees("take one away first")


async def test_enter_on_an_engine_offers_what_can_be_done(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        seen.app.main.grid.show_engine("decode-1")
        await seen.press("enter")
        await seen.sees("decode-1: what to do?")
        await seen.type("describe")
        await seen.press("enter")
        await seen.sees("what runs as decode-1")
        await seen.sees("export HCCL_BUFFSIZE=256")


@pytest.mark.parametrize(
    ("typed", "seen_text"),
    [("node d1", " d1 "), ("log decode-9", "decode-9"), ("theme light", "RW"), ("nonsense", "no command")],
)
async def test_the_command_line(tmp_path: Path, typed: str, seen_text: str) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("colon")
        await seen.type(typed)
        await seen.press("enter")
        await seen.sees(lambda: seen_text in seen.text() + seen.toasts())


async def test_a_tab_is_opened_by_the_word_on_it_and_a_log_by_its_tab_and_engine(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        main = seen.app.main
        for word, opened in (
            ("diagnosis", "diagnosis"),
            ("preflight", "preflight"),
            ("npus", "npus"),
            ("journal", "journal"),
        ):
            await seen.press("colon")
            await seen.type(word)
            await seen.press("enter")
            assert main.panes.opened == opened
        await seen.press("colon")
        await seen.type("logs decode-9")
        await seen.press("enter")
        assert (main.panes.opened, main.grid.target.engine) == ("logs", "decode-9")
        assert not seen.toasts()


async def test_escape_never_leaves_and_q_does(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("l", "f", "escape", "escape", "escape", "escape")
        assert seen.app.is_running
        assert seen.app.focused is seen.app.main.grid
        await seen.press("f", "q")
        assert seen.app.is_running
        await seen.press("ctrl+c")
        assert seen.app.is_running
        await seen.press("q")
        assert seen.app.return_code == 0
    assert session.closed


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_ways_out(tmp_path: Path, key: str) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press(key)
        assert seen.app.return_code == 0
    assert session.closed


@pytest.mark.parametrize(
    ("key", "word"),
    [("question_mark", "?"), ("ctrl+z", "ctrl-z"), ("f5", "F5"), ("X", "X"), ("f", "f"), ("fullwidth_colon", "：")],
)
def test_keys_are_written_for_people(key: str, word: str) -> None:
    assert key_word(key) == word


async def test_the_board_fills_places_and_moves_ranks(tmp_path: Path) -> None:
    session = FakeSession(tmp_path, assigned=False)
    session.findings = (Finding("R5", Severity.ERROR, "decode has no node", "layout.yaml:30", fix="give it two nodes"),)
    async with running(session) as seen:
        assert "1 finding (7)" in seen.header()
        await seen.press("7")
        await seen.sees("empty, Enter chooses a node")
        await seen.sees("error R5: decode has no node (layout.yaml:30)")
        await seen.sees("give it two nodes")
        await seen.press("j", "enter")
        await seen.sees("Which node for prefill?")
        await seen.sees("rank 0, devices 0-15, port 7100")
        await seen.press("enter", "j", "enter")
        await seen.sees("Which node for prefill?")
        await seen.press("enter")
        await seen.sees(lambda: session.deployment.assignment.of("prefill") == ("p0", "p1"))
        await seen.press("k", "greater_than_sign")
        assert session.deployment.assignment.of("prefill") == ("p1", "p0")
        await seen.press("less_than_sign")
        assert session.deployment.assignment.of("prefill") == ("p0", "p1")


@pytest.mark.parametrize("word", ["stat", "statu", "status", "sattus"])
async def test_a_word_like_status_leads_to_what_only_looks(tmp_path: Path, word: str) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("colon")
        await seen.type(word)
        await seen.press("enter")
        await seen.sees(lambda: "status of lab" in seen.text() or "did you mean status?" in seen.toasts())
        assert session.operator.asked == []


async def test_what_completes_a_line_offers_what_only_looks_first(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("colon")
        words = [each.words.partition(" ")[0] for each in seen.app.main.prompt.list.candidates]
        assert words == sorted(words, key=lambda each: each in CHANGING)
        for typed in ("s", "st", "sta"):
            assert next(each for each in words if each.startswith(typed)) not in CHANGING


async def test_the_status_in_full_names_what_the_header_shortens(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.more["service"] = Service(ServiceState.DOWN, "http://10.0.0.1:8000", "dsv4", "no decode")
    session.set_node("p1", link=Link(LinkState.BLOCKED, reason="the host key changed", hint="dsv4-console trust p1"))
    async with running(session) as seen:
        await seen.press("f3")
        await seen.sees("DOWN: no decode")
        for words in (
            "19 engines ready",
            "3 of 4 nodes linked",
            "p1 BLOCKED: the host key changed",
            "dsv4-console trust p1",
        ):
            assert words in seen.text()
