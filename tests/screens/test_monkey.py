"""Thousands of keys that nobody meant: nothing ends the console, nothing runs that was not confirmed, the focus is never lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from textual import events

from console.model.plan import Confirm
from screens.actions import ACTIONS
from screens.dialogs.base import Dialog
from tests.screens.fakes import FakeCopy, FakeSession
from tests.screens.seen import Seen, running

LEAVING = {"q", "ctrl+q", "ctrl+z", "ctrl+e", "quotation_mark", "dollar_sign", "Q", "o", "f6"}
"""Keys that leave the console or give the terminal away, which a driver in memory does not have."""
TABLE = sorted({key for action in ACTIONS for key in action.keys if not key.startswith("full")} - LEAVING)
TEXT = [*"abdefghijklmnpstuvwyz0123456789", "space", "backspace", "delete", "ctrl+w", "ctrl+v"]
KEYS = [*TABLE, *TEXT, "enter", "escape", "y", "tab", "down", "up"]
SIZES = [(80, 24), (60, 20), (120, 40), (40, 10), (20, 5), (200, 50)]


def _event(key: str) -> events.Key:
    return events.Key(key, key if len(key) == 1 else " " if key == "space" else None)


def _whole(seen: Seen) -> None:
    """What must hold whatever was pressed."""
    app = seen.app
    assert app.is_running
    assert app._exception is None
    if isinstance(app.screen, Dialog) or app.main.prompt.display or app.main.has_class("tiny"):
        return
    assert app.focused in (app.main.grid, app.main.pane), f"keys go to {app.focused}"
    assert app.focused.is_on_screen


@pytest.mark.parametrize("seed", range(1, 3))
@pytest.mark.parametrize("write", [False, True], ids=["read-only", "write"])
async def test_random_keys_in_bursts_and_resizes_do_no_harm(tmp_path: Path, seed: int, write: bool) -> None:
    chance = random.Random(seed)
    session = FakeSession(tmp_path, read_only=not write)
    session.operator.confirm = Confirm("name", "a name that no monkey types")
    copy = FakeCopy(tmp_path / "decode-3.log")
    copy.append(b"INFO 11-24 10:15:00 step\n" * 300)
    session.logs.copies["decode-3", None] = copy
    async with running(session, step=0.01) as seen:
        for _ in range(60):
            if chance.random() < 0.2:
                await seen.pilot.resize_terminal(*chance.choice(SIZES))
            for _ in range(chance.randint(1, 12)):
                seen.app.post_message(_event(chance.choice(KEYS)))
            await seen.pilot.pause()
            _whole(seen)
        assert session.operator.ran == []
        assert session.trusted == []
        await seen.pilot.resize_terminal(120, 40)
        for _ in range(6):
            seen.clock.now += 5.0
            await seen.press("escape")
        await seen.sees(lambda: seen.app.screen is seen.app.main and not seen.app.main.prompt.display)
        _whole(seen)
        seen.clock.now += 5.0
        await seen.press("7")
        await seen.sees(lambda: seen.app.main.panes.opened == "roles")


@pytest.mark.parametrize("seed", range(1, 3))
async def test_no_burst_confirms_a_plan_that_one_key_would(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    session = FakeSession(tmp_path)
    session.operator.confirm = Confirm("key", "y")
    async with running(session, step=0.0) as seen:
        for _ in range(25):
            for _ in range(chance.randint(3, 10)):
                seen.app.post_message(_event(chance.choice(["x", "s", "r", "X", "y", "y", "enter", "down", "space"])))
            seen.clock.now += 0.01
            await seen.pilot.pause()
            _whole(seen)
        assert session.operator.ran == []
