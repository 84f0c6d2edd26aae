"""What an operation takes in, in which order, and what must be typed for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.model.deployment import Assignment, Deployment
from console.model.errors import UsageError
from console.model.findings import Severity
from console.model.layout import Layout
from console.model.payload import EngineLaunches, RunsAwaited
from console.model.plan import Plan, Verb
from console.model.restart import Restart
from console.model.snapshot import EngineState
from console.model.start_timing import UsualDuration
from console.services.operations import proxy_routing
from console.services.operations.live_plans import proxy_sync_plan
from console.services.operations.payloads import new_run_id
from console.services.operations.plan_maker import PlanMaker
from console.services.operations.proxy_steps import ProxyList
from console.services.operations.step_text import step_commands
from tests.services.deployments import ASSIGNMENT, CLUSTER, LAYOUT, deployment, picture

ALL = ("prefill-0", "prefill-1", "decode-0", "decode-1", "decode-2", "decode-3", "proxy")
READY = dict.fromkeys(ALL, EngineState.READY)


def _plan(verb: Verb, engines: tuple[str, ...], states: dict[str, EngineState], tags: tuple[str, ...] = ()) -> Plan:
    source = deployment(tags=tags)
    return PlanMaker(source, picture(states, source)).make(verb, engines)


def _acts(plan: Plan) -> list[tuple[str, tuple[str, ...]]]:
    return [(stage.steps[0].act, tuple(step.node for step in stage.steps)) for stage in plan.stages]


def test_a_start_prepares_everywhere_before_it_launches_anywhere_and_the_proxy_last() -> None:
    plan = _plan("start", (), {})
    nodes = ("p0", "p1", "d0", "d1")
    assert _acts(plan) == [
        ("check", nodes),
        ("prepare", nodes),
        ("launch", nodes),
        ("wait-ready", ("p0", "d0")),
        ("check", ("p0",)),
        ("prepare", ("p0",)),
        ("launch", ("p0",)),
        ("wait-ready", ("p0",)),
    ]
    assert set(plan.runs) == set(ALL)
    assert len(set(plan.runs.values())) == len(ALL)


def test_the_plan_shows_the_exact_commands() -> None:
    plan = _plan("start", ("decode-0",), {})
    commands = [command for step in plan.steps if step.act == "launch" for command in step_commands(step)]
    assert len(commands) == 4
    assert all(" vllm serve /models/v4 " in command for command in commands)
    assert "--data-parallel-rank 3" in commands[3]
    assert "ASCEND_RT_VISIBLE_DEVICES=8,9,10,11,12,13,14,15" in commands[3]


def test_an_act_on_one_rank_takes_in_its_group() -> None:
    assert _plan("stop", ("decode-2",), READY).engines == ("decode-0", "decode-1", "decode-2", "decode-3")
    assert _plan("start", ("prefill-1",), {}).engines == ("prefill-0", "prefill-1")


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_an_act_on_all_leaves_other_deployments_alone_until_they_are_named(verb: Verb) -> None:
    other, stray = "chat/prefill-0@p1", "decode-9@d1"
    mine = deployment()
    seen = picture(READY, mine)
    engines = dict(seen.engines)
    for name, group in ((other, "chat"), (stray, "decode")):
        engines[name] = replace(engines["prefill-1"], id=name, group=group)
    maker = PlanMaker(mine, replace(seen, engines=engines))
    assert {stray, *ALL} == set(maker.make(verb, ()).engines)
    assert set(maker.make(verb, (other,)).engines) == {other}


def test_force_takes_in_only_what_was_named() -> None:
    assert _plan("kill", ("decode-2",), READY).engines == ("decode-2",)


def test_a_stop_takes_the_proxy_first_then_decode_then_prefill_and_verifies() -> None:
    plan = _plan("stop", (), READY)
    assert [(stage.steps[0].act, stage.group) for stage in plan.stages] == [
        ("stop", "proxy"),
        ("stop", "decode"),
        ("stop", "prefill"),
        ("verify", ""),
    ]
    lost = [loss for loss in plan.losses if "running requests are aborted" in loss]
    assert [loss.partition(":")[0] for loss in lost] == ["prefill-0, prefill-1", "decode-0..3", "proxy"], (
        "one line each"
    )


def test_what_a_stop_loses_goes_by_the_log_until_http_was_asked() -> None:
    seen = picture({"decode-0": EngineState.STARTING, "decode-1": EngineState.STARTING})
    engines = {
        name: replace(each, phase={"decode-0": "serving", "decode-1": "load"}.get(name, ""))
        for name, each in seen.engines.items()
    }
    plan = PlanMaker(deployment(), replace(seen, engines=engines)).make("stop", ("decode-0", "decode-1"))
    assert "decode-0: serving; running requests are aborted" in plan.losses
    assert "decode-1: starting (load); the model must be loaded again" in plan.losses


@pytest.mark.parametrize(
    ("phase", "headless", "lost"),
    [
        ("load", False, "starting (load); the model must be loaded again"),
        ("engine-ready", True, "degraded, may serve no request; running requests are aborted"),
        ("serving", False, "degraded, may serve no request; running requests are aborted"),
        ("", False, "degraded, may serve no request; running requests are aborted"),
    ],
)
def test_a_rank_condemned_by_its_peer_loses_requests_only_if_it_served(phase: str, headless: bool, lost: str) -> None:
    seen = picture({"decode-0": EngineState.DEGRADED, "decode-1": EngineState.FAILED})
    hurt = replace(seen.engines["decode-0"], phase=phase, headless=headless)
    plan = PlanMaker(deployment(), replace(seen, engines={**seen.engines, "decode-0": hurt})).make(
        "stop", ("decode-0",)
    )
    assert f"decode-0: {lost}" in plan.losses


def test_what_a_degraded_group_behind_a_proxy_loses_is_not_called_serving() -> None:
    """Beside a header that says DOWN."""
    hurt = {
        **READY,
        **dict.fromkeys(("decode-0", "decode-1", "decode-2"), EngineState.DEGRADED),
        "decode-3": EngineState.FAILED,
    }
    (lost,) = [loss for loss in _plan("restart", ("decode-0",), hurt).losses if "decode-" in loss]
    assert lost.startswith("decode-0..2: degraded, may serve no request; requests that do not finish")


def test_a_restart_stops_what_runs_and_starts_the_whole_group() -> None:
    plan = _plan("restart", ("decode-1",), {"decode-0": EngineState.FAILED, "decode-1": EngineState.DEGRADED})
    assert [stage.steps[0].act for stage in plan.stages] == [
        "stop",
        "verify",
        "check",
        "prepare",
        "launch",
        "wait-ready",
    ]
    assert set(plan.runs) == {"decode-0", "decode-1", "decode-2", "decode-3"}
    expected = {launch.rank.id: launch.expected for launch in plan.launches}
    assert expected["decode-1"] == "20260101T000000Z-0000"
    assert expected["decode-3"] is None


def test_starting_beside_running_ranks_of_a_group_is_blocked() -> None:
    plan = _plan("start", ("decode-0",), {"decode-1": EngineState.READY})
    assert plan.blocked
    assert any(finding.rule == "GROUP" for finding in plan.findings)


def test_a_group_without_its_nodes_is_blocked() -> None:
    source = deployment(replace(ASSIGNMENT, nodes={"prefill": ("p0", "p1"), "decode": ("d0",)}))
    plan = PlanMaker(source, picture({}, source)).make("start", ())
    assert plan.blocked
    assert any("decode has 1 of 2 nodes" in finding.message for finding in plan.findings)


@pytest.mark.parametrize(
    ("verb", "engines", "states", "tags", "expected"),
    [
        ("start", ("proxy",), {}, (), ("key", "y")),
        ("start", (), {}, (), ("key", "y")),
        ("start", ("decode",), {"prefill-0": EngineState.READY}, (), ("key", "y")),
        ("restart", ("decode",), dict.fromkeys(ALL, EngineState.FAILED), (), ("key", "y")),
        ("stop", ("proxy",), {**READY, "proxy": EngineState.STARTING}, (), ("key", "y")),
        ("stop", ("decode",), {**READY, **dict.fromkeys(ALL[2:6], EngineState.STARTING)}, (), ("count", "4")),
        ("restart", ("prefill-0",), {**READY, "prefill-1": EngineState.FAILED}, (), ("count", "2")),
        ("stop", ("decode-0",), {**READY, "decode-0": EngineState.DEGRADED}, (), ("count", "4")),
        ("stop", ("decode-0",), READY, (), ("count", "4")),
        ("stop", ("proxy",), READY, (), ("count", "1")),
        ("stop", (), READY, (), ("name", "lab")),
        ("restart", (), READY, (), ("name", "lab")),
        ("kill", ("decode-0",), READY, (), ("name", "lab")),
        ("start", ("proxy",), {}, ("production",), ("key", "y")),
        ("stop", ("proxy",), READY, ("production",), ("name", "lab")),
    ],
)
def test_what_must_be_typed_grows_with_what_is_destroyed(
    verb: Verb,
    engines: tuple[str, ...],
    states: dict[str, EngineState],
    tags: tuple[str, ...],
    expected: tuple[str, str],
) -> None:
    confirm = _plan(verb, engines, states, tags).confirm
    assert (confirm.kind, confirm.expected) == expected


def test_an_unknown_engine_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="decode-99") as caught:
        _plan("stop", ("decode-99",), READY)
    assert "prefill-0" in caught.value.hint


def test_run_ids_sort_by_time() -> None:
    assert new_run_id(1_700_000_000.0) < new_run_id(1_700_000_001.0)


def test_a_start_says_that_a_policy_will_restart_it() -> None:
    source = deployment()
    decode = source.layout.groups["decode"].model_copy(update={"restart": Restart(policy="on-failure", budget=2)})
    layout = source.layout.model_copy(update={"groups": {**source.layout.groups, "decode": decode}})
    armed = replace(source, layout=layout)
    notes = [each for each in PlanMaker(armed, picture({}, armed)).make("start", ()).findings if each.rule == "RESTART"]
    assert [each.where for each in notes] == ["decode"]
    assert "at most 2 times in 1 h" in notes[0].message
    assert not any(each.rule == "RESTART" for each in _plan("start", (), {}).findings)


def test_a_start_says_how_long_it_took_before() -> None:
    seen = replace(picture({}), usual={"decode": UsualDuration(480.0, 4)})
    assert PlanMaker(deployment(), seen).make("start", ()).usual == {"decode": UsualDuration(480.0, 4)}


@pytest.mark.parametrize(("seconds", "warned"), [(600.0, False), (1500.0, True)])
def test_starts_too_long_for_the_budget_of_a_policy_are_warned_of(seconds: float, warned: bool) -> None:
    source = deployment()
    decode = source.layout.groups["decode"].model_copy(update={"restart": Restart(policy="on-failure")})
    layout = source.layout.model_copy(update={"groups": {**source.layout.groups, "decode": decode}})
    seen = replace(picture({}), usual={"decode": UsualDuration(seconds, 4)})
    findings = PlanMaker(replace(source, layout=layout), seen).make("start", ()).findings
    told = [each.message for each in findings if each.rule == "RESTART" and each.severity is Severity.WARNING]
    assert told == (
        ["3 starts of 25 min do not fit in 1 h: decode would be restarted without end if each start failed late"]
        if warned
        else []
    )


AWAY = {**READY, "decode-2": EngineState.UNREACHABLE, "decode-3": EngineState.UNREACHABLE}


@pytest.mark.parametrize(
    ("verb", "words"),
    [("stop", "they keep running"), ("restart", "would be stopped and could not start without them"),
     ("kill", "they keep running")],
)  # fmt: skip
def test_an_act_names_whom_it_cannot_reach(verb: Verb, words: str) -> None:
    plan = _plan(verb, ("decode-2", "decode-3"), AWAY)
    (found,) = [each for each in plan.findings if each.rule == "REACH"]
    assert found.severity is Severity.WARNING
    assert found.where == "d1"
    assert found.message.startswith("d1 is unreachable, so decode-2, decode-3 cannot be stopped: ")
    assert words in found.message
    assert not [each for each in _plan("start", (), AWAY).findings if each.rule == "REACH"]


def test_force_says_which_ranks_it_leaves_useless() -> None:
    lost = _plan("kill", ("decode-2",), READY).losses
    assert "decode: 3 other ranks cannot serve without the killed ranks; restart decode afterwards" in lost
    whole = _plan("kill", ("decode-0", "decode-1", "decode-2", "decode-3"), READY).losses
    assert not any("without it" in each for each in whole)


@pytest.mark.parametrize(
    ("engines", "states", "told"),
    [
        (("decode-0",), READY, True),
        ((), READY, False),
        (("decode-0",), {**READY, **dict.fromkeys(ALL[2:6], EngineState.FAILED)}, False),
    ],
    ids=["while the proxy serves", "the proxy with it", "nothing is taken out"],
)
def test_a_restart_behind_a_serving_proxy_says_what_it_waits_for(
    engines: tuple[str, ...], states: dict[str, EngineState], told: bool
) -> None:
    found = [each for each in _plan("restart", engines, states).findings if each.rule == "PROXY"]
    assert bool(found) is told
    assert not told or "a moment without any request" in found[0].message


@pytest.mark.parametrize("left", [True, False])
def test_taking_the_last_of_a_role_out_of_the_proxy_says_that_none_is_left(left: bool) -> None:
    source = deployment()
    dead = dict.fromkeys(("decode-0", "decode-1", "decode-2", *(() if left else ("decode-3",))), EngineState.FAILED)
    seen = picture({**READY, **dead}, source)
    lists = {
        role: tuple(proxy_routing.endpoint(source, rank) for rank in source.ranks() if rank.role == role)
        for role in ("prefill", "decode")
    }
    plan = proxy_sync_plan(source, seen, ProxyList("", lists["prefill"], lists["decode"]), frozenset())
    told = "after this the proxy has no decode engine; restart decode to serve requests again"
    assert (told in plan.losses) is not left


def test_a_group_may_be_named_in_place_of_its_engines() -> None:
    assert _plan("stop", ("decode",), READY).engines == ("decode-0", "decode-1", "decode-2", "decode-3")
    assert _plan("kill", ("prefill", "decode-3"), READY).engines == ("prefill-0", "prefill-1", "decode-3")


def _half(
    states: dict[str, EngineState], *, ago: float = 40.0, drift: tuple[str, ...] = (), env: dict[str, str] | None = None
) -> Plan:
    """The plan to start decode while these of it run, started so long ago."""
    made = deployment()
    layout = made.layout.model_copy(update={"env": env or {"HCCL_CONNECT_TIMEOUT": "1200"}})
    made = replace(made, layout=layout)
    seen = picture(states, made)
    engines = {
        name: replace(each, started_at=1000.0 - ago, drift=drift) if name in states else each
        for name, each in seen.engines.items()
    }
    return PlanMaker(made, replace(seen, at=1000.0, engines=engines)).make("start", ("decode",))


HALF = dict.fromkeys(("decode-0", "decode-1"), EngineState.STARTING)


def test_a_start_that_was_broken_off_is_continued_while_its_ranks_wait() -> None:
    plan = _half(HALF)
    assert not plan.blocked
    assert set(plan.runs) == {"decode-2", "decode-3"}
    assert [stage.title for stage in plan.stages] == [
        "rest: check",
        "rest: prepare",
        "rest: launch",
        "wait until ready",
    ]
    (launch,) = plan.stages[2].steps
    work = launch.payload
    assert isinstance(work, EngineLaunches)
    assert (work.preflight, work.join_by) == (False, 1260.0)
    (wait,) = plan.stages[3].steps
    assert isinstance(wait.payload, RunsAwaited)
    assert [key.engine for key in wait.payload.keys] == ["decode-0", "decode-1", "decode-2", "decode-3"]
    assert wait.payload.keys[0].run == "20260101T000000Z-0000", "the run that waits, not another one"
    (told,) = [each for each in plan.findings if each.rule == "GROUP"]
    assert told.severity is Severity.NOTE
    assert told.message == (
        "decode-0, decode-1 started 40 s ago and wait for the rest of decode; the rest can join within 4 min"
    )


@pytest.mark.parametrize(
    "plan",
    [
        _half(HALF, ago=300.0),
        _half(HALF, drift=("env A: 1 -> 2",)),
        _half({**HALF, "decode-1": EngineState.READY}),
        _half({**HALF, "decode-2": EngineState.FAILED}),
        _half({**HALF, "decode-1": EngineState.STOPPING}),
    ],
    ids=["they gave up", "other settings", "it serves", "a rank of it died", "it is stopped"],
)
def test_a_group_that_the_rest_cannot_join_is_blocked(plan: Plan) -> None:
    assert plan.blocked
    assert any("new ranks of the group cannot join" in each.message for each in plan.findings if each.rule == "GROUP")


def test_joining_later_than_hccl_waits_by_default_is_warned_of() -> None:
    (told,) = [each for each in _half(HALF, ago=150.0, env={"A": "1"}).findings if each.rule == "GROUP"]
    assert told.severity is Severity.WARNING
    assert told.fix.startswith("HCCL_CONNECT_TIMEOUT is shorter than this delay")


def _wide() -> Deployment:
    raw = LAYOUT.model_dump(exclude_none=True)
    raw["groups"] = {
        "mixed": {
            "role": "mixed",
            "nodes": 4,
            "nodes_per_engine": 2,
            "tensor_parallel": 32,
            "data_parallel": {"size": 2, "per_node": 1, "balance": "external"},
            "port": 8900,
        }
    }
    del raw["proxy"]
    return Deployment(CLUSTER, Layout.model_validate(raw), Assignment({"mixed": ("p0", "p1", "d0", "d1")}))


def test_the_parts_of_an_engine_start_and_stop_as_one_and_count_as_one() -> None:
    wide = _wide()
    idle = PlanMaker(wide, picture({}, wide)).make("start", ("mixed-0.1",))
    assert idle.engines == ("mixed-0", "mixed-0.1", "mixed-1", "mixed-1.1")
    assert idle.target == "2 engines in 4 parts"
    assert (idle.confirm.kind, idle.confirm.expected) == ("key", "y")
    up = PlanMaker(wide, picture(dict.fromkeys(idle.engines, EngineState.READY), wide))
    assert up.make("stop", ("mixed-1",)).engines == idle.engines
    assert up.make("kill", ("mixed-0",)).engines == ("mixed-0", "mixed-0.1")
    assert up.make("kill", ("mixed-1.1",)).engines == ("mixed-1.1",)


def test_services_start_first_and_stop_last_and_are_missed_when_they_do_not_run() -> None:
    service = {"command": ["mooncake_master"], "node": "decode/1", "port": 9500}
    layout = Layout.model_validate({**LAYOUT.model_dump(exclude_none=True), "services": {"kv": service}})
    pool = Deployment(CLUSTER, layout, ASSIGNMENT)
    start = PlanMaker(pool, picture({}, pool)).make("start", ())
    assert _acts(start)[:4] == [("check", ("d1",)), ("prepare", ("d1",)), ("launch", ("d1",)), ("wait-ready", ("d1",))]
    assert [step.act for step in start.steps if "kv" in step.engines and len(step.engines) == 1][-1] == "wait-ready"
    assert start.engines[0] == "kv"
    only = PlanMaker(pool, picture({}, pool)).make("start", ("decode",))
    assert "kv" not in only.engines
    (missed,) = [each for each in only.findings if each.rule == "SERVICE"]
    assert (missed.severity, missed.message) == (
        Severity.WARNING,
        "kv is not running; 4 engines would start without it",
    )
    up = PlanMaker(pool, picture({**READY, "kv": EngineState.READY}, pool))
    assert [stage.group for stage in up.make("stop", ()).stages if stage.group][-1] == "service"
    alone = up.make("stop", ("kv",))
    assert alone.engines == ("kv",)
    assert alone.losses == ("kv: engines lose this service and its data",)
    assert [stage.steps[0].act for stage in alone.stages] == ["stop", "verify"]
