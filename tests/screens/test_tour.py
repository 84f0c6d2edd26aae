"""The tour of the demo: played to its end on a real demo cluster, and over with the first key of a person."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from console.cli.demo import spread, tour
from console.demo.cluster import DemoCluster
from console.files import load_cluster, load_layout
from console.services.session import Session
from screens.app import ConsoleApp
from screens.options import Options
from screens.tour import Tour, TourStep, tour_steps
from tests.screens.fakes import FakeSession
from tests.screens.seen import SMALL, running
from tests.sshd import needs_sshd
from tests.waiting import until

LAYOUT = "a3-mixed"


@needs_sshd
@pytest.mark.sshd
@pytest.mark.timeout(240)
async def test_it_plays_a_start_a_failure_and_its_repair_to_the_end(tmp_path: Path) -> None:
    demo = DemoCluster(layout=LAYOUT, speed=200.0)
    try:
        cluster = load_cluster(await demo.start())
        layout = load_layout(LAYOUT)
        session = Session(cluster, layout, spread(cluster, layout), state_dir=tmp_path)
        app = ConsoleApp(session, Options())
        causes: set[str] = set()
        session.subscribe(lambda picture: causes.update(each.engine for each in picture.diagnoses if each.first))
        async with app.run_test(size=SMALL):
            await until(lambda: app.fleet.opened and session.snapshot.complete, 30.0)
            played = await tour(demo, pace=0.02)(app)
            await until(lambda: not played.playing, 200.0, "the tour is over")
            assert played.played == len(tour_steps("")), "\n".join(
                strip.text for strip in app.screen._compositor.render_strips()
            )
            assert {each.state.value for each in session.snapshot.engines.values()} == {"ready"}
        assert "mixed-1" in causes, "it did fail, and the console found out which engine did"
        done = [record["verb"] for record in session.journal.tail(100) if record.get("what") == "end"]
        assert done == ["start", "restart"]
    finally:
        await demo.close()


async def test_any_key_ends_it_and_does_nothing_else(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        done: list[str] = []
        played = Tour(
            seen.app,
            [TourStep("first [b]", effect="one"), TourStep("second", ("help",), lambda app: lambda: False)],
            {"one": lambda: done.append("one")},
            pace=0.01,
        )
        await played.begin()
        await seen.sees("first [b]")
        await seen.sees("second")
        await seen.sees(lambda: len(seen.app.screen_stack) == 2)
        await seen.press("q")
        await seen.sees(lambda: not played.playing)
        assert len(seen.app.screen_stack) == 2, "the key of the person closed nothing"
        assert done == ["one"]
        await seen.press("escape")
        await seen.sees(lambda: len(seen.app.screen_stack) == 1)
        assert "second" not in seen.text()
        await seen.press("x")
        await seen.sees("STOP")


async def test_what_takes_too_long_stops_it_and_says_so(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        stuck = [TourStep("never", reached=lambda app: lambda: False)]
        played = Tour(seen.app, stuck, {}, pace=0.01, limit_s=0.05)
        await played.begin()
        await seen.sees("TOUR stopped")
        assert played.played == 0
        await seen.press("2")
        await seen.sees(lambda: "TOUR" not in seen.text())
        assert seen.app.main.panes.opened == "logs", "after its end the first key does what it always does"


def test_every_caption_fits_into_a_line_of_a_small_terminal() -> None:
    captions = [each.caption for each in tour_steps("decode-15")]
    assert max(map(len, captions)) <= SMALL[0] - 2
    assert all(a != b for a, b in itertools.pairwise(captions))
