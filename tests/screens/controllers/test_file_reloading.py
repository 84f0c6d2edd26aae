"""Reading the files again, the words for who is new here, and the palette."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from console.model.deployment import Assignment
from console.model.errors import ConsoleError, UsageError
from screens.app import ConsoleApp
from screens.options import Options
from screens.startup import Startup
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, Clock, Seen, running
from tests.waiting import until


class Files:
    """What reading the files gives: a session, or the mistake in them."""

    def __init__(self, tmp_path: Path) -> None:
        self.sessions = [FakeSession(tmp_path)]
        self.place = tmp_path
        self.wrong: ConsoleError | None = None
        self.held: Mapping[str, Assignment] = {}
        self.layouts: Mapping[str, str] = {}

    def again(self, held: Mapping[str, Assignment], layouts: Mapping[str, str]) -> Sequence[FakeSession]:
        """The files of now."""
        if self.wrong is not None:
            raise self.wrong
        self.held, self.layouts = held, layouts
        self.sessions.append(FakeSession(self.place, names=("p0", "p1", "d0", "d1", "d2")))
        return self.sessions[-1:]


@asynccontextmanager
async def opened(files: Files) -> AsyncIterator[Seen]:
    """The app on what the files say."""
    clock = Clock(1.0)
    app = ConsoleApp(Startup("", lambda: files.sessions, again=files.again), Options(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await until(lambda: files.sessions[0].opened)
        yield Seen(app, pilot, files.sessions[0], clock)


async def test_new_files_replace_the_old_ones_and_roles_stay(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with opened(files) as seen:
        await seen.press("f6")
        await until(lambda: len(files.sessions) == 2 and files.sessions[1].opened)
        await seen.sees(" d2 ")
        assert files.sessions[0].closed
        assert files.held["lab"].of("prefill") == ("p0", "p1")
        await seen.press("x")
        await seen.sees("STOP")
        assert files.sessions[0].operator.asked == []
        assert files.sessions[1].operator.asked


async def test_wrong_files_are_named_and_the_old_ones_go_on(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with opened(files) as seen:
        files.wrong = UsageError("cluster.yaml:7: nodes.p0: unknown key 'hots'", hint="did you mean host?")
        await seen.press("f6")
        await seen.sees("cluster.yaml:7: nodes.p0: unknown key 'hots'")
        await seen.sees("earlier settings stay in use")
        await seen.press("escape")
        assert not files.sessions[0].closed
        files.sessions[0].set_node("p0", host="elsewhere")
        assert seen.app.fleet.snapshot is files.sessions[0].snapshot


async def test_a_cluster_that_came_from_no_file_says_so(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("f6")
        await seen.sees(lambda: "not opened from a file" in seen.toasts())


async def test_a_mistake_at_the_start_ends_the_app_with_it(tmp_path: Path) -> None:
    def make() -> Sequence[FakeSession]:
        raise UsageError("cluster.yaml:1: empty")

    app = ConsoleApp(Startup("reading cluster.yaml", make), Options())
    async with app.run_test(size=SMALL):
        await until(lambda: app.failure is not None)
    assert app.return_code == 2


@pytest.mark.parametrize("size", [SMALL, LARGE, (60, 20)], ids=["80x24", "120x40", "60x20"])
async def test_who_is_new_reads_once_what_is_on_the_screen_until_the_first_key(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with running(FakeSession(tmp_path), size, options=Options(hints=True)) as seen:
        await seen.sees("First time? ? all keys; q quits, engines keep running")
        heads = {line[:12].strip(): line[12:].strip() for line in seen.lines()[-6:-1]}
        assert [*heads] == ["First time?", "Marks", "Access", "Tabs", "Plan"]
        assert all(len(words) > 20 and words[-1] not in ";," for words in heads.values()), heads
        assert heads["Plan"].startswith("s x r only show a plan")
        assert "? Help" in seen.lines()[-1]
        await seen.press("M")
        assert "First time?" not in seen.text()
    async with running(FakeSession(tmp_path), size, options=Options(hints=True)) as seen:
        await seen.press("9")
        assert "First time?" not in seen.text()


async def test_the_greeting_lies_over_no_dialog_and_stays_with_keys_that_do_nothing(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), options=Options(hints=True)) as seen:
        await seen.sees("First time?")
        await seen.press("h", "semicolon")
        await seen.sees("First time?")
        await seen.press("question_mark")
        await seen.sees("type to search")
        assert "First time?" not in seen.text()
        await seen.press("escape")
        assert "First time?" not in seen.text()


async def test_the_palette_finds_actions_and_names_and_runs_them(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("ctrl+p")
        await seen.type("log decode-9")
        await seen.press("enter")
        await seen.sees(lambda: seen.app.main.grid.target.engine == "decode-9")
        await seen.press("ctrl+p")
        await seen.type("journal")
        await seen.press("enter")
        await seen.sees("nobody has done anything")


async def test_names_of_engines_complete_behind_a_verb(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("colon")
        await seen.type("stop decode-1")
        await seen.press("tab")
        await seen.press("enter")
        await seen.sees("STOP")
        ((_, engines),) = session.operator.asked
        assert engines[0].startswith("decode-1")
