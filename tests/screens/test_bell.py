"""An alert rings once, is said with its remedy, and stays in the header at every width; a storm rings once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.journal import operator_name
from console.model.alert import Alert
from console.model.ongoing_work import ObservedOperation
from console.model.snapshot import ClusterSnapshot
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running

FULL = Alert("C1", "error", "C1 HBM is full: [b]decode-0[/b]\x1b[2J", 0.0, "", "use less of it", ("decode-0",))


def show(seen: Seen, *alerts: Alert) -> None:
    """Give the app a picture with these alerts."""
    picture = replace(seen.session.snapshot, alerts=alerts)
    assert isinstance(picture, ClusterSnapshot)
    seen.session.snapshot = picture
    seen.app.main.take(picture)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_alert_rings_once_and_stays_in_the_header(tmp_path: Path, size: tuple[int, int]) -> None:
    async with running(FakeSession(tmp_path), size) as seen:
        check: list[bool] = []
        seen.app.bell = lambda: check.append(True)  # type: ignore[method-assign]
        show(seen, FULL)
        show(seen, FULL)
        await seen.sees(lambda: "use less of it" in seen.toasts())
        await seen.sees("C1 HBM is full")
        assert check == [True]
        assert "C1 HBM" in seen.header()
        assert "\x1b" not in seen.text()


async def test_a_storm_of_alerts_rings_once(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), LARGE, step=0.01) as seen:
        check: list[bool] = []
        seen.app.bell = lambda: check.append(True)  # type: ignore[method-assign]
        for number in range(20):
            show(seen, *(replace(FULL, key=f"C{each}") for each in range(number)))
        assert check == [True]


async def test_what_somebody_else_has_just_done_is_said_once_without_a_bell(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    now = session.snapshot.at
    names = ("decode-0", "decode-1")
    acts = (
        ObservedOperation(now - 4000.0, "alice@jump2", "start", names),
        ObservedOperation(now - 5.0, f"{operator_name()} (restart policy)", "stop", names),
        ObservedOperation(now - 5.0, "alice@[b]jump2", "stop", names),
    )
    async with running(session, LARGE) as seen:
        check: list[bool] = []
        seen.app.bell = lambda: check.append(True)  # type: ignore[method-assign]
        session.more["observed_operations"] = acts
        session.publish()
        await seen.sees(lambda: "alice@[b]jump2: stop of 2 engines" in seen.toasts())
        session.more["observed_operations"] = tuple(replace(act, at=act.at + 1.0) for act in acts)
        session.publish()
        await seen.pilot.pause()
        assert seen.toasts().count("engines") == 1, "the clocks are compared anew with each picture"
        assert not check
