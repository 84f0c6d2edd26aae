"""The one line at the top of a short terminal: of a deployment that is down it shows why, whatever else has to go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.model.alert import Alert
from console.model.service import Service, ServiceState
from console.model.snapshot import EngineState
from tests.screens.fakes import FakeSession
from tests.screens.seen import running

CAUSE = "D8 the model path does not exist: prefill-0"


def _down(tmp_path: Path, cluster: str, title: str) -> FakeSession:
    session = FakeSession(tmp_path)
    session.set_state("prefill-0", EngineState.FAILED, cause="it ended")
    session.diagnosed("prefill-0", "Repo id must be in the form")
    session.snapshot = replace(
        session.snapshot,
        cluster=cluster,
        service=Service(ServiceState.DOWN, "http://10.0.0.1:8000", "dsv4", "no prefill"),
        alerts=(Alert("D8", "error", title, 0.0),),
    )
    return session


@pytest.mark.parametrize("cluster", ["lab", "production-cluster-north"])
async def test_names_and_figures_go_before_the_cause_of_a_failure(tmp_path: Path, cluster: str) -> None:
    async with running(_down(tmp_path, cluster, CAUSE), (80, 24)) as seen:
        assert f"DOWN: no prefill (6: why)  {CAUSE}" in seen.header()
        assert "RW" in seen.header(), "whether keys can change something stays"
        await seen.pilot.resize_terminal(100, 24)
        await seen.sees(lambda: cluster in seen.header() or "1 FAILED" in seen.header())
        assert CAUSE in seen.header()


async def test_a_cause_that_has_no_room_is_cut_at_its_end(tmp_path: Path) -> None:
    async with running(_down(tmp_path, "lab", f"{CAUSE} and more, {'on and on ' * 9}"), (80, 24)) as seen:
        assert f"(6: why)  {CAUSE}~" in " ".join(seen.header().replace(" ~", "~").split(" "))
        await seen.pilot.resize_terminal(60, 24)
        await seen.sees("D8 the model path")


async def test_a_cause_while_requests_are_answered_names_its_key_too(tmp_path: Path) -> None:
    session = _down(tmp_path, "lab", "E9 prefill and decode give different answers: proxy")
    session.snapshot = replace(
        session.snapshot, service=Service(ServiceState.UP, "http://10.0.0.1:8000", "dsv4"), engines={}
    )
    async with running(session, (80, 24)) as seen:
        assert "UP (6: cause)  E9 prefill and decode give different answers: proxy" in seen.header()
