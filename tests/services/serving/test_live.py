"""A deployment that grows, shrinks and is restarted while requests come in: none fails, and limits are said before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest

from console.model.errors import Refused
from console.model.snapshot import EngineState
from console.services.session import Session
from tests.e2e.cluster import Lab
from tests.services.serving.labs import LAYOUT, carry_out, load_on, named, ready, small_lab, watched
from tests.sshd import needs_sshd
from tests.waiting import until

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One prefill engine, two of decode, the proxy; d1 is free. Its engines answer nobody without their key."""
    with small_lab(
        tmp_path_factory.mktemp("live"), layout=LAYOUT.replace("env: {", "env: {VLLM_API_KEY: sk-live, ")
    ) as made:
        yield made


def evidence(session: Session, engine: str) -> dict[str, tuple[str, str]]:
    """Grade and evidence of an engine's rungs."""
    return {check.name: (check.grade, check.evidence) for check in session.snapshot.engines[engine].health}


def works(session: Session, engine: str) -> bool:
    """Whether its test completion was answered."""
    return evidence(session, engine).get("works", ("",))[0] == "ok"


async def test_engines_that_want_a_key_are_shown_it_and_one_that_is_not_known_is_asked_for(serving: Lab) -> None:
    async with watched(serving) as session:
        await until(lambda: evidence(session, "decode-1").get("works", ("",))[0] == "ok", 60.0)
        assert evidence(session, "decode-1")["model"] == ("ok", "dsv4")
        await until(lambda: evidence(session, "proxy").get("works", ("",))[0] == "ok", 60.0)
    layout = serving.file.parent / "small.yaml"
    keyed = layout.read_text()
    layout.write_text(keyed.replace("VLLM_API_KEY: sk-live, ", ""))
    try:
        async with watched(serving, state="keyless") as session:
            await until(lambda: "works" in evidence(session, "decode-1"), 60.0)
            for check in ("model", "works"):
                grade, words = evidence(session, "decode-1")[check]
                assert grade == "skipped"
                assert "401: it wants an API key: give VLLM_API_KEY" in words
            assert session.snapshot.engines["decode-1"].state == EngineState.READY
    finally:
        layout.write_text(keyed)


async def test_nodes_whose_sshd_forbids_forwarding_are_watched_and_verified_like_all_others(serving: Lab) -> None:
    nodes = [serving.node(name) for name in ("p0", "d0", "d1")]
    for node in nodes:
        config = node.root / "sshd_config"
        config.write_text(f"AllowTcpForwarding no\n{config.read_text()}")
        node.stop()
        node.start()
    layout = str(serving.file.parent / "small.yaml")
    try:
        async with watched(serving, state="forbidden") as session:
            await until(ready(session), 60.0)
            for engine in ("proxy", "prefill-0", "decode-1"):
                await until(partial(works, session, engine), 60.0)
                assert evidence(session, engine)["http"][0] == "ok"
            await until(lambda: session.snapshot.engines["decode-0"].serving is not None, 30.0)
        tried = serving.console("verify", "--layout", layout)
        assert tried.returncode == 0, tried.stdout + tried.stderr
    finally:
        for node in nodes:
            config = node.root / "sshd_config"
            config.write_text(config.read_text().partition("\n")[2])
            node.stop()
            node.start()


async def test_a_decode_group_comes_is_restarted_in_turn_and_goes_and_no_request_fails(serving: Lab) -> None:
    async with watched(serving) as session:
        await until(ready(session), 60.0)
        async with load_on(serving) as load:
            await load.more(4)
            await carry_out(session, await session.operator.prepare_scale("decode", 2))
            new = session.snapshot.engines["decode2-0"]
            assert (new.state, new.node) == (EngineState.READY, "d1")
            await load.more(24)
            log = serving.node("d1").base / "small" / "decode2-0" / "runs" / str(new.run) / "out.log"
            assert b"POST /v1/chat/completions" in log.read_bytes(), "it was put behind the proxy"
            assert load.wrong == []
        before = session.snapshot.engines["decode-0"].run
        async with load_on(serving, rest_s=0.4) as load:
            plan = await session.operator.prepare("restart", ("decode-0",), in_turn=True)
            assert not any("decode engine left" in loss for loss in plan.losses)
            assert any("constant load" in finding.message for finding in plan.findings)
            await carry_out(session, plan)
            await load.more(4)
            assert load.wrong == []
        assert session.snapshot.engines["decode-0"].run != before
        async with load_on(serving) as load:
            await load.more(4)
            plan = await session.operator.prepare_scale("decode", 1)
            assert [step.act for step in plan.steps] == ["drain", "stop", "verify", "reassign"]
            result = await carry_out(session, plan)
            assert "no request left" in result.messages["drain:decode"]
            await load.more(8)
            assert load.wrong == []
        assert "decode2" not in session.deployment.layout.groups
        assert not named(session, "E13")(), "the proxy was told"


async def test_the_only_group_of_its_role_leaves_with_a_word_on_what_fails_then(serving: Lab) -> None:
    async with watched(serving) as session:
        await until(ready(session), 60.0)
        plan = await session.operator.prepare("restart", ("decode-0",), in_turn=True)
        assert plan.losses[0].startswith("the proxy has no decode engine left")
        with pytest.raises(Refused, match="2 nodes; 1 are available"):
            await session.operator.prepare_scale("decode", 3)
        with pytest.raises(Refused, match="d0 is assigned to decode"):
            await session.operator.prepare_scale("decode", 2, ("d0",))


def test_a_dry_run_changes_nothing_and_shows_what_is_asked_of_the_proxy(serving: Lab) -> None:
    kept = serving.state / "dsv4-console" / "assignments" / "lab" / "small.yaml"
    before = kept.read_bytes()
    done = serving.console(
        "scale", "--layout", str(serving.file.parent / "small.yaml"), "decode", "2", "--dry-run", "-o", "json"
    )
    assert done.returncode == 0, done.stderr
    steps = [step for stage in json.loads(done.stdout)["stages"] for step in stage["steps"]]
    assert [step["act"] for step in steps] == ["reassign", "check", "prepare", "launch", "wait-ready", "join"]
    assert "/instances/add" in steps[-1]["commands"][0]
    assert kept.read_bytes() == before


async def test_a_proxy_that_lists_the_dead_is_mended_with_one_plan(serving: Lab) -> None:
    async with watched(serving) as session:
        await until(ready(session), 60.0)
        with pytest.raises(Refused, match="nothing to do: the proxy uses exactly"):
            await session.operator.prepare_proxy_sync()
        await carry_out(session, await session.operator.prepare("kill", ("decode-0", "decode-1")))
        await until(named(session, "E13", "proxy"), 45.0, "the proxy lists dead engines")
        plan = await session.operator.prepare_proxy_sync()
        assert plan.engines == ("decode-0", "decode-1")
        await carry_out(session, plan)
        await until(lambda: not named(session, "E13")(), 45.0, "fixed")
