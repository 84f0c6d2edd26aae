"""Facts the console sees by itself: each where it holds, none on a healthy cluster, none that flickers at its limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from console.model.ongoing_work import OngoingPlan
from console.model.snapshot import (
    ClusterSnapshot,
    Device,
    EngineSnapshot,
    EngineState,
    Exit,
    Grade,
    HealthCheck,
    Host,
    NodeSnapshot,
    Serving,
)
from console.model.unmanaged_process import UnmanagedProcess
from console.services.serving.condition_facts import facts_of, rank_to_check_text
from console.services.serving.leak_detection import LeakDetector

HEALTHCHECK = '/healthcheck 200 {"status":"ok","prefill_instances":1,"decode_instances":2,"request_num":0}'
OK = (HealthCheck("http", Grade.OK, HEALTHCHECK), HealthCheck("model", Grade.OK, "dsv4"))


def healthy() -> dict[str, EngineSnapshot]:
    """One prefill engine, two of decode, the proxy; all serve."""
    made = {}
    for name, role in (("prefill-0", "prefill"), ("decode-0", "decode"), ("decode-1", "decode"), ("proxy", "proxy")):
        made[name] = EngineSnapshot(name, "n", role, role, EngineState.READY, port=7100, health=OK)  # type: ignore[arg-type]
    return made


def seen(
    engines: Mapping[str, EngineSnapshot], before: frozenset[tuple[str, str]] = frozenset()
) -> list[tuple[str, str]]:
    """(fact, engine) of what holds."""
    snapshot = ClusterSnapshot(0.0, "c", "d", engines=engines)
    return [(fact, engine) for fact, engine, _ in facts_of(snapshot, before)]


def changed(name: str, **facts: object) -> dict[str, EngineSnapshot]:
    """The healthy cluster with one engine that is not."""
    engines = healthy()
    return {**engines, name: replace(engines[name], **facts)}  # type: ignore[arg-type]


BUSY = Serving(0.0, running=9, waiting=3, kv_usage=0.97, preemptions_s=0.0)


@pytest.mark.parametrize(
    ("engines", "facts"),
    [
        (healthy(), []),
        (changed("decode-0", state=EngineState.FAILED), [("proxy-lists-dead", "proxy")]),
        (changed("decode-0", state=EngineState.STARTING), []),
        (changed("decode-0", state=EngineState.UNREACHABLE), []),
        (changed("decode-0", serving=BUSY), [("kv-full", "decode-0")]),
        (changed("decode-0", serving=replace(BUSY, waiting=0)), []),
        (changed("decode-0", serving=replace(BUSY, kv_usage=None)), []),
        (changed("decode-0", serving=replace(BUSY, kv_usage=0.5, preemptions_s=4.0)), [("preemption-storm", "decode-0")]),
        (
            changed("decode-0", health=(OK[0], HealthCheck("model", Grade.FAIL, "serves other, not dsv4"))),
            [("wrong-model", "decode-0")],
        ),
        (changed("decode-0", health=(OK[0], HealthCheck("model", Grade.FAIL, "refused"))), []),
        (
            changed("decode-0", state=EngineState.DEGRADED, health=(*OK, HealthCheck("works", Grade.FAIL, "hangs: 1 request"))),
            [("hang", "decode-0")],
        ),
    ],
)  # fmt: skip
def test_facts(engines: dict[str, EngineSnapshot], facts: list[tuple[str, str]]) -> None:
    assert seen(engines) == facts


def test_a_proxy_is_not_blamed_for_what_a_running_plan_takes_down() -> None:
    engines = changed("decode-0", state=EngineState.EXITED)
    work = OngoingPlan("me@here", "restart", 0.0, frozenset({"decode-0"}))
    assert seen(engines) == [("proxy-lists-dead", "proxy")]
    assert list(facts_of(ClusterSnapshot(0.0, "c", "d", engines=engines, work=work), frozenset())) == []


def test_an_instance_taken_out_of_the_proxy_by_hand_is_not_held_against_it() -> None:
    engines = changed("decode-0", state=EngineState.FAILED)
    counted = HealthCheck("http", Grade.OK, HEALTHCHECK.replace('"decode_instances":2', '"decode_instances":1'))
    engines["proxy"] = replace(engines["proxy"], health=(counted, OK[1]))
    assert seen(engines) == []


@pytest.mark.parametrize(
    ("free", "state", "named"),
    [(63, "ready", 1), (64, "ready", 0), (0, "starting", 1), (0, "idle", 0), (None, "ready", 0)],
)
def test_a_disk_without_room_for_logs_is_named_once_for_a_node_where_engines_run(
    free: int | None, state: str, named: int
) -> None:
    engines = {name: replace(each, state=EngineState(state)) for name, each in healthy().items()}
    nodes = {"n": NodeSnapshot("n", "h", "a3", 16, system=Host(disk_free_mib=free))}
    facts = facts_of(ClusterSnapshot(0.0, "c", "d", nodes=nodes, engines=engines), frozenset())
    assert [(fact, engine) for fact, engine, _ in facts if fact == "disk-full"] == [("disk-full", "prefill-0")] * named


def test_a_dead_rank_is_named_while_others_of_its_group_still_run() -> None:
    engines = changed("decode-0", state=EngineState.LOST)
    engines["decode-1"] = replace(engines["decode-1"], state=EngineState.DEGRADED)
    assert ("peer-dead", "decode-0") in seen(engines)
    engines["decode-0"] = replace(engines["decode-0"], exit=Exit(None, signal=9))
    picture = ClusterSnapshot(0.0, "c", "d", engines=engines)
    told = [text for fact, _, text in facts_of(picture, frozenset()) if fact == "peer-dead"]
    assert told == ["decode-0 lost (exit signal 9) while a rank of decode still runs"]


def test_a_hang_is_told_without_the_word_its_title_has() -> None:
    words = "hangs: 3 requests run and no token came for 30 s"
    picture = ClusterSnapshot(
        0.0, "c", "d", engines=changed("decode-0", health=(*OK, HealthCheck("works", Grade.FAIL, words)))
    )
    told = [text for fact, _, text in facts_of(picture, frozenset()) if fact == "hang"]
    assert told == ["3 requests run and no token came for 30 s"]


@pytest.mark.parametrize(("usage", "holds"), [(0.93, True), (0.89, False)])
def test_a_limit_is_left_only_well_below_it(usage: float, holds: bool) -> None:
    engines = changed("decode-0", serving=replace(BUSY, kv_usage=usage))
    assert seen(engines) == []
    assert bool(seen(engines, frozenset({("kv-full", "decode-0")}))) is holds


def on(command: str) -> ClusterSnapshot:
    """The healthy cluster whose node also runs something of somebody else."""
    node = NodeSnapshot("n", "10.0.0.1", "a3", 16, unmanaged=(UnmanagedProcess(99, owner="ann", command=command),))
    return ClusterSnapshot(0.0, "c", "d", engines=healthy(), nodes={"n": node})


@pytest.mark.parametrize(
    ("command", "shares"),
    [
        ("vllm serve /m --port 7100", True),
        ("/usr/bin/python3 /usr/local/bin/vllm serve /m --port=7100 --host 0.0.0.0", True),
        ("vllm serve /m --port 7100 --host 10.0.0.1", True),
        ("vllm serve /m --port 7100 --host n.lab", True),
        ("vllm serve /m --port 7100 --host=10.0.0.2", False),
        ("vllm serve /m --port 7101", False),
        ("vllm serve /m", False),
        ("vllm serve /m --port", False),
        ("VLLM::EngineCore", False),
    ],
)
def test_a_stranger_with_the_port_of_an_engine_is_named(command: str, shares: bool) -> None:
    found = [text for fact, _, text in facts_of(on(command), frozenset()) if fact == "port-shared"]
    assert bool(found) is shares
    assert not found or found[0].startswith("pid 99 of ann on n serves at port 7100")


def test_a_proxy_that_ended_is_down_while_engines_wait_behind_it() -> None:
    assert seen(changed("proxy", state=EngineState.FAILED)) == [("proxy-down", "proxy")]
    assert seen(changed("proxy", state=EngineState.EXITED)) == [], "somebody stopped it"
    assert seen({"proxy": changed("proxy", state=EngineState.FAILED)["proxy"]}) == []


def test_a_proxy_that_lists_fewer_than_are_ready_is_named_but_not_for_those_it_was_told_to_leave() -> None:
    engines = healthy()
    counted = HealthCheck("http", Grade.OK, HEALTHCHECK.replace('"decode_instances":2', '"decode_instances":1'))
    engines["proxy"] = replace(engines["proxy"], health=(counted, OK[1]))
    assert seen(engines) == [("proxy-misses", "proxy")]
    drained = changed("decode-0", state=EngineState.EXITED)
    drained["proxy"] = replace(drained["proxy"], isolated=("decode-0",))
    assert seen(drained) == [], "still counted, used no more"


def test_a_group_that_was_taken_away_is_counted_by_the_proxy_for_a_while_and_not_held_against_it() -> None:
    engines = changed("decode-0", state=EngineState.EXITED)
    counted = HealthCheck("http", Grade.OK, HEALTHCHECK.replace('"decode_instances":2', '"decode_instances":3'))
    isolated = ("decode-0", "decode2-0")
    engines["proxy"] = replace(engines["proxy"], health=(counted, OK[1]), isolated=isolated)
    assert seen(engines) == []
    engines["proxy"] = replace(engines["proxy"], isolated=("decode-0",))
    assert seen(engines) == [("proxy-lists-dead", "proxy")], "a stranger of which nothing is known here"


def memory(hour: float, mib: int) -> ClusterSnapshot:
    """One engine that holds so much at an hour."""
    engine = EngineSnapshot("decode-0", "n", "decode", "decode", EngineState.READY, devices=(0,), run="r")
    node = NodeSnapshot("n", "10.0.0.1", "a3", 16, devices=(Device(0, 0, hbm_used_mib=mib),))
    return ClusterSnapshot(hour * 3600.0, "c", "d", engines={"decode-0": engine}, nodes={"n": node})


@pytest.mark.parametrize(
    ("step", "dip", "grows"), [(300, 0, True), (100, 0, False), (300, 2000, False)], ids=["leak", "slow", "given back"]
)
def test_memory_that_grows_with_every_hour_is_named(step: int, dip: int, grows: bool) -> None:
    growth = LeakDetector()
    for quarter in range(9 * 4):
        wave = 4000 if quarter % 4 == 1 else 0
        given_back = dip if quarter >= 5 * 4 else 0
        growth.feed(memory(quarter / 4, 50_000 + (quarter // 4) * step + wave - given_back))
    found = list(growth.facts({}))
    assert bool(found) is grows, found
    if grows:
        growth.feed(replace(memory(9, 1), engines={}))
        assert list(growth.facts({})) == [], "a run that ended is forgotten"


def test_of_a_group_that_hangs_the_rank_that_does_not_say_that_it_waits_is_pointed_at() -> None:
    """vLLM 0.21, two ranks, the core of one asleep: only the other's core says that its workers do not answer."""
    engines = {
        name: EngineSnapshot(name, "n0", "mixed", "mixed", EngineState.DEGRADED)
        for name in ("mixed-0", "mixed-1", "mixed-2")
    } | {"other-0": EngineSnapshot("other-0", "n1", "other", "mixed", EngineState.READY)}
    words = "; of mixed only mixed-1 does not report that it waits for its workers: check it first"
    assert rank_to_check_text(engines, "mixed-0", {"mixed-0", "mixed-2"}) == words
    assert rank_to_check_text(engines, "mixed-0", {"mixed-0", "mixed-1", "mixed-2"}) == "", "a worker sleeps: all wait"
    assert rank_to_check_text(engines, "mixed-0", {"mixed-0"}) == "", "two are quiet"
    assert rank_to_check_text(engines, "other-0", set()) == "", "one alone"
