"""Keys by action id: remapped, removed, refused when they clash; and what is remembered between sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from screens import saved_settings
from screens.actions import ACTIONS
from screens.key_map import Keys, is_key, markdown, rows
from screens.options import Options
from tests.screens.fakes import FakeSession
from tests.screens.seen import running


def test_the_table_for_documents_has_every_action_once() -> None:
    assert sorted(row[2] for row in rows()) == sorted(action.id for action in ACTIONS)
    text = markdown()
    assert text.count("\n") == len(ACTIONS) + 2
    assert "| Everywhere | `x` | stop |" in text


def test_the_keys_as_delivered_are_sound() -> None:
    assert Keys().problems() == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stpo": ("x",)}, "no action 'stpo'; did you mean stop?"),
        ({"stop": ("s",)}, "s is both start and stop"),
        ({"stop": ("y",)}, "stop: y may not start an action"),
        ({"kill": ("enter",)}, "kill: enter may not start an action"),
        ({"next-hit": ("m",)}, "m is both next-hit and mark-line (log)"),
    ],
)
def test_bad_changes_are_named(changed: dict[str, tuple[str, ...]], said: str) -> None:
    assert any(said in problem for problem in Keys(changed).problems())


async def test_remapped_keys_work_and_are_shown(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    keys = Keys({"stop": ("ctrl+x",), "start": ()})
    assert keys.problems() == ()
    async with running(session, options=Options(keys=keys)) as seen:
        assert "ctrl-x Stop" in seen.lines()[-1]
        assert "Start" not in seen.lines()[-1]
        await seen.press("x", "s")
        assert session.operator.asked == []
        await seen.press("ctrl+x")
        await seen.sees("STOP 2 engines")


async def test_view_is_remembered(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("o", "o", "V", "colon")
        await seen.type("node d1")
        await seen.press("enter", "q")
    async with running(FakeSession(tmp_path)) as seen:
        assert seen.app.main.grid.view.sort == "state"
        assert seen.app.main.grid.view.by_group
        assert seen.app.main.prompt.history[":"] == ["node d1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lab": 3}', '{"lab": {"sort": 7, "commands": [1, "a"]}}', "\x00"])
async def test_a_broken_memory_is_forgotten(tmp_path: Path, text: str) -> None:
    (tmp_path / saved_settings.FILE).write_text(text)
    async with running(FakeSession(tmp_path)) as seen:
        assert seen.app.main.grid.view.sort == "written"


def test_memory_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert saved_settings.save(tmp_path / "file", {}) is False


def test_every_key_of_the_table_is_one_and_a_slip_is_named() -> None:
    assert not [key for action in ACTIONS for key in action.keys if not is_key(key)]
    assert Keys({"logs": ("f99x", "ctrl+alt+hyper+f5")}).problems() == ("logs: there is no key 'f99x'",)


def test_a_clash_of_two_keys_that_work_everywhere_is_told_once() -> None:
    assert Keys({"stop": ("f9",), "start": ("f9",)}).problems() == ("F9 is both start and stop (everywhere)",)
