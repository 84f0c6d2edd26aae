"""Failures planted in a lab of real daemons and simulated engines: each is named, with its remedy, and nothing before it is."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from console.cli.options import add_cluster_options, deployment_of
from console.model.snapshot import ClusterSnapshot, EngineState, Grade
from console.services.cadences import Cadences
from console.services.session import Session
from tests.e2e.cluster import Lab, lab
from tests.sshd import needs_sshd
from tests.waiting import until

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(240)]

ROLES = ("--layout", "a3-pd", "--assign", "prefill=p0,p1", "--assign", "decode=d0,d1")
FAST = Cadences(metrics_s=0.5, works_s=2.0, works_first_s=0.5, works_timeout_s=5.0, works_again_s=0.5, hang_s=3.0)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two prefill nodes, two decode nodes and the proxy, all started."""
    with lab(tmp_path_factory.mktemp("serving")) as made:
        done = made.console("start", *ROLES, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made


@contextlib.asynccontextmanager
async def watched(made: Lab) -> AsyncIterator[Session]:
    """A session on the lab that asks often."""
    parser = argparse.ArgumentParser()
    add_cluster_options(parser)
    deployment = deployment_of(parser.parse_args(["--cluster", str(made.file), *ROLES]))
    session = Session(
        deployment.cluster, deployment.layout, deployment.assignment, state_dir=made.state / "watching", cadences=FAST
    )
    await session.open()
    try:
        yield session
    finally:
        await session.close()


def works(snapshot: ClusterSnapshot) -> dict[str, Grade]:
    """Engine → grade of its highest rung."""
    return {
        name: rung.grade for name, engine in snapshot.engines.items() for rung in engine.health if rung.name == "works"
    }


def named(session: Session, signature: str, engine: str = "") -> Callable[[], bool]:
    """Whether that failure is in the picture, of that engine."""
    return lambda: any(
        each.signature == signature and (not engine or each.engine == engine) for each in session.snapshot.diagnoses
    )


async def test_a_healthy_lab_works_on_every_rung_and_nothing_is_named(serving: Lab) -> None:
    async with watched(serving) as session:
        good = (Grade.OK, Grade.SKIPPED)
        await until(lambda: len(works(session.snapshot)) == 19, 30.0, "every engine and the proxy completes")
        await until(lambda: session.snapshot.engines["decode-3"].serving is not None)
        await until(lambda: session.snapshot.serving.get("") is not None)
        assert {name for name, grade in works(session.snapshot).items() if grade not in good} == set()
        assert session.snapshot.diagnoses == ()
        assert {engine.state for engine in session.snapshot.engines.values()} == {EngineState.READY}


def test_verify_reaches_every_rank_and_finds_both_sides_agree(serving: Lab) -> None:
    done = serving.console("verify", *ROLES, "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    proofs = {proof["name"]: proof for proof in found["proofs"]}
    assert len([name for name in proofs if name.startswith("chat ")]) == 32
    assert proofs["ranks"]["seen"].startswith("18 of 18 ranks"), proofs["ranks"]
    assert proofs["golden: prefill-0 alone and through proxy"]["passed"] is True


async def test_an_engine_that_hangs_with_health_200_is_named_while_it_hangs(serving: Lab) -> None:
    async with watched(serving) as session:
        await until(lambda: session.snapshot.engines["decode-2"].state is EngineState.READY, 20.0)
        serving.fail("d0", "decode-2", "hang")
        link = session._links["d0"]
        engine = session.snapshot.engines["decode-2"]
        ask = {"model": session.deployment.layout.model.served_name, "prompt": "a", "max_tokens": 9}
        address = session.deployment.address("d0")
        asking = asyncio.create_task(
            link.http().post_json(address, engine.port or 0, "/v1/completions", ask, 30.0), name="a request that hangs"
        )
        try:
            await until(named(session, "S1", "decode-2"), 20.0, "the hang is named")
            shown = session.snapshot.engines["decode-2"]
            assert shown.state is EngineState.DEGRADED
            assert shown.cause.startswith("hangs: ")
            found = next(each for each in session.snapshot.diagnoses if each.signature == "S1")
            assert found.remedy
        finally:
            (serving.node("d0").root / "fail" / "decode-2").unlink()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: session.snapshot.engines["decode-2"].state is EngineState.READY, 20.0)
        await until(lambda: not session.snapshot.diagnoses, 20.0)


async def test_a_decode_engine_that_dies_is_found_behind_the_proxy(serving: Lab) -> None:
    async with watched(serving) as session:
        await until(lambda: session.snapshot.engines["decode-5"].state is EngineState.READY, 20.0)
        serving.fail("d0", "decode-5", "crash")
        try:
            await until(named(session, "E13", "proxy"), 30.0, "the proxy lists a dead rank")
            dead = session.snapshot.engines["decode-5"]
            assert dead.state in (EngineState.FAILED, EngineState.STUCK, EngineState.LOST)
            await until(lambda: any(each.first for each in session.snapshot.diagnoses), 10.0)
            first = next(each for each in session.snapshot.diagnoses if each.first)
            assert first.engine == "decode-5", session.snapshot.diagnoses
            assert any("E13" in event.text for event in session.snapshot.events)
        finally:
            (serving.node("d0").root / "fail" / "decode-5").unlink()
