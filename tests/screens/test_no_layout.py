"""A cluster opened without a layout: everything there is to see, no crash in any pane, and the layouts that fit it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from console.files import load_layout
from console.model.cluster import Cluster, Node
from console.model.deployment import Assignment
from console.model.hardware import HARDWARE
from console.model.layout import no_layout
from console.services.session import Session
from screens.app import ConsoleApp
from screens.options import Options
from screens.startup import Startup
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, Clock, Seen
from tests.waiting import until

NODES = {f"n{at}": Node(name=f"n{at}", host="127.0.0.1", port=1, hardware=HARDWARE["a3"]) for at in range(2)}
CLUSTER = Cluster(name="lab", nodes=NODES)


class Files:
    """A cluster file, and the layout that is meant with it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.sessions: list[Session] = []
        self.held: Mapping[str, Assignment] = {}

    def again(self, held: Mapping[str, Assignment], layouts: Mapping[str, str]) -> Sequence[Session]:
        """The files of now."""
        named = layouts.get("lab")
        layout = load_layout(named) if named else no_layout(HARDWARE["a3"])
        self.held = held
        self.sessions.append(Session(CLUSTER, layout, held.get("lab", Assignment()), state_dir=self.place))
        return self.sessions[-1:]


@asynccontextmanager
async def opened(files: Files) -> AsyncIterator[Seen]:
    """The app on it."""
    clock = Clock(1.0)
    app = ConsoleApp(Startup("", lambda: files.again({}, {}), again=files.again), Options(), clock=clock)
    async with app.run_test(size=LARGE) as pilot:
        await until(lambda: bool(files.sessions))
        yield Seen(app, pilot, FakeSession(files.place / "none"), clock)


async def test_the_layouts_that_fit_are_offered_and_one_is_chosen(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with opened(files) as seen:
        await seen.sees("lab: no layout is chosen; choose one.")
        await seen.sees("do not fit this cluster")
        text = seen.text()
        assert text.index("fit this cluster") < text.index("a3-mixed") < text.index("do not fit") < text.index("a2-pd")
        assert "8 a2 nodes; the cluster has 0" in text
        await seen.press("enter")
        await until(lambda: len(files.sessions) == 2)
        await seen.sees(" a3-")
        assert files.sessions[1].deployment.layout.name in ("a3-mixed", "a3-pd-flash")
        assert files.held == {}, "what nobody assigned is not taken along"


async def test_every_pane_can_be_looked_at_without_a_layout_and_what_needs_one_says_so(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with opened(files) as seen:
        await seen.sees("lab: no layout is chosen; choose one.")
        await seen.press("escape")
        await seen.sees("no layout (:layout)")
        await seen.sees("n1")
        for pane in seen.app.main.panes:
            seen.app.main.arrangement.go(pane)
            await seen.pilot.pause()
        seen.app.main.arrangement.go("logs")
        for key in ("s", "a"):
            await seen.press(key)
            await seen.sees("lab: no layout is chosen; choose one.")
            await seen.press("escape")
            await seen.sees("no layout (:layout)")
        assert seen.app.is_running
