"""Facts the console sees by itself: each where it holds, none on a healthy cluster, none that flickers at its limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState, Grade, Rung, Serving
from console.services.conditions import facts_of

HEALTHCHECK = '/healthcheck 200 {"status":"ok","prefill_instances":1,"decode_instances":2,"request_num":0}'
OK = (Rung("http", Grade.OK, HEALTHCHECK), Rung("model", Grade.OK, "dsv4"))


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
            changed("decode-0", health=(OK[0], Rung("model", Grade.FAIL, "serves other, not dsv4"))),
            [("wrong-model", "decode-0")],
        ),
        (changed("decode-0", health=(OK[0], Rung("model", Grade.FAIL, "refused"))), []),
        (
            changed("decode-0", state=EngineState.DEGRADED, health=(*OK, Rung("works", Grade.FAIL, "hangs: 1 request"))),
            [("hang", "decode-0")],
        ),
    ],
)  # fmt: skip
def test_facts(engines: dict[str, EngineSnapshot], facts: list[tuple[str, str]]) -> None:
    assert seen(engines) == facts


def test_an_instance_taken_out_of_the_proxy_by_hand_is_not_held_against_it() -> None:
    engines = changed("decode-0", state=EngineState.FAILED)
    counted = Rung("http", Grade.OK, HEALTHCHECK.replace('"decode_instances":2', '"decode_instances":1'))
    engines["proxy"] = replace(engines["proxy"], health=(counted, OK[1]))
    assert seen(engines) == []


def test_a_dead_rank_is_named_while_others_of_its_group_still_run() -> None:
    engines = changed("decode-0", state=EngineState.LOST)
    engines["decode-1"] = replace(engines["decode-1"], state=EngineState.DEGRADED)
    assert ("peer-dead", "decode-0") in seen(engines)


@pytest.mark.parametrize(("usage", "holds"), [(0.93, True), (0.89, False)])
def test_a_limit_is_left_only_well_below_it(usage: float, holds: bool) -> None:
    engines = changed("decode-0", serving=replace(BUSY, kv_usage=usage))
    assert seen(engines) == []
    assert bool(seen(engines, frozenset({("kv-full", "decode-0")}))) is holds
