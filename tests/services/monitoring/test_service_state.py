"""Whether a deployment serves: one word for all its engines, and never more than was proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from console.model.deployment import Assignment, Deployment
from console.model.layout import Layout
from console.model.snapshot import EngineSnapshot, EngineState, Grade, HealthCheck
from console.services.monitoring.service_state import PROOF_S, service
from tests.services.deployments import CLUSTER, LAYOUT, deployment, picture

NOW = 10_000.0
READY, FAILED, DEGRADED, STARTING, IDLE, EXITED, GONE = (
    EngineState.READY, EngineState.FAILED, EngineState.DEGRADED, EngineState.STARTING, EngineState.IDLE,
    EngineState.EXITED, EngineState.UNREACHABLE,
)  # fmt: skip
HTTP = HealthCheck("http", Grade.OK, "/health 200", NOW)
ANSWERED = HealthCheck("works", Grade.OK, "one token in 9 ms", NOW - 50.0)
ALL = ("prefill-0", "prefill-1", "decode-0", "decode-1", "decode-2", "decode-3", "proxy")
UP = dict.fromkeys(ALL, READY)

MIXED = Layout.model_validate(
    {
        **LAYOUT.model_dump(exclude_unset=True, exclude={"proxy", "groups"}),
        "groups": {
            "mixed": {
                "role": "mixed",
                "nodes": 2,
                "tensor_parallel": 16,
                "data_parallel": {"size": 2, "per_node": 1, "balance": "external", "rpc_port": 12321},
                "port": 7100,
            }
        },
    }
)


def told(
    states: Mapping[str, EngineState],
    works: HealthCheck | None = ANSWERED,
    made: Deployment | None = None,
    began: Mapping[str, float] | None = None,
    **more: Mapping[str, object],
) -> str | None:
    """The verdict in words; `works` is the proxy's rung, or that of every engine without a proxy."""
    source = made or deployment()
    engines = dict(picture(states, source).engines)
    for name, each in engines.items():
        if works is not None and (each.role == "proxy" or made):
            engines[name] = replace(each, health=(HTTP, works))
    for name, changes in more.items():
        engines[name.replace("_", "-")] = replace(engines[name.replace("_", "-")], **changes)  # type: ignore[arg-type]
    found = service(source, tuple(engines.values()), began or {}, NOW)
    return None if found is None else found.words()


def test_a_group_with_a_killed_parent_is_not_called_down_before_it_was_seen_to_fail() -> None:
    made = Deployment(CLUSTER, MIXED, Assignment({"mixed": ("p0", "p1")}))
    states = {"mixed-0": DEGRADED, "mixed-1": EngineState.STUCK}
    follows: dict[str, object] = {"after": "mixed-1", "cause": "mixed-1 on p1 stuck first"}
    said = told(states, ANSWERED, made, mixed_0=follows)
    assert said == "UNKNOWN: mixed has not served since mixed-1 lost its main process"
    dead = (HTTP, HealthCheck("log", Grade.FAIL, "Connection closed by peer"))
    assert told(states, None, made, mixed_0={**follows, "health": dead}) == "DOWN: no mixed"
    assert told({**states, "mixed-1": FAILED}, ANSWERED, made, mixed_0=follows) == "DOWN: no mixed"


DOOR = "http://10.0.0.1:8000 dsv4"
CASES: list[tuple[str, Mapping[str, EngineState], HealthCheck | None, str | None]] = [
    ("nothing launched", {}, None, None),
    ("all stopped", dict.fromkeys(ALL, EXITED), ANSWERED, None),
    ("up", UP, ANSWERED, f"UP {DOOR}"),
    ("health alone", UP, None, f"UNPROVEN: this console has not seen an answer yet {DOOR}"),
    ("proof too old", UP, replace(ANSWERED, at=NOW - PROOF_S - 120.0), f"UNPROVEN: last answer 3m ago {DOOR}"),
    (
        "proof of unknown age",
        UP,
        replace(ANSWERED, at=None),
        f"UNPROVEN: this console has not seen an answer yet {DOOR}",
    ),
    (
        "asking once more",
        UP,
        HealthCheck("works", Grade.UNKNOWN, "500", NOW),
        f"UNPROVEN: this console has not seen an answer yet {DOOR}",
    ),
    (
        "not asked",
        UP,
        HealthCheck("works", Grade.SKIPPED, "401: it wants an API key", NOW),
        f"UNPROVEN: 401: it wants an API key {DOOR}",
    ),
    ("one rank away", {**UP, "decode-1": FAILED}, ANSWERED, f"PART: 3 of 4 decode {DOOR}"),
    (
        "both short",
        {**UP, "decode-1": FAILED, "prefill-0": IDLE},
        ANSWERED,
        f"PART: 1 of 2 prefill, 3 of 4 decode {DOOR}",
    ),
    ("short and unproven", {**UP, "decode-1": FAILED}, None, f"UNPROVEN: 3 of 4 decode {DOOR}"),
    ("no decode", {**UP, **dict.fromkeys(ALL[2:6], FAILED)}, ANSWERED, "DOWN: no decode"),
    ("decode stopped", {**UP, **dict.fromkeys(ALL[2:6], EXITED)}, ANSWERED, "DOWN: no decode"),
    ("decode starts", {**UP, **dict.fromkeys(ALL[2:6], STARTING)}, ANSWERED, "DOWN: decode starts"),
    ("all starts", {**dict.fromkeys(ALL, STARTING), "proxy": IDLE}, None, "DOWN: prefill starts"),
    ("proxy failed", {**UP, "proxy": FAILED}, ANSWERED, "DOWN: proxy failed"),
    ("proxy never started", {**UP, "proxy": IDLE}, None, "DOWN: proxy not started"),
    ("proxy starts", {**UP, "proxy": STARTING}, None, "DOWN: proxy starts"),
    ("completions fail", {**UP, "proxy": DEGRADED}, replace(ANSWERED, grade=Grade.FAIL), "DOWN: completions fail"),
    ("the door's link is down", {**UP, "proxy": GONE}, ANSWERED, "UNKNOWN: p0 unreachable"),
    ("decode's links are down", {**UP, **dict.fromkeys(ALL[2:6], GONE)}, ANSWERED, "UNKNOWN: decode unreachable"),
    ("what is sure counts more", {**UP, "proxy": GONE, **dict.fromkeys(ALL[2:6], FAILED)}, None, "DOWN: no decode"),
    ("nobody was heard yet", dict.fromkeys(ALL, GONE), None, "UNKNOWN: p0 unreachable"),
]


@pytest.mark.parametrize(("states", "works", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_verdict_follows_the_engines_and_the_proof(
    states: Mapping[str, EngineState], works: HealthCheck | None, words: str | None
) -> None:
    assert told(states, works) == words


def test_ranks_that_a_dead_peer_condemned_serve_nobody_and_those_that_answer_oddly_may() -> None:
    decode = {**UP, **dict.fromkeys(ALL[2:6], DEGRADED)}
    assert told(decode) == f"PART: decode degraded {DOOR}"
    condemned = {name.replace("-", "_"): {"after": "decode-9"} for name in ALL[2:6]}
    assert told(decode, ANSWERED, None, None, **condemned) == "DOWN: no decode"


def test_a_server_that_waits_for_a_headless_rank_that_hangs_is_told_to_hang() -> None:
    data = MIXED.model_dump(exclude_unset=True)
    data["groups"]["mixed"]["data_parallel"]["balance"] = "internal"
    made = Deployment(CLUSTER, Layout.model_validate(data), Assignment({"mixed": ("d0", "d1")}))
    hung = {"cause": "hangs: 1 of 4 processes were stopped by a signal", "headless": True, "port": None}
    waits = {"cause": "waits for mixed-1 on d1, which hangs", "after": "mixed-1"}
    both = {"mixed-0": DEGRADED, "mixed-1": DEGRADED}
    assert told(both, ANSWERED, made, None, mixed_1=hung, mixed_0=waits) == "DOWN: mixed hangs"


def test_a_group_of_which_one_rank_hangs_serves_nobody_however_fresh_the_last_answer_is() -> None:
    made = Deployment(CLUSTER, MIXED, Assignment({"mixed": ("d0", "d1")}))
    both = {"mixed-0": DEGRADED, "mixed-1": DEGRADED}
    hung = {"cause": "hangs: 3 requests run and no token came for 40 s", "health": (HTTP,)}
    waits = {"cause": "waits for mixed-0 on d0, which hangs", "after": "mixed-0"}
    assert told(both, ANSWERED, made, None, mixed_0=hung, mixed_1=waits) == "DOWN: mixed hangs"
    assert told({"mixed-0": DEGRADED, "mixed-1": READY}, ANSWERED, made, None, mixed_0=hung) == (
        "PART: 1 of 2 mixed http://10.0.0.4:7100 dsv4"
    )
    dead = {"cause": "EngineDeadError", "health": (HealthCheck("log", Grade.FAIL, "EngineDeadError"), HTTP, ANSWERED)}
    assert told(both, ANSWERED, made, None, mixed_0=dead, mixed_1=dead) == "DOWN: no mixed"


@pytest.mark.parametrize(
    ("counts", "isolated", "words"),
    [
        ('"prefill_instances": 2, "decode_instances": 4', (), f"UP {DOOR}"),
        ('"prefill_instances": 2, "decode_instances": 0', (), "DOWN: the proxy has no decode engine"),
        ('"prefill_instances": 0, "decode_instances": 0', (), "DOWN: the proxy has no prefill engine"),
        ('"prefill_instances": 2, "decode_instances": 4', ALL[2:6], "DOWN: the proxy has no decode engine"),
        ('"prefill_instances": 2, "decode_instances": 4', ALL[3:6], f"UP {DOOR}"),
    ],
)
def test_a_proxy_that_uses_nobody_of_a_role_is_down_at_once(counts: str, isolated: tuple[str, ...], words: str) -> None:
    http = HealthCheck("http", Grade.OK, f"/healthcheck 200 {{{counts}}}", NOW)
    assert told(UP, proxy={"health": (http, ANSWERED), "isolated": isolated}) == words


def test_what_was_answered_before_all_of_a_role_were_started_anew_proves_nothing() -> None:
    at = ANSWERED.at or 0.0
    before = dict.fromkeys(ALL, at - 500.0)
    assert told(UP, began=before) == f"UP {DOOR}"
    assert told(UP, began={**before, "decode-1": at + 5.0}) == f"UP {DOOR}", "others of its role answered"
    anew = {**before, **dict.fromkeys(ALL[2:6], at + 5.0)}
    assert told(UP, began=anew) == f"UNPROVEN: last answer 50s ago {DOOR}"
    assert told({**UP, "decode-3": STARTING}, began={**anew, "decode-3": at - 5.0}) == f"UNPROVEN: 3 of 4 decode {DOOR}"


def test_api_ranks_are_doors_and_requests_that_move_are_a_proof() -> None:
    made = Deployment(CLUSTER, MIXED, Assignment({"mixed": ("d0", "d1")}))
    both = {"mixed-0": READY, "mixed-1": READY}
    moves = HealthCheck("works", Grade.OK, "requests move tokens, seen 3 s ago", NOW - 10.0)
    assert told(both, moves, made) == "UP http://10.0.0.3:7100 dsv4"
    barred = HealthCheck("works", Grade.SKIPPED, "401: it wants an API key", NOW)
    assert told(both, barred, made) == "UNPROVEN: 401: it wants an API key http://10.0.0.3:7100 dsv4", (
        "nothing was answered"
    )
    assert told(both, None, made) == "UNPROVEN: this console has not seen an answer yet http://10.0.0.3:7100 dsv4"
    assert told({**both, "mixed-0": FAILED}, ANSWERED, made) == "PART: 1 of 2 mixed http://10.0.0.4:7100 dsv4"
    assert told({**both, "mixed-0": GONE, "mixed-1": GONE}, None, made) == "UNKNOWN: d0 unreachable"


def test_headless_ranks_that_are_ready_serve_nobody_without_their_server() -> None:
    made = Deployment(CLUSTER, MIXED, Assignment({"mixed": ("d0", "d1")}))
    headless = {"mixed_1": {"headless": True, "port": None}}
    starts = {"mixed-0": STARTING, "mixed-1": READY}
    assert told(starts, None, made, None, **headless) == "DOWN: mixed starts"
    assert told({"mixed-0": READY, "mixed-1": STARTING}, None, made, None, **headless) == (
        "UNPROVEN: 1 of 2 mixed http://10.0.0.3:7100 dsv4"
    )


def test_a_deployment_without_a_door_has_no_verdict() -> None:
    layout = LAYOUT.model_copy(update={"proxy": None})
    made = Deployment(CLUSTER, layout, deployment().assignment)
    assert service(made, tuple(picture(UP, made).engines.values()), {}, NOW) is None


def test_strays_count_for_nothing() -> None:
    engines = [*picture(UP).engines.values(), EngineSnapshot("decode-9@d0", "d0", "decode", "decode", FAILED)]
    found = service(deployment(), engines, {}, NOW)
    assert found is not None
    assert found.reason == "this console has not seen an answer yet"


def test_chats_that_failed_through_a_proxy_whose_completions_are_answered_leave_part_of_the_service() -> None:
    chats = HealthCheck("verify", Grade.FAIL, "1 of 6 chats failed: chat 500: without a body", NOW)
    shown = told({**UP, "proxy": DEGRADED}, proxy={"health": (HTTP, ANSWERED, chats)})
    assert shown == f"PART: verify failed through the proxy {DOOR}"
    fails = replace(ANSWERED, grade=Grade.FAIL)
    assert told({**UP, "proxy": DEGRADED}, proxy={"health": (HTTP, fails, chats)}) == "DOWN: completions fail"
