"""The first frame: it stands before any file is read, and loads none of the libraries that come behind it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from screens.app import ConsoleApp, Options
from screens.opening import Opening
from screens.panes.table import PANES
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

    app = ConsoleApp(Opening("reading cluster.yaml", make), Options(), clock=Clock(1.0))
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
