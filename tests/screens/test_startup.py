"""The first frame: it stands before any file is read, and loads none of the libraries that come behind it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from console.cli.main import main
from console.model.errors import UsageError
from screens.app import ConsoleApp
from screens.key_map import Keys
from screens.options import Options
from screens.panes.table import PANES
from screens.startup import Startup
from tests.screens.fakes import FakeSession
from tests.screens.seen import SMALL, Clock, Seen
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def test_what_paints_the_first_frame_loads_no_heavy_library() -> None:
    code = (
        "import sys, console.cli.main, console.cli.screen, screens.app\n"
        "heavy = {'pydantic', 'asyncssh', 'httpx', 'yaml', 'prometheus_client', 'sqlite3'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["[]"]


async def test_keys_before_anything_is_open_do_no_harm(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    ready = False

    def make() -> Sequence[FakeSession]:
        assert ready
        return (session,)

    app = ConsoleApp(Startup("reading cluster.yaml", make), Options(), clock=Clock(1.0))
    app._begin = _nothing  # type: ignore[method-assign]
    async with app.run_test(size=SMALL) as pilot:
        seen = Seen(app, pilot, session, Clock(1.0))
        await seen.sees("reading cluster.yaml")
        await seen.press("x", "s", "7", "j", "slash", "tab", "question_mark", "escape")
        assert "still opening" in seen.toasts()
        assert session.operator.asked == []
        await seen.press("q")
        await until(lambda: app._exit)


async def _nothing() -> None:
    """Whatever opens takes its time."""


def test_every_pane_of_the_table_can_be_made() -> None:
    assert [entry.make().id for entry in PANES] == [entry.id for entry in PANES]


async def test_the_operators_own_keys_are_read_behind_the_first_frame(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    painted: list[str] = []

    def own() -> Keys:
        painted.append(app.main.header._painted[0][0][1][0])
        return Keys({"stop": ("f9",)})

    app = ConsoleApp(Startup("reading cluster.yaml", lambda: (session,)), Options(more_keys=own), clock=Clock(1.0))
    async with app.run_test(size=SMALL) as pilot:
        seen = Seen(app, pilot, session, Clock(1.0))
        await seen.sees("F9 Stop")
        assert painted == ["  reading cluster.yaml"]
        await seen.press("f9")
        await seen.sees("STOP 2 engines")


async def test_a_wrong_file_of_keys_ends_with_its_words(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)

    def own() -> Keys:
        raise UsageError("keys.yaml:1: no action")

    app = ConsoleApp(Startup("reading cluster.yaml", lambda: (session,)), Options(more_keys=own))
    async with app.run_test(size=SMALL):
        await until(lambda: app.failure is not None)
    assert str(app.failure) == "keys.yaml:1: no action"


def test_the_demo_says_that_it_starts_before_it_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    class NoCluster:
        def __init__(self, **_given: object) -> None:
            said.append(capsys.readouterr().err)
            raise UsageError("not in a test")

    monkeypatch.setattr("console.demo.cluster.DemoCluster", NoCluster)
    monkeypatch.setattr("console.cli.demo.must_be_terminal", lambda: None)
    for words, count in (([], "4 simulated nodes"), (["--nodes", "1"], "1 simulated node")):
        assert main(["demo", *words]) == 2
        assert said.pop().splitlines()[-1] == f"starting {count} ..."
