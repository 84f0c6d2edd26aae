"""Every key that counts everywhere does something that is seen, on a screen whose panes were never opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from screens.actions import ACTIONS, Action
from tests.screens.fakes import FakeSession
from tests.screens.seen import Seen, running

UNSEEN: Mapping[str, str] = {
    "back": "the screen is at its top already",
    "redraw": "what is drawn anew looks the same",
    "refresh": "what is drawn anew looks the same; the node is asked again",
    "mouse": "a driver in memory has no mouse",
    "suspend": "a driver in memory has no shell to go back to",
    "support-bundle": "a session in memory has nothing to gather from nodes",
    "plain": "a driver in memory has no normal screen",
    "shell": "a driver in memory has no normal screen",
    "edit": "a driver in memory has no normal screen",
}
"""Keys whose effect a screen in memory cannot show, and why."""
EVERYWHERE = [action for action in ACTIONS if "everywhere" in action.where]


def _state(seen: Seen) -> tuple[object, ...]:
    main = seen.app.main
    painted = tuple(tuple(widget._painted) for widget in (main.header, main.grid, main.tabs, main.footer))
    return (seen.text(), seen.toasts(), painted, id(seen.app.screen), seen.app.interaction.look.name, seen.app._exit)


@pytest.mark.parametrize("action", [each for each in EVERYWHERE if each.id not in UNSEEN], ids=lambda each: each.id)
@pytest.mark.parametrize("write", [False, True], ids=["read-only", "write"])
async def test_a_key_that_counts_everywhere_shows_its_effect_on_a_fresh_screen(
    tmp_path: Path, action: Action, write: bool
) -> None:
    session = FakeSession(tmp_path, read_only=not write)
    async with running(session) as seen:
        await seen.pilot.pause()
        before = _state(seen)
        await seen.pilot.press(action.keys[0])
        await seen.sees(lambda: _state(seen) != before)
        if not write:
            assert session.operator.asked == []


async def test_the_check_of_nodes_shows_what_it_found(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("P")
        await seen.sees(lambda: session.preflight.asked)
        assert seen.app.main.panes.opened == "preflight"
        assert seen.app.focused is seen.app.main.pane


@pytest.mark.parametrize("command", ["follow", "network", "compare", "verify", "preflight", "previous-run"])
async def test_an_action_of_a_pane_that_is_run_by_name_opens_it(tmp_path: Path, command: str) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("4", "colon")
        await seen.type(command)
        await seen.press("enter")
        await seen.sees(lambda: seen.app.main.panes.opened != "health")
        assert command in seen.app.main.pane.verbs()
