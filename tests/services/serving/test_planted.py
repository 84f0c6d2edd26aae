"""Each failure planted in a serving lab is named, of the right engine, with what to do; a healthy lab under load has none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.demo.processes import descendants
from console.model.snapshot import EngineState, Grade
from console.services.monitoring.intervals import Intervals
from console.services.serving.verification import Verification, VerificationRequest
from console.services.session import Session
from tests.e2e.cluster import Lab
from tests.services.serving.labs import FAST, LAYOUT, Load, carry_out, load_on, named, ready, small_lab, watched
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


def serious(session: Session) -> list[str]:
    """The failures that are named, without advice."""
    return [each.signature for each in session.snapshot.diagnoses if each.severity != "advice"]


@contextlib.asynccontextmanager
async def healthy(made: Lab, intervals: Intervals = CADENCES) -> AsyncIterator[Session]:
    """A session on the lab once everything is ready and nothing is named."""
    async with watched(made, intervals) as session:
        await until(ready(session), 60.0, "all ready")
        await until(lambda: not serious(session), 45.0, "nothing named")
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


def below(pid: int | None, title: str) -> int:
    """Pid of the first process below a main process whose title holds a word: `EngineCore`, `Worker`."""
    found = descendants(pid or 0)
    return next(each for each in found if title.encode() in Path(f"/proc/{each}/cmdline").read_bytes())


def first_of(session: Session) -> str:
    """The engine of the first cause, empty when none is told."""
    return next((each.engine for each in session.snapshot.diagnoses if each.first), "")


async def is_over(session: Session) -> None:
    """Wait until nothing is named any more and all is ready."""
    await until(lambda: not serious(session), 45.0, "nothing is named any more")
    await until(ready(session), 45.0, "all ready again")


def works(session: Session) -> dict[str, Grade]:
    """Engine → grade of its highest health check."""
    engines = session.snapshot.engines
    return {name: check.grade for name, each in engines.items() for check in each.health if check.name == "works"}


def told(session: Session) -> str:
    """The verdict on the service."""
    return session.snapshot.service.brief() if session.snapshot.service else ""


async def verified(session: Session, *, passed: bool) -> Verification:
    """Verify until it comes out so: a planted failure takes a moment to show, and to go."""
    async with asyncio.timeout(60.0):
        while (
            found := await session.verifier.run(lambda _: None, VerificationRequest(requests=1))
        ).passed is not passed:
            pass
    return found


async def test_a_healthy_lab_works_on_every_rung_and_nothing_is_named_under_load(serving: Lab) -> None:
    async with healthy(serving) as session, load_on(serving) as load:
        await until(lambda: len(works(session)) == 6, 60.0, "every engine, also the headless one, and the proxy")
        await until(lambda: session.snapshot.engines["decode-1"].serving is not None, 30.0)
        await load.more(30)
        assert load.wrong == []
        assert {*works(session).values()} <= {Grade.OK, Grade.SKIPPED}
        assert serious(session) == []
        assert {each.state for each in session.snapshot.engines.values()} == {EngineState.READY}


def test_verify_reaches_every_rank_and_finds_both_sides_agree(serving: Lab) -> None:
    layout = str(serving.file.parent / "small.yaml")
    done = serving.console("verify", "--layout", layout, "-o", "json", "--requests", "6")
    found = json.loads(done.stdout)
    proofs = {proof["name"]: proof for proof in found["proofs"]}
    assert len([name for name in proofs if name.endswith(" through proxy") and name.startswith("chat ")]) == 6
    assert proofs["ranks"]["seen"] == "5 of 5 ranks answered", "the mixed group stands outside of the proxy"
    assert {rank["id"]: rank["engine"] for rank in found["ranks"]} == {
        name: name for name in ("prefill-0", "decode-0", "decode-1", "whole-0", "whole-1")
    }
    compared = proofs["comparison: prefill-0 alone and through proxy"]
    assert compared["passed"] is True
    assert "differ" not in compared["seen"], "equal answers through every decode rank"
    assert found["verdict"].startswith("verified; 5 of 5 ranks answered")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["bad-answer", "garbage", "miscount"])
async def test_a_rank_that_answers_200_with_nothing_of_worth_is_found_under_traffic(serving: Lab, kind: str) -> None:
    async with healthy(serving) as session, load_on(serving):
        with planted(serving, "d0", "decode-1", kind):
            await is_named(session, "S9", "decode-1")
            assert "UP" not in told(session), "the verdict knows of it"
            assert session.snapshot.engines["decode-0"].state is EngineState.READY
            await until(
                lambda: any("S9" in each.title and "decode-1" in each.title for each in session.snapshot.alerts), 30.0
            )
            assert not named(session, "E9")(), "a spoilt rank is no difference of block sizes"
        await is_over(session)


async def test_a_rank_behind_another_ones_server_is_told_from_it(serving: Lab) -> None:
    async with healthy(serving) as session:
        with planted(serving, "m1", "mixed-1", "bad-answer"):
            await is_named(session, "S9", "whole-1")
            assert session.snapshot.engines["whole-1"].state is EngineState.DEGRADED
            assert session.snapshot.engines["whole-0"].state is EngineState.READY
            assert "rank whole-1: completion 200 without text" in session.snapshot.engines["whole-1"].cause
        await is_over(session)


def test_verify_names_every_rank_that_answers_with_nothing_and_does_not_verify(serving: Lab) -> None:
    layout = str(serving.file.parent / "small.yaml")
    with planted(serving, "d0", "decode-1", "bad-answer"), planted(serving, "m1", "mixed-1", "garbage"):
        done = serving.console("verify", "--layout", layout, "-o", "json", "--requests", "1")
        shown = serving.console("verify", "--layout", layout, "--requests", "1")
    found = json.loads(done.stdout)
    assert {rank["id"]: rank["answered"] for rank in found["ranks"]} == {
        "prefill-0": True, "decode-0": True, "decode-1": False, "whole-0": True, "whole-1": False,
    }  # fmt: skip
    assert {proof["engine"] for proof in found["proofs"] if proof["passed"] is False} >= {"decode-1", "whole-1"}
    assert found["passed"] is False
    assert done.returncode == shown.returncode == 1
    last = shown.stdout.splitlines()[-1]
    assert last.startswith("NOT verified; ")
    assert "3 of 5 ranks answered; failed: decode-1, whole-1" in last


async def test_a_failed_proof_counts_until_the_next_one(serving: Lab) -> None:
    async with healthy(serving, replace(CADENCES, works_s=3600.0, golden_s=3600.0)) as session:
        await until(lambda: "UP" in told(session), 60.0, "proven")
        with planted(serving, "d0", "decode-1", "bad-answer"):
            failed = await verified(session, passed=False)
            assert "decode-1" in {each.engine for each in failed.failed}
            await is_named(session, "S9", "decode-1")
            assert "UP" not in told(session)
            assert session.snapshot.engines["decode-1"].cause.endswith("200 without text")
            assert not named(session, "S9", "proxy")(), "the proxy only passed it on"
        await verified(session, passed=True)
        await is_over(session)
        assert "UP" in told(session)


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


async def test_a_wrong_block_size_of_one_decode_engine_is_found_by_verify_and_the_engine_is_named(serving: Lab) -> None:
    async with healthy(serving, replace(CADENCES, works_s=3600.0)) as session:
        with planted(serving, "d0", "decode-1", "block-size"):
            found = await verified(session, passed=False)
            (wrong,) = found.failed[:1]
            assert wrong.name == "comparison: prefill-0 alone and through proxy"
            assert wrong.engine == "decode-1"
            assert re.search(
                r"\d of \d+ answers differ, by counters those of decode-1: prefill-0 alone answers '", wrong.seen
            )
            assert "through proxy '" in wrong.seen
            assert found.words().startswith(
                "NOT verified; checks of decode-1 failed; 4 of 5 ranks answered; failed: decode-1"
            )
            await is_named(session, "E9", "proxy")
        await verified(session, passed=True)
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
            await until(lambda: first_of(session) == "whole-1", 30.0)
            async with Load(serving.node("m0").host, 7100) as load:
                await load.more(8)
                await until(
                    lambda: session.snapshot.engines["whole-0"].state is EngineState.READY, 30.0, "it serves on"
                )
            assert session.snapshot.engines["whole-1"].state is EngineState.STUCK
            assert first_of(session) == "whole-1"
        await carry_out(session, await session.operator.prepare("kill", ("whole-0", "whole-1")))
        await carry_out(session, await session.operator.prepare("start", ("whole-0",)))
        await is_over(session)


@pytest.mark.parametrize(("process", "signature"), [("EngineCore", "F10"), ("Worker", "F2")])
async def test_a_headless_rank_that_loses_a_process_is_first_though_its_parent_outlives_its_peer(
    serving: Lab, process: str, signature: str
) -> None:
    async with healthy(serving) as session, Load(serving.node("m0").host, 7100) as load:
        await load.more(8)
        os.kill(below(session.snapshot.engines["whole-1"].pid, process), signal.SIGKILL)
        states: dict[str, list[EngineState]] = {"whole-0": [], "whole-1": []}

        def ended() -> bool:
            for name, seen in states.items():
                if session.snapshot.engines[name].state not in seen:
                    seen.append(session.snapshot.engines[name].state)
            return all(seen[-1] is EngineState.FAILED for seen in states.values())

        await until(lambda: ended() or first_of(session) == "whole-1", 30.0, f"{session.snapshot.diagnoses}")
        await until(ended, 45.0, f"{session.snapshot.engines}")
        await is_named(session, signature, "whole-1")
        await until(lambda: first_of(session) == "whole-1", 10.0, f"{session.snapshot.diagnoses}")
        assert EngineState.STOPPING not in states["whole-1"]
        ends = {name: session.snapshot.engines[name].exit for name in states}
        assert all(each is not None and each.code == 0 for each in ends.values())
        assert ends["whole-0"].at < ends["whole-1"].at, "the peer's process ended first"  # type: ignore[union-attr,operator]
        assert session.snapshot.engines["whole-0"].after == "whole-1"
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


async def test_an_engine_core_that_is_killed_and_its_server_exits_0(serving: Lab) -> None:
    async with healthy(serving) as session:
        dead = session.snapshot.engines["decode-1"]
        os.kill(below(dead.pid, "EngineCore"), signal.SIGKILL)
        await is_named(session, "F1", "decode-1")
        await is_named(session, "E13", "proxy")
        await until(lambda: session.snapshot.engines["decode-1"].exit is not None, 45.0)
        await until(lambda: first_of(session) == "decode-1", 30.0, "who failed first, in spite of equal seconds")
        ended = session.snapshot.engines["decode-1"]
        assert ended.state is EngineState.FAILED, "exit code 0 is not success"
        assert ended.exit is not None
        assert ended.exit.code == 0
