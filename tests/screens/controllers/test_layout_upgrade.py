"""What another release makes of the layout, shown on the screen, and written to a file only after a yes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from console.files import load_layout
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, running


def session_of(tmp_path: Path) -> FakeSession:
    """A session whose layout is for a release."""
    session = FakeSession(tmp_path)
    now = session.deployment
    session._deployment = replace(now, layout=now.layout.model_copy(update={"version": "v0.21.0rc1"}))
    return session


async def test_the_difference_is_typed_and_read_and_the_key_begins_it(tmp_path: Path) -> None:
    for size in (SMALL, LARGE):
        async with running(session_of(tmp_path), size) as seen:
            await seen.press("7", "v")
            await seen.sees("upgrade v0.")
            await seen.press("escape", "colon")
            await seen.type("upgrade v0.30.0rc2")
            await seen.press("enter")
            await seen.sees(":upgrade v0.30.0rc2 FILE writes it")
            await seen.press("G")
            await seen.sees("+version: v0.30.0rc2")


async def test_the_changed_layout_is_written_after_a_yes_and_replaces_nothing(tmp_path: Path) -> None:
    target = tmp_path / "new.yaml"
    async with running(session_of(tmp_path), LARGE) as seen:
        for wait in ("Write the layout for", "exists"):
            await seen.press("colon")
            await seen.type(f"upgrade v0.30.0rc2 {target}")
            await seen.press("enter")
            await seen.sees(wait)
            if wait != "exists":
                assert not target.exists()
                await seen.press("y")
                await seen.sees(target.exists)
        written = target.read_text()
    assert load_layout(str(target)).version == "v0.30.0rc2"
    assert target.read_text() == written


async def test_a_release_without_facts_says_which_there_are(tmp_path: Path) -> None:
    async with running(session_of(tmp_path), LARGE) as seen:
        await seen.press("colon")
        await seen.type("upgrade v0.99.0")
        await seen.press("enter")
        await seen.sees("no facts about")
