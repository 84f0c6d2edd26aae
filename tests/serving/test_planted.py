"""Each failure planted in a serving lab is named, of the right engine, with what to do; a healthy lab under load has none."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.demo.processes import descendants
from console.model.snapshot import EngineState, Grade
from console.services.monitoring.cadences import Cadences
from console.services.session import Session
from tests.e2e.cluster import Lab
from tests.serving.labs import FAST, LAYOUT, carry_out, load_on, named, ready, small_lab, watched
from tests.sshd import needs_sshd
from tests.waiting import until

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(240)]

WHOLE = """\
  whole:
    role: mixed
    nodes: 2
    tensor_parallel: 1
    data_parallel: {size: 2, per_node: 1, balance: internal, rpc_port: 12321}
    port: 7100
proxy:"""
"""A group of two nodes with a headless one, beside the others and outside of the proxy."""
CADENCES = replace(FAST, health_s=0.5, model_s=0.5, golden_s=1.0, works_timeout_s=20.0, hang_s=6.0)
"""Patient where a busy machine would look like a failure."""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One prefill engine, two of decode, the proxy; a mixed group of two nodes."""
    layout = LAYOUT.replace("proxy:", WHOLE).replace("decode: [d0]}", "decode: [d0], whole: [m0, m1]}")
    with small_lab(tmp_path_factory.mktemp("planted"), layout=layout, names=("p0", "d0", "m0", "m1")) as made:
        yield made


@contextlib.asynccontextmanager
async def healthy(made: Lab, cadences: Cadences = CADENCES) -> AsyncIterator[Session]:
    """A session on the lab once everything is ready and nothing is named."""
    async with watched(made, cadences) as session:
        await until(ready(session), 60.0, "all ready")
        await until(lambda: not session.snapshot.diagnoses, 45.0, "nothing named")
        yield session


@contextlib.contextmanager
def planted(made: Lab, node: str, selector: str, kind: str) -> Iterator[None]:
    """A failure, from here to the end."""
    made.fail(node, selector, kind)
    try:
        yield
    finally:
        (made.node(node).root / "fail" / selector).unlink()


async def is_named(session: Session, signature: str, engine: str) -> None:
    """Wait until that failure is named of that engine, with a remedy."""
    await until(named(session, signature, engine), 45.0, f"{signature} of {engine}: {session.snapshot.diagnoses}")
    found = next(each for each in session.snapshot.diagnoses if (each.signature, each.engine) == (signature, engine))
    assert found.remedy
    assert found.text


def first_of(session: Session) -> str:
    """The engine of the first cause, empty when none is told."""
    return next((each.engine for each in session.snapshot.diagnoses if each.first), "")


async def is_over(session: Session) -> None:
    """Wait until nothing is named any more and all is ready."""
    await until(lambda: not session.snapshot.diagnoses, 45.0, "nothing is named any more")
    await until(ready(session), 45.0, "all ready again")


def works(session: Session) -> dict[str, Grade]:
    """Engine → grade of its highest rung."""
    engines = session.snapshot.engines
    return {name: rung.grade for name, each in engines.items() for rung in each.health if rung.name == "works"}


async def test_a_healthy_lab_works_on_every_rung_and_nothing_is_named_under_load(serving: Lab) -> None:
    async with healthy(serving) as session, load_on(serving) as load:
        await until(lambda: len(works(session)) == 5, 60.0, "every engine with a port, and the proxy")
        await until(lambda: session.snapshot.engines["decode-1"].serving is not None, 30.0)
        await load.more(30)
        assert load.wrong == []
        assert {*works(session).values()} <= {Grade.OK, Grade.SKIPPED}
        assert session.snapshot.diagnoses == ()
        assert {each.state for each in session.snapshot.engines.values()} == {EngineState.READY}


def test_verify_reaches_every_rank_and_finds_both_sides_agree(serving: Lab) -> None:
    layout = str(serving.file.parent / "small.yaml")
    done = serving.console("verify", "--layout", layout, "-o", "json", "--requests", "6")
    found = json.loads(done.stdout)
    proofs = {proof["name"]: proof for proof in found["proofs"]}
    assert len([name for name in proofs if name.startswith("chat ")]) == 6
    assert "3 of 5 ranks served" in proofs["ranks"]["seen"], "the mixed group stands outside of the proxy"
    assert proofs["golden: prefill-0 alone and through proxy"]["passed"] is True
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_hang_with_health_200(serving: Lab) -> None:
    async with healthy(serving) as session:
        with planted(serving, "d0", "decode-1", "hang"):
            async with load_on(serving):
                await is_named(session, "S1", "decode-1")
                shown = session.snapshot.engines["decode-1"]
                assert shown.state is EngineState.DEGRADED
                assert shown.cause.startswith("hangs: ")
        await is_over(session)


async def test_a_worker_that_a_signal_stopped_of_an_engine_with_a_server_and_of_one_without(serving: Lab) -> None:
    async with healthy(serving) as session:
        for engine in ("decode-1", "whole-1"):
            pid = session.snapshot.engines[engine].pid
            worker = max(descendants(pid or 0))
            os.kill(worker, signal.SIGSTOP)
            try:
                await until(named(session, "S1", engine), 10.0, f"{session.snapshot.engines[engine]}")
                assert f"kill -CONT {worker}" in session.snapshot.engines[engine].cause
            finally:
                os.kill(worker, signal.SIGCONT)
            await is_over(session)


async def test_a_wrong_block_size(serving: Lab) -> None:
    async with healthy(serving) as session:
        with planted(serving, "d0", "decode", "block-size"):
            await is_named(session, "E9", "proxy")
        await is_over(session)


async def test_another_model_name_is_named_long_before_the_list_of_models_is_due_again(serving: Lab) -> None:
    async with healthy(serving, replace(CADENCES, model_s=3600.0, works_s=3600.0)) as session:
        await until(lambda: session.snapshot.engines["decode-0"].serving is not None, 30.0, "metrics were read")
        with planted(serving, "d0", "decode-0", "model-name"):
            await is_named(session, "S4", "decode-0")
        await is_over(session)


async def test_a_full_kv_cache(serving: Lab) -> None:
    async with healthy(serving) as session:
        with planted(serving, "d0", "decode", "small-kv 12"):
            async with load_on(serving):
                await until(named(session, "S2"), 45.0, f"{session.snapshot.diagnoses}")
        await is_over(session)


async def test_a_storm_of_preemptions(serving: Lab) -> None:
    async with healthy(serving) as session:
        with planted(serving, "d0", "decode-0", "preempt 20"):
            async with load_on(serving):
                await is_named(session, "S3", "decode-0")
        await is_over(session)


async def test_a_headless_peer_that_dies(serving: Lab) -> None:
    async with healthy(serving) as session:
        with planted(serving, "m1", "mixed-1", "oom-kill"):
            await is_named(session, "F10", "whole-1")
            await until(lambda: any(each.first for each in session.snapshot.diagnoses), 30.0)
            assert next(each for each in session.snapshot.diagnoses if each.first).engine == "whole-1"
        await carry_out(session, await session.operator.prepare("force", ("whole-0", "whole-1")))
        await carry_out(session, await session.operator.prepare("start", ("whole-0",)))
        await is_over(session)


async def test_a_proxy_that_is_down(serving: Lab) -> None:
    async with healthy(serving) as session:
        pid = session.snapshot.engines["proxy"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await is_named(session, "S6", "proxy")
        await carry_out(session, await session.operator.prepare("start", ("proxy",)))
        await is_over(session)


def core_below(pid: int | None) -> int:
    """Pid of the engine core below an API server."""
    below = descendants(pid or 0)
    return next(each for each in below if b"EngineCore" in Path(f"/proc/{each}/cmdline").read_bytes())


async def test_an_engine_core_that_is_killed_and_its_server_exits_0(serving: Lab) -> None:
    async with healthy(serving) as session:
        dead = session.snapshot.engines["decode-1"]
        os.kill(core_below(dead.pid), signal.SIGKILL)
        await is_named(session, "F1", "decode-1")
        await is_named(session, "E13", "proxy")
        await until(lambda: session.snapshot.engines["decode-1"].exit is not None, 45.0)
        await until(lambda: first_of(session) == "decode-1", 30.0, "who broke first, in spite of equal seconds")
        ended = session.snapshot.engines["decode-1"]
        assert ended.state is EngineState.FAILED, "exit code 0 is not success"
        assert ended.exit is not None
        assert ended.exit.code == 0
